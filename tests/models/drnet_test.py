import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.bounds import ROUNDING, apart
from tf_adaptive.errors import InputError
from tf_adaptive.layers import BatchNormalization
from tf_adaptive.models import DRNet, ResNet
from tf_adaptive.routing.costs import branch_costs

RESOLUTIONS = (32, 24, 16)
CLASSES = 4


def tiny_classifier():
    # Of other widths than multiples of 8, oneDNN held to AVX2 gives strided 1×1 convolutions wrong
    # gradients.
    arguments = {"blocks": (1, 1), "block": "basic", "widths": (8, 16)}
    return ResNet(input_shape=(None, None, 1), num_classes=CLASSES, **arguments)


def tiny_predictor(**overrides):
    arguments = {"input_shape": (16, 16, 1), "num_classes": 3, "blocks": (1,), "widths": (4,)}
    return ResNet(**{**arguments, "block": "basic", "name": "predictor", **overrides})


def tiny_drnet(**overrides):
    keras.utils.set_random_seed(0)
    arguments = {
        "predictor": tiny_predictor(),
        "classifier": tiny_classifier(),
        "resolutions": RESOLUTIONS,
        "predictor_resolution": 16,
    }
    model = DRNet(**{**arguments, **overrides})
    set_apart(model)
    return model


def set_apart(model):
    """Statistics and shifts that tell the branches apart."""
    rng = np.random.default_rng(2)
    for layer in normalizations(model):
        layer.beta.assign(rng.normal(0, 0.3, layer.beta.shape))
        layer.moving_mean.assign(rng.normal(0, 0.3, layer.beta.shape))
        layer.moving_variance.assign(rng.uniform(0.5, 1.5, layer.beta.shape))


def normalizations(model):
    kind = keras.layers.BatchNormalization
    return [layer for layer in model._flatten_layers() if isinstance(layer, kind)]


def values(model):
    return np.concatenate([weight.numpy().ravel() for weight in model.weights])


def fixed_choice(model, shares):
    """A predictor of which batches choose about so, whatever its weights."""
    model.predictor.get_layer("logits").bias.assign(np.log(shares))


def random_images(batch, resolution=32, seed=0):
    shape = (batch, resolution, resolution, 1)
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def resized(images, resolution):
    return tf.image.resize(images, (resolution, resolution), "bilinear")


def test_every_image_is_classified_at_the_resolution_chosen_for_it():
    model, images = tiny_drnet(), random_images(40)
    preferences = model.predictor(resized(images, 16)).numpy()
    # The middle of each candidate's preferences, so that all are chosen.
    model.predictor.get_layer("logits").bias.assign(-np.median(preferences, axis=0))
    expected = model.predictor(resized(images, 16)).numpy().argmax(axis=-1)
    assert len(np.unique(expected)) == 3
    routed = model.route(images)
    np.testing.assert_array_equal(routed["choice"], expected)
    np.testing.assert_array_equal(routed["one_hot"], np.eye(3)[expected])
    for row, choice in enumerate(expected):
        branch, resolution = model.branches[choice], RESOLUTIONS[choice]
        logits = branch(resized(images[row : row + 1], resolution))
        np.testing.assert_allclose(routed["logits"][row], logits[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model(images), routed["logits"])
    np.testing.assert_array_equal(model.choose(images), expected)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch", [0, 1, 7])
def test_one_graph_function_takes_any_batch(batch, training):
    model = tiny_drnet(seed=3)
    traces = []

    @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 1))])
    def route(images):
        traces.append(images)
        return model.route(images, training=training)

    for images in (random_images(batch), random_images(3)):
        routed = route(images)
        assert routed["logits"].shape == (len(images), CLASSES)
        assert routed["choice"].shape == (len(images),)
        assert routed["one_hot"].shape == (len(images), 3)
        assert np.isfinite(routed["logits"]).all()
    assert len(traces) == 1


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_branches_without_images_do_not_run(chosen, graph):
    model, images = tiny_drnet(), random_images(5)
    fixed_choice(model, np.where(np.arange(3) == chosen, 1.0, 1e-30))
    before = [values(branch) for branch in model.branches]
    route = tf.function(model.route) if graph else model.route
    routed = route(images, training=True)
    np.testing.assert_array_equal(routed["choice"], [chosen] * 5)
    assert np.isfinite(routed["logits"]).all()
    unchanged = [
        np.array_equal(values(branch), old)
        for branch, old in zip(model.branches, before, strict=True)
    ]
    assert unchanged == [index != chosen for index in range(3)]


