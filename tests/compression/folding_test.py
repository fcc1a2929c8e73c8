import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.models.network_checks import with_statistics
from tests.random_graphs import random_images, random_model
from tests.tiny_networks import tiny_collaborating, tiny_msdnet, tiny_ranet
from tests.training.tiny_drnet import tiny_drnet
from tf_adaptive import ResNet, fold_batch_norm, split_stages
from tf_adaptive.compression.folding import fold_drnet
from tf_adaptive.errors import InputError
from tf_adaptive.exits.costs import profile
from tf_adaptive.layers import BatchNormalization, ConvUnit


def resnet():
    return ResNet(
        input_shape=(24, 24, 1), num_classes=4, block="basic", blocks=(1, 1), widths=(4, 8)
    )


def mobilenet():
    return keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, weights=None, classes=4, classifier_activation=None
    )


def batch_norms(model):
    return [
        layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)
    ]


def outputs_of(model, inputs):
    return [np.asarray(tf.cast(output, "float32")) for output in keras.tree.flatten(model(inputs))]


def assert_same_logits(folded, model, *, tolerance=1e-5):
    images = random_images(model, batch=3)
    for actual, expected in zip(outputs_of(folded, images), outputs_of(model, images), strict=True):
        assert actual.shape == expected.shape
        np.testing.assert_allclose(
            actual, expected, rtol=0, atol=tolerance * np.abs(expected).max()
        )


@pytest.mark.parametrize("build", [tiny_msdnet, tiny_collaborating, tiny_ranet, resnet, mobilenet])
def test_answers_what_the_network_does_without_a_batch_norm(build):
    keras.utils.set_random_seed(0)
    model = with_statistics(build())
    before = model.get_weights()
    folded = fold_batch_norm(model)
    assert_same_logits(folded, model)
    assert batch_norms(model) and not batch_norms(folded)
    kept = [
        layer.name for layer in model.layers if not isinstance(layer, layers.BatchNormalization)
    ]
    assert sorted(layer.name for layer in folded.layers) == sorted(kept)
    for array, same in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, same)
    folded.set_weights([np.zeros_like(array) for array in folded.get_weights()])
    for array, same in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, same)


@pytest.mark.parametrize("build", [tiny_msdnet, tiny_collaborating, tiny_ranet])
def test_stages_and_costs_stay(build):
    model = with_statistics(build())
    folded = fold_batch_norm(model)
    for actual, expected in zip(split_stages(folded), split_stages(model), strict=True):
        assert actual.takes == expected.takes
        assert list(actual.state) == list(expected.state)
    for actual, expected in zip(profile(folded), profile(model), strict=True):
        # A bias of a linear layer that had none is counted.
        assert expected.macs <= actual.macs <= 1.001 * expected.macs
        assert actual.parameters <= expected.parameters


def test_is_saved_and_loaded(tmp_path):
    folded = fold_batch_norm(with_statistics(tiny_msdnet()))
    folded.save(tmp_path / "folded.keras")
    loaded = keras.saving.load_model(tmp_path / "folded.keras")
    assert_same_logits(loaded, folded, tolerance=0)


def chain(*, convolution, **normalization):
    images = keras.Input((6, 6, 4), name="images")
    features = convolution(images)
    features = layers.BatchNormalization(name="norm", **normalization)(features)
    pooled = layers.GlobalAveragePooling2D(name="pool")(features)
    return with_statistics(keras.Model(images, layers.Dense(3, name="logits")(pooled)))


@pytest.mark.parametrize("normalization", [{}, {"scale": False}, {"center": False}, {"axis": 3}])
@pytest.mark.parametrize(
    "convolution",
    [
        lambda: layers.Conv2D(6, 3, groups=2, bias_initializer="random_normal", name="convolution"),
        lambda: layers.Conv2D(6, 3, strides=2, use_bias=False, name="convolution"),
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, name="convolution"),
        lambda: layers.Dense(5, use_bias=False, name="convolution"),
    ],
    ids=["grouped", "strided", "depthwise", "dense"],
)
def test_layers_of_keras(convolution, normalization):
    keras.utils.set_random_seed(0)
    model = chain(convolution=convolution(), **normalization)
    folded = fold_batch_norm(model)
    assert_same_logits(folded, model)
    assert [layer.name for layer in folded.layers] == ["images", "convolution", "pool", "logits"]


def other_reader(features):
    normalized = layers.BatchNormalization()(features)
    return layers.Add()([features, normalized])


def in_training(features):
    return layers.BatchNormalization()(features, training=True)


def other_axis(features):
    return layers.BatchNormalization(axis=1)(features)


def twice(features):
    norm = layers.BatchNormalization()
    return norm(norm(features))


@pytest.mark.parametrize("rest", [other_reader, in_training, other_axis, twice])
def test_a_batch_norm_that_is_more_than_part_of_a_convolution_stays(rest):
    keras.utils.set_random_seed(0)
    images = keras.Input((6, 6, 4))
    pooled = layers.GlobalAveragePooling2D()(rest(layers.Conv2D(4, 3)(images)))
    model = with_statistics(keras.Model(images, pooled))
    folded = fold_batch_norm(model)
    assert len(batch_norms(folded)) == 1
    assert_same_logits(folded, model)


def test_a_batch_norm_after_an_activation_stays():
    model = chain(convolution=layers.Conv2D(4, 3, activation="relu"))
    assert len(batch_norms(fold_batch_norm(model))) == 1
    assert_same_logits(fold_batch_norm(model), model)


