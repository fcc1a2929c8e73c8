import keras
import numpy as np
import pytest
from keras import layers

from tests.bounds import ROUNDING, apart
from tf_adaptive import resolution_branches
from tf_adaptive.errors import InputError
from tf_adaptive.layers import BatchNormalization
from tf_adaptive.models import MSDNet, ResNet

RESOLUTIONS = (64, 48, 32)


def tiny_resnet(**overrides):
    arguments = {"input_shape": (None, None, 3), "num_classes": 4, "blocks": (1, 1)}
    return ResNet(**{**arguments, "widths": (4, 8), "block": "basic", **overrides})


def plain_classifier(side=64):
    """Keras's own layers, one of them called twice."""
    images = keras.Input((side, side, 3), name="images")
    shared = layers.Conv2D(6, 3, padding="same", name="convolution")
    normalization = layers.BatchNormalization(name="normalization")
    features = normalization(shared(images))
    features = layers.Conv2D(6, 1, name="second")(layers.ReLU()(features))
    features = normalization(features)
    features = layers.GlobalAveragePooling2D()(features)
    return keras.Model(images, layers.Dense(4, name="logits")(features), name="plain")


def nested_classifier():
    inner_images = keras.Input((None, None, 6))
    inner = keras.Model(
        inner_images, BatchNormalization(name="inner_normalization")(inner_images), name="inner"
    )
    head = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dense(4)], name="head")
    images = keras.Input((None, None, 3), name="images")
    features = layers.Conv2D(6, 3, name="convolution")(images)
    return keras.Model(images, head(inner(features)), name="nested")


def mobilenet():
    return keras.applications.MobileNetV2(
        input_shape=(64, 64, 3), weights=None, classes=4, alpha=0.35, classifier_activation=None
    )


BUILDERS = [tiny_resnet, plain_classifier, nested_classifier, mobilenet]