def test_every_batch_norm_sees_the_images_of_its_resolution():
    model, images = tiny_drnet(seed=1), random_images(12)
    fixed_choice(model, [1 / 3] * 3)
    layer = [branch.layers[1].batch_normalization for branch in model.branches]
    before = [normalization.moving_mean.numpy() for normalization in layer]
    choice = model.route(images, training=True)["choice"].numpy()
    assert len(np.unique(choice)) == 3
    for index, resolution in enumerate(RESOLUTIONS):
        own = resized(images[choice == index], resolution)
        padded = tf.pad(own, ((0, 0), (3, 3), (3, 3), (0, 0)))
        features = model.branches[index].layers[1].convolution(padded)
        mean = tf.reduce_mean(features, (0, 1, 2)).numpy()
        expected = 0.9 * before[index] + 0.1 * mean
        np.testing.assert_allclose(layer[index].moving_mean, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("graph", [False, True])
def test_gradients_are_those_of_the_dense_formula(graph, dense):
    """Routed against Σ_j h_j F_j(x_j) over all branches, with the same draws.

    The classifier's gradients are the formula's. So are the predictor's where `dense`; elsewhere it
    has none.
    """
    model, images = tiny_drnet(seed=4, temperature=0.8), random_images(16)
    fixed_choice(model, [1 / 3] * 3)
    labels = np.random.default_rng(5).integers(0, CLASSES, 16)
    for layer in normalizations(model):
        # Both ways then normalise by the same statistics, whatever the batch.
        layer.trainable = False
    draws = model.choice.seed_generator.state
    start = draws.numpy()

    def loss_of(logits):
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        )

    def routed():
        with tf.GradientTape() as tape:
            answer = model.route(images, training=True, dense=dense)
            loss = loss_of(answer["logits"])
        variables = [variable.value for variable in model.trainable_variables]
        return answer, tape.gradient(loss, variables, unconnected_gradients="zero")

    answer, gradients = (tf.function(routed) if graph else routed)()
    draws.assign(start)
    with tf.GradientTape(persistent=True) as tape:
        h = model.choice(model.predictor(resized(images, 16), training=True), training=True)
        logits = tf.stack(
            [
                branch(resized(images, resolution), training=True)
                for branch, resolution in zip(model.branches, RESOLUTIONS, strict=True)
            ],
            axis=1,
        )
        formula = tf.reduce_sum(h[:, :, None] * logits, axis=1)
        loss = loss_of(formula)
    np.testing.assert_allclose(answer["logits"], formula, rtol=1e-4, atol=1e-5)
    # Zeros and ones but for the last bit, which the straight-through sum may leave.
    np.testing.assert_allclose(answer["one_hot"], h, atol=1e-6)
    assert len(np.unique(answer["choice"])) == 3

    # By identity: the predictor's variables may have the names of the classifier's.
    predictor = {id(v): v.value for v in model.predictor.trainable_variables}
    others = {id(v): v.value for v in model.trainable_variables if id(v) not in predictor}
    expected = {
        **tape.gradient(loss, others),
        **tape.gradient(loss, predictor),
    }
    assert len(expected) == len(gradients) == len(predictor) + len(others)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        scale = np.abs(expected[id(variable)]).max()
        assert scale > 0, variable.path
        if not dense and id(variable) in predictor:
            assert not np.any(gradient), variable.path
            continue
        np.testing.assert_allclose(
            gradient, expected[id(variable)], atol=1e-4 * scale, err_msg=variable.path
        )