def test_a_convolution_called_twice_stays_but_a_unit_is_folded():
    keras.utils.set_random_seed(0)
    images = keras.Input((6, 6, 4))
    convolution, unit = layers.Conv2D(4, 3, padding="same"), ConvUnit(4, 3)
    features = layers.BatchNormalization()(convolution(images))
    features = unit(unit(layers.BatchNormalization()(convolution(features))))
    model = with_statistics(keras.Model(images, layers.GlobalAveragePooling2D()(features)))
    folded = fold_batch_norm(model)
    assert len(batch_norms(folded)) == 2
    assert_same_logits(folded, model)


@pytest.mark.parametrize("seed", range(4))
def test_random_graphs(seed):
    keras.utils.set_random_seed(seed)
    model = with_statistics(random_model(seed))
    folded = fold_batch_norm(model)
    assert_same_logits(folded, model)
    assert len(split_stages(folded)) == len(model.outputs)


@pytest.mark.parametrize("build", [tiny_msdnet, tiny_collaborating, resnet, mobilenet])
def test_bfloat16(build):
    keras.utils.set_random_seed(0)
    model = with_statistics(build())
    folded = fold_batch_norm(model, dtype="bfloat16")
    assert {output.dtype for output in folded.outputs} == {"float32"}
    heads = {output._keras_history.operation.name for output in folded.outputs}
    for layer in folded.layers:
        expected = "float32" if layer.name in heads else "bfloat16"
        assert {weight.dtype for weight in layer.weights} <= {expected}
    # Eight bits of mantissa through some ten layers.
    assert_same_logits(folded, model, tolerance=0.1)
    with pytest.raises(AssertionError):
        assert_same_logits(folded, model)


def test_the_networks_of_a_drnet():
    model, _ = tiny_drnet()
    for network in (model.predictor, *model.branches):
        with_statistics(network)
    predictor, branches = fold_drnet(model)
    for folded, network in zip(
        (predictor, *branches), (model.predictor, *model.branches), strict=True
    ):
        assert not batch_norms(folded)
        assert_same_logits(folded, network)


def test_a_model_that_is_no_graph_is_refused():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(InputError, match="must be a functional keras.Model. Received: <Subclassed"):
        fold_batch_norm(Subclassed())


def test_a_unit_without_normalization_has_no_batch_norm():
    unit = ConvUnit(4, 3, normalized=False)
    unit.build((None, 8, 8, 2))
    assert not any(isinstance(layer, BatchNormalization) for layer in unit._flatten_layers())
    assert ConvUnit.from_config(unit.get_config()).normalized is False


def test_what_a_layer_made_of_its_weights_is_copied():
    normalization = keras.layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(120, 50, (64, 8, 8, 3)))
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, use_bias=False)(normalization(images))
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, keras.layers.Dense(3)(x))
    pixels = np.random.default_rng(1).uniform(0, 255, (4, 8, 8, 3)).astype("float32")
    folded = fold_batch_norm(model)
    np.testing.assert_allclose(folded(pixels), model(pixels), rtol=1e-4, atol=1e-5)
    assert not any(type(layer) is keras.layers.BatchNormalization for layer in folded.layers)


def test_functions_without_weights_are_called_as_they_are():
    images = keras.Input((8, 8, 3))
    x = keras.layers.Lambda(lambda pixels: pixels / 255 - 0.5)(images)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, keras.layers.Dense(3)(x))
    pixels = np.random.default_rng(1).uniform(0, 255, (4, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(fold_batch_norm(model)(pixels), model(pixels), rtol=1e-4, atol=1e-5)


@keras.saving.register_keras_serializable(package="tests")
class Shift(keras.layers.Layer):
    """Adds a number that neither its configuration nor its weights hold."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.by = 0.0

    def call(self, inputs):
        return inputs + self.by


def test_a_copy_that_answers_otherwise_is_refused():
    images = keras.Input((8, 8, 3))
    shift = Shift()
    shift.by = 3.0
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(shift(images)))
    model = keras.Model(images, keras.layers.Dense(3)(x), name="shifted")
    with pytest.raises(InputError, match="'shifted', whose folded network answers otherwise"):
        fold_batch_norm(model)


def test_a_batch_norm_after_a_kernel_with_lora_stays():
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    dense = keras.layers.Dense(6, use_bias=False)
    x = keras.layers.BatchNormalization()(dense(keras.layers.GlobalAveragePooling2D()(images)))
    model = with_statistics(keras.Model(images, keras.layers.Dense(3)(x)))
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(np.full(dense.lora_kernel_b.shape, 0.3))
    folded = fold_batch_norm(model)
    assert len(batch_norms(folded)) == 1
    assert_same_logits(folded, model)


@keras.saving.register_keras_serializable(package="tests")
class Scales(keras.layers.Layer):
    """Multiplies by as many weights as an attribute says that its configuration leaves out."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.count = 1

    def build(self, shape):
        self.scales = [self.add_weight(name=f"scale_{n}") for n in range(self.count)]

    def call(self, inputs):
        for scale in self.scales:
            inputs = inputs * scale
        return inputs


def test_a_layer_with_weights_that_its_configuration_does_not_make_is_refused_by_name():
    images = keras.Input((8, 8, 3))
    scales = Scales(name="two_scales")
    scales.count = 2
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(scales(images)))
    with pytest.raises(InputError, match="Received: 'two_scales', whose weights are others"):
        fold_batch_norm(model)