def random_images(resolution, batch=3):
    shape = (batch, resolution, resolution, 3)
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def randomise(model):
    """Values that tell copies of variables apart, variances kept positive."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 0.3, weight.shape))


def normalizations(model):
    kind = layers.BatchNormalization
    return [layer for layer in model._flatten_layers() if isinstance(layer, kind)]


def variables_by_identity(model):
    return {id(variable): variable for variable in model.variables}


@pytest.mark.parametrize("build", BUILDERS)
def test_all_is_shared_but_batch_norms(build):
    classifier = build()
    original = variables_by_identity(classifier)
    private_count = sum(len(n.weights) for n in normalizations(classifier))
    branches = resolution_branches(classifier, RESOLUTIONS)
    seen = set()
    for branch, resolution in zip(branches, RESOLUTIONS, strict=True):
        assert branch.input_shape == (None, resolution, resolution, 3)
        assert branch.output_shape == (None, 4)
        own = {key: v for key, v in variables_by_identity(branch).items() if key not in original}
        assert len(own) == private_count
        assert not seen & set(own)
        seen |= set(own)
        assert all(f"_at_{resolution}" in variable.path for variable in own.values())
        shared = len(branch.variables) - len(own)
        assert shared == len(original) - private_count > 0


@pytest.mark.parametrize("build", BUILDERS)
def test_batch_norms_may_be_shared_too(build):
    classifier = build()
    original = variables_by_identity(classifier)
    branches = resolution_branches(classifier, RESOLUTIONS, shared_batch_norm=True)
    for branch in branches:
        assert variables_by_identity(branch).keys() <= original.keys()
    means = [n.moving_mean for n in normalizations(branches[0])]
    before = [mean.numpy() for mean in means]
    branches[1](random_images(RESOLUTIONS[1]), training=True)
    assert any(not np.array_equal(mean, old) for mean, old in zip(means, before, strict=True))


@pytest.mark.parametrize("build", BUILDERS)
def test_every_branch_starts_as_the_classifier(build):
    classifier = build()
    randomise(classifier)
    for branch, resolution in zip(
        resolution_branches(classifier, RESOLUTIONS), RESOLUTIONS, strict=True
    ):
        images = random_images(resolution)
        opened = resolution_branches(classifier, [resolution, 31])[0]
        np.testing.assert_array_equal(branch(images), opened(images))
        # A classifier of one size is compared at its own.
        if classifier.input_shape[1] in (None, resolution):
            assert apart(branch(images), classifier(images)) < ROUNDING


def test_a_keras_convolution_is_the_classifiers_own():
    classifier = plain_classifier()
    branches = resolution_branches(classifier, RESOLUTIONS)
    for name in ("convolution", "second", "logits"):
        assert all(b.get_layer(name) is classifier.get_layer(name) for b in branches)
    # A batch norm that is called twice is one in each branch as well.
    assert [[layer.name for layer in normalizations(branch)] for branch in branches] == [
        [f"normalization_at_{resolution}"] for resolution in RESOLUTIONS
    ]


def test_a_units_convolution_is_the_classifiers_own():
    classifier = tiny_resnet()
    for branch, resolution in zip(
        resolution_branches(classifier, RESOLUTIONS), RESOLUTIONS, strict=True
    ):
        unit = branch.get_layer(f"group_2_block_1_shortcut_at_{resolution}")
        original = classifier.get_layer("group_2_block_1_shortcut")
        assert unit.convolution is original.convolution
        assert unit.batch_normalization is not original.batch_normalization


@pytest.mark.parametrize("build", BUILDERS)
def test_training_a_branch_leaves_the_others_statistics_alone(build):
    classifier = build()
    branches = resolution_branches(classifier, RESOLUTIONS)

    def statistics(model):
        return np.concatenate(
            [w.numpy() for n in normalizations(model) for w in n.non_trainable_weights]
        )

    before = [statistics(model) for model in (classifier, *branches)]
    branches[1](random_images(48), training=True)
    after = [statistics(model) for model in (classifier, *branches)]
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [
        *(True, True, False, True)
    ]


def test_frozen_batch_norms_stay_frozen():
    images = keras.Input((None, None, 3), name="images")
    frozen = BatchNormalization(name="frozen", momentum=0.5)
    frozen.trainable = False
    features = layers.GlobalAveragePooling2D()(frozen(images))
    classifier = keras.Model(images, layers.Dense(2)(features))
    branch = resolution_branches(classifier, (16, 8))[1]
    before = [weight.numpy() for weight in branch.weights]
    branch(random_images(8), training=True)
    for weight, old in zip(branch.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert branch.get_layer("frozen_at_8").momentum == 0.5


def flattened():
    images = keras.Input((64, 64, 3), name="images")
    features = BatchNormalization()(layers.Conv2D(2, 3)(images))
    logits = layers.Dense(4, name="logits")(layers.Flatten()(features))
    return keras.Model(images, logits, name="flattened")


def reshaped():
    images = keras.Input((64, 64, 3), name="images")
    features = layers.Reshape((64 * 64, 3), name="rows")(BatchNormalization()(images))
    return keras.Model(images, layers.Dense(4)(layers.GlobalAveragePooling1D()(features)))


def pooled_in_windows():
    images = keras.Input((64, 64, 3), name="images")
    features = layers.AveragePooling2D(64, name="pool")(BatchNormalization()(images))
    return keras.Model(images, layers.Dense(4)(layers.Flatten()(features)))


def output_of_another_length():
    images = keras.Input((64, 64, 3), name="images")
    return keras.Model(images, layers.Flatten(name="flat")(BatchNormalization()(images)))


def without_batch_norm():
    images = keras.Input((None, None, 3), name="images")
    return keras.Model(images, layers.GlobalAveragePooling2D()(images), name="bare")


def several_inputs():
    inputs = [keras.Input((None, None, 3)) for _ in range(2)]
    features = layers.GlobalAveragePooling2D()(BatchNormalization()(layers.Add()(inputs)))
    return keras.Model(inputs, features, name="two")


def a_map_as_output():
    images = keras.Input((None, None, 3), name="images")
    return keras.Model(images, BatchNormalization()(images), name="map")


@keras.saving.register_keras_serializable(package="tests")
class Composite(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.normalization = layers.BatchNormalization()

    def call(self, inputs):
        return self.normalization(inputs)


def hidden_batch_norm():
    images = keras.Input((None, None, 3), name="images")
    return keras.Model(images, layers.GlobalAveragePooling2D()(Composite(name="box")(images)))


class Subclassed(keras.Model):
    pass


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (flattened, "pool globally, .* 'flattened', whose layer 'logits' does not fit .* 48×48"),
        (reshaped, "pool globally, .* whose layer 'rows' does not fit images of 48×48"),
        (pooled_in_windows, "pool globally, .* whose layer 'pool' does not fit images of 48×48"),
        (output_of_another_length, "pool globally, .* 'flat' does not fit images of 48×48"),
        (without_batch_norm, "must have batch normalisation, .* 'bare', which has none"),
        (several_inputs, "must have one input and one output. Received: 'two' with 2 and 1"),
        (
            lambda: MSDNet(input_shape=(8, 8, 3), num_classes=2, block_layers=(1, 1)),
            "must have one input and one output. Received: 'msdnet' with 1 and 2",
        ),
        (a_map_as_output, "must map images .* to logits \\(batch, classes\\), .* Received: 'map'"),
        (hidden_batch_norm, "Batch norms of `classifier` must be .* 'box', a Composite with one"),
        (Subclassed, "`classifier` must be a functional keras.Model. Received: Subclassed"),
    ],
)
def test_refuses_the_classifier(build, message):
    with pytest.raises(InputError, match=message):
        resolution_branches(build(), RESOLUTIONS)


@pytest.mark.parametrize(
    ("resolutions", "message"),
    [
        ((), "must be a list of two candidates or more. Received: resolutions=\\(\\)"),
        ((32,), "must be a list of two candidates or more. Received: resolutions=\\(32,\\)"),
        (32, "must be a list of two candidates or more. Received: resolutions=32"),
        ((16, 32), "must fall from one candidate to the next. .*=\\(16, 32\\)"),
        ((32, 32), "must fall from one candidate to the next"),
        ((32, 0), "must be a whole number from 1 on. Received: resolutions=0"),
        ((32, -8), "must be a whole number from 1 on. Received: resolutions=-8"),
        ((32.0, 16), "must be a whole number from 1 on. Received: resolutions=32.0"),
        (("32", 16), "must be a whole number from 1 on. Received: resolutions='32'"),
    ],
)
def test_refuses_the_resolutions(resolutions, message):
    with pytest.raises(InputError, match=f"`resolutions` {message}"):
        resolution_branches(plain_classifier(), resolutions)