def test_branch_logits():
    model, images = tiny_drnet(), random_images(5)
    for branch, resolution in zip(model.branches, RESOLUTIONS, strict=True):
        expected = branch(resized(images, resolution))
        np.testing.assert_array_equal(model.branch_logits(images, resolution), expected)
    assert model.branch_logits(images[:0], 24).shape == (0, CLASSES)
    with pytest.raises(InputError, match="`resolution` must be one of 32, 24, 16. Received: .*=20"):
        model.branch_logits(images, 20)


def test_every_resolution_at_once():
    model, images = tiny_drnet(), random_images(5)
    together = model.every_resolution()
    for logits, resolution in zip(together(images), RESOLUTIONS, strict=True):
        assert apart(logits, model.branch_logits(images, resolution)) < ROUNDING
    own = {id(v) for branch in model.branches for v in branch.trainable_variables}
    assert {id(v) for v in together.trainable_variables} == own


def nested_classifier():
    images = keras.Input((None, None, 1), name="images")
    inner = keras.Sequential([layers.Conv2D(4, 3, strides=2), BatchNormalization()], name="inner")
    features = layers.GlobalAveragePooling2D()(inner(images))
    return keras.Model(images, layers.Dense(CLASSES)(features), name="nested")


@pytest.mark.parametrize("build", [tiny_classifier, nested_classifier])
def test_saved_and_loaded_again(build, tmp_path):
    model = tiny_drnet(classifier=build(), temperature=0.7, seed=6, name="a_name")
    images = random_images(20)
    model.route(images, training=True)
    model.choice.temperature.assign(0.4)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again) is DRNet
    assert again.name == "a_name"
    assert again.resolutions == RESOLUTIONS
    assert again.choice.temperature.numpy() == np.float32(0.4)
    for ours, loaded in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ours, loaded, err_msg=ours.path)
    np.testing.assert_array_equal(model(images), again(images))
    for resolution in RESOLUTIONS:
        np.testing.assert_array_equal(
            model.branch_logits(images, resolution), again.branch_logits(images, resolution)
        )


def test_exported(tmp_path):
    model, images = tiny_drnet(), random_images(9)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("route", model.route, [tf.TensorSpec((None, 32, 32, 1), name="images")])
    archive.write_out(str(tmp_path / "exported"), verbose=False)
    loaded = tf.saved_model.load(tmp_path / "exported")
    for batch in (0, 1, 9):
        expected, answer = model.route(images[:batch]), loaded.route(images[:batch])
        for name, value in expected.items():
            np.testing.assert_allclose(answer[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("preset", ["drnet_resnet6_grey", "drnet_mobilenet_v2"])
def test_bfloat16_inside_float32_out(preset):
    before = keras.config.dtype_policy()
    model = DRNet.from_preset(
        preset, dtype="mixed_bfloat16", num_classes=5, resolutions=(64, 32), predictor_resolution=32
    )
    assert keras.config.dtype_policy() == before
    convolutions = [
        layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Conv2D)
    ]
    assert {layer.compute_dtype for layer in convolutions} == {"bfloat16"}
    shape = model.branches[0].input_shape[1:]
    routed = model.route(np.zeros((2, *shape), "float32"), training=True)
    assert routed["logits"].shape == (2, 5)
    assert routed["logits"].dtype == routed["one_hot"].dtype == tf.float32


# The paper's 3.8, 30.5 and 49.4 million count the predictor and one classifier, each private batch
# norm once: 3.82, 30.46 and 49.46. All that is trained, with the batch norms of every resolution,
# is 3.89, 30.57 and 49.67 million, which is further off in each case.
@pytest.mark.parametrize(
    ("preset", "parameters", "all_parameters", "largest_gigamacs", "predictor_gigamacs"),
    [
        ("drnet_resnet50", 30.5e6, 30_570_603, 4.1, 0.29),
        ("drnet_resnet101", 49.4e6, 49_667_179, 7.8, 0.29),
        ("drnet_mobilenet_v2", 3.8e6, 3_887_755, 0.307, 0.0094),
    ],
)
def test_presets_are_the_published_networks(
    preset, parameters, all_parameters, largest_gigamacs, predictor_gigamacs
):
    model = DRNet.from_preset(preset)
    costs = branch_costs(model)
    assert costs.parameters == pytest.approx(parameters, rel=0.006)
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable == all_parameters
    assert costs.branch_macs[0] == pytest.approx(largest_gigamacs * 1e9, rel=0.003)
    assert costs.predictor_macs == pytest.approx(predictor_gigamacs * 1e9, rel=0.005)


def test_small_preset():
    model = DRNet.from_preset("drnet_resnet6_grey")
    costs = branch_costs(model)
    assert model.resolutions == (96, 72, 48)
    shares = np.array(costs.branch_macs) / costs.branch_macs[0]
    np.testing.assert_allclose(shares, [1, (72 / 96) ** 2, (48 / 96) ** 2], rtol=1e-3)
    assert costs.predictor_macs / costs.branch_macs[0] < 0.02
    assert model(np.zeros((2, 96, 96, 1), "float32")).shape == (2, 10)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (random_images(2, 24), "must have the shape \\(batch, 32, 32, 1\\). .*\\(2, 24, 24, 1\\)"),
        (np.zeros((2, 32, 32, 3), "float32"), "must have the shape \\(batch, 32, 32, 1\\)"),
        (np.zeros((32, 32, 1), "float32"), "must have the shape \\(batch, 32, 32, 1\\)"),
        (np.zeros((2, 32, 32, 1), "uint8"), "must be floating-point, .* dtype uint8"),
    ],
)
def test_refuses_images(images, message):
    model = tiny_drnet()
    with pytest.raises(InputError, match=f"`images` {message}"):
        model.route(images)
    with pytest.raises(InputError, match=f"`images` {message}"):
        model.branch_logits(images, 16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resolutions": (32,)}, "`resolutions` must be a list of two candidates or more"),
        ({"resolutions": (16, 24, 32)}, "`resolutions` must fall"),
        ({"temperature": 0.0}, "`temperature` must be finite and above 0"),
        ({"predictor_resolution": 0}, "`predictor_resolution` must be a whole number from 1 on"),
        ({"predictor_resolution": 20}, "`predictor` .*\\(20, 20, 1\\): .*\\(16, 16, 1\\)"),
        (
            {"predictor": tiny_predictor(input_shape=(16, 16, 3))},
            "`predictor` must take images of the shape \\(16, 16, 1\\)",
        ),
        (
            {"predictor": tiny_predictor(num_classes=2)},
            "`predictor` must give 3 logits, one per resolution. .*\\(None, 2\\)",
        ),
        ({"predictor": layers.Dense(3, name="one")}, "`predictor` must be a functional .*'one'"),
        ({"classifier": layers.Dense(3)}, "`classifier` must be a functional keras.Model"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        tiny_drnet(**arguments)


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        ("drnet_resnet_50", {}, "`preset` must be one of .* Did you mean 'drnet_resnet50'"),
        ("drnet_resnet50", {"num_classes": 1}, "`num_classes` must be .* num_classes=1"),
        ("drnet_resnet50", {"resolutions": (224,)}, "`resolutions` must be a list of two"),
        ("drnet_resnet50", {"predictor_resolution": 0}, "`predictor_resolution` must be"),
    ],
)
def test_refuses_presets(preset, overrides, message):
    with pytest.raises(InputError, match=message):
        DRNet.from_preset(preset, **overrides)
