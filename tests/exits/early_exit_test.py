import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.random_graphs import random_images, random_model
from tests.tiny_networks import TINY
from tf_adaptive import EarlyExit, MSDNet, RANet, choose_exits, confidence_scores
from tf_adaptive.errors import InputError
from tf_adaptive.exits.calibration import inverse
from tf_adaptive.exits.operating_point import OperatingPoint
from tf_adaptive.exits.thresholds import MEASURES
from tf_adaptive.reports.logits import collect_logits


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return MSDNet.from_preset(TINY, input_shape=(24, 24, 1), num_classes=10)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((257, 24, 24, 1)).astype("float32")


@pytest.fixture(scope="module")
def logits(model, images):
    """`(exits, images, classes)` of the whole model."""
    return collect_logits(model, [(images, np.zeros(len(images)))])[0]


def confidences_of(logits, measure="max_probability"):
    return np.stack([confidence_scores(exit_logits, measure) for exit_logits in logits])


def between_confidences(confidences):
    """A threshold for each exit but the last, in the widest gap that its middle samples leave.

    Logits have another last bit in a smaller batch, on many processors, and that must not decide
    where an image leaves.
    """
    ordered = np.sort(confidences[:-1], axis=1)
    quarter = ordered.shape[1] // 4
    middle = ordered[:, quarter : ordered.shape[1] - quarter]
    widest = np.diff(middle).argmax(axis=1)
    rows = np.arange(len(middle))
    return (middle[rows, widest] + middle[rows, widest + 1]) / 2


def assert_same(received, expected):
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-6)


def assert_is_the_simulation(answers, logits, thresholds, measure="max_probability"):
    """Class, exit and what goes with them of all images, from the logits of all exits."""
    confidences = confidences_of(logits, measure)
    exits = choose_exits(confidences, thresholds)
    chosen = logits[exits - 1, np.arange(len(exits))]
    assert_same(answers["confidence"], confidences[exits - 1, np.arange(len(exits))])
    np.testing.assert_array_equal(answers["exit"], exits)
    np.testing.assert_array_equal(answers["class"], chosen.argmax(axis=-1))
    assert_same(answers["probabilities"], tf.nn.softmax(chosen))


@pytest.mark.parametrize("in_a_list", [False, True])
def test_one_exit_takes_everybody(model, images, in_a_list):
    logits = model.outputs[0]
    one_exit = keras.Model(model.input, [logits] if in_a_list else logits)
    logits, _ = collect_logits(one_exit, [(images[:65], np.zeros(65))])
    answers = EarlyExit(one_exit, [])(images[:65])
    assert_is_the_simulation(answers, logits, [])
    assert np.all(answers["exit"] == 1)
    with pytest.raises(InputError, match="`thresholds` must hold 0 numbers"):
        EarlyExit(one_exit, [0.5])


@pytest.mark.parametrize("measure", MEASURES)
def test_is_the_simulation_by_every_measure(model, images, logits, measure):
    thresholds = between_confidences(confidences_of(logits, measure))
    answers = EarlyExit(model, thresholds, measure=measure)(images)
    assert_is_the_simulation(answers, logits, thresholds, measure)
    assert set(answers["exit"].numpy()) >= {1, 2, 4}


def tiny_msdnet(**overrides):
    return MSDNet(
        input_shape=(8, 8, 1),
        num_classes=3,
        block_layers=(1, 1, 1),
        scale_growth=(1, 2),
        scale_bottleneck=(1, 2),
        **overrides,
    )


def tiny_ranet(**overrides):
    return RANet(
        input_shape=(8, 8, 1),
        num_classes=3,
        num_blocks=1,
        block_step=1,
        layer_step=1,
        layer_growth="even",
        scales=(1, 2, 2),
        scale_growth=(2, 1, 1),
        scale_bottleneck=(2, 1, 1),
        **overrides,
    )


@pytest.mark.parametrize("build", [tiny_msdnet, tiny_ranet])
def test_is_the_simulation_at_any_thresholds(build):
    model = build()
    images = np.random.default_rng(0).standard_normal((64, 8, 8, 1)).astype("float32")
    logits, _ = collect_logits(model, [(images, np.zeros(64))])
    for thresholds in ([0, 0], [1, 1], [1, 0], between_confidences(confidences_of(logits))):
        assert_is_the_simulation(EarlyExit(model, thresholds)(images), logits, thresholds)


def test_batches_of_none_and_of_one(model, images, logits):
    thresholds = between_confidences(confidences_of(logits))
    fast = EarlyExit(model, thresholds)
    for batch in (images[:1], images[5:6]):
        alone, _ = collect_logits(model, [(batch, np.zeros(1))])
        assert_is_the_simulation(fast(batch), alone, thresholds)
    answers = fast(images[:0])
    assert {name: (value.shape, value.dtype.name) for name, value in answers.items()} == {
        "class": ((0,), "int32"),
        "probabilities": ((0, 10), "float32"),
        "confidence": ((0,), "float32"),
        "exit": ((0,), "int32"),
    }


def test_survivors_of_many_batches_are_put_together(model, images, logits):
    thresholds = between_confidences(confidences_of(logits))
    fast = EarlyExit(model, thresholds)
    sizes = []
    run_stage = fast.run_stage_alone

    def counting(stage, state):
        count = tf.shape(state[stage.takes[0]])[0]
        tf.py_function(lambda n: sizes.append((stage.number, int(n))), [count], [])
        return run_stage(stage, state)

    fast.run_stage_alone = counting
    answers = fast.predict(images, batch_size=10, regroup_to=32)
    assert_is_the_simulation(answers, logits, thresholds)
    later = {number: [n for k, n in sizes if k == number] for number in range(2, len(logits) + 1)}
    exits = answers["exit"]
    for number, runs in later.items():
        assert sum(runs) == np.sum(exits >= number)
        assert all(count == 32 for count in runs[:-1])
        assert runs[-1] <= 32


def test_regrouped_data_sets_and_what_is_refused(model, images, logits):
    thresholds = [None, *between_confidences(confidences_of(logits))[1:]]
    fast = EarlyExit(model, thresholds)
    empty = tf.data.Dataset.from_tensors((images[:0], np.zeros(0)))
    batches = empty.concatenate(
        tf.data.Dataset.from_tensor_slices((images[:50], np.zeros(50))).batch(7)
    )
    assert_is_the_simulation(fast.predict(batches, regroup_to=16), logits[:, :50], thresholds)
    assert fast.predict(images[:0], regroup_to=16)["probabilities"].shape == (0, 10)
    with pytest.raises(InputError, match="`regroup_to` must be a whole number from 1 on"):
        fast.predict(images, regroup_to=0)
    with pytest.raises(InputError, match="`images` must hold at least one batch"):
        fast.predict(empty.take(0), regroup_to=4)
    with pytest.raises(InputError, match="`images` must be finite"):
        fast.predict(np.full((3, 24, 24, 1), np.nan, "float32"), regroup_to=4)


def test_each_sample_at_thresholds_of_its_own():
    model = tiny_msdnet()
    images = np.random.default_rng(0).standard_normal((20, 8, 8, 1)).astype("float32")
    logits, _ = collect_logits(model, [(images, np.zeros(20))])
    confidences = confidences_of(logits)
    lowest, highest = confidences[:-1].min(axis=1), confidences[:-1].max(axis=1)
    own = np.random.default_rng(1).uniform(lowest, highest, (20, 2)).astype("float32")
    exits = np.concatenate(
        [choose_exits(confidences[:, [sample]], own[sample]) for sample in range(20)]
    )
    assert set(exits) == {1, 2, 3}
    answers = EarlyExit(model, [0, 0]).run([tf.constant(images)], tf.constant(own))
    np.testing.assert_array_equal(answers["exit"], exits)


def test_temperatures_divide_the_logits_of_their_exits():
    model = tiny_msdnet()
    images = np.random.default_rng(0).standard_normal((64, 8, 8, 1)).astype("float32")
    logits, _ = collect_logits(model, [(images, np.zeros(64))])
    temperatures = np.float32([2.5, 0.4, 1.7])
    scaled = logits * inverse(temperatures)[:, None, None]
    thresholds = between_confidences(confidences_of(scaled))
    point = OperatingPoint(thresholds, "max_probability", "by trial", temperatures)
    assert_is_the_simulation(EarlyExit(model, point)(images), scaled, thresholds)


@pytest.mark.parametrize("build", [tiny_msdnet, tiny_ranet])
def test_exits_that_are_off(build):
    model = build()
    images = np.random.default_rng(0).standard_normal((64, 8, 8, 1)).astype("float32")
    logits, _ = collect_logits(model, [(images, np.zeros(64))])
    thresholds = between_confidences(confidences_of(logits)).tolist()
    for off in ([0], [1], [0, 1]):
        some = [None if place in off else each for place, each in enumerate(thresholds)]
        fast = EarlyExit(model, some)
        assert fast.enabled_exits == tuple(n for n in (1, 2, 3) if n - 1 not in off)
        assert len(fast.stages) == 3 - len(off)
        assert_is_the_simulation(fast(images), logits, some)
        named = EarlyExit(model, thresholds, enabled_exits=fast.enabled_exits)
        np.testing.assert_array_equal(named(images)["exit"], fast(images)["exit"])
    heads = [
        layer.name
        for stage in EarlyExit(model, [None, 0.5]).stages
        for layer in stage.model.layers
        if "exit_1" in layer.name
    ]
    assert heads == []
    assert any("exit_1" in layer.name for layer in model.layers)
    with pytest.raises(InputError, match="numbers of exits, from 1 to 3. Received: .*4"):
        EarlyExit(model, [0.5, 0.5], enabled_exits=[4])


def test_an_exit_that_is_off_takes_nobody_at_a_confidence_of_one():
    model, counters = counted_model()
    images = images_of_means([50.0, 50.0])
    assert EarlyExit(model, [1.0, 1.0])(images)["exit"].numpy().tolist() == [1, 1]
    assert EarlyExit(model, [None, 1.0])(images)["exit"].numpy().tolist() == [2, 2]
    # And for each image its own.
    own = tf.constant([[1.0, 2.0], [2.0, 2.0]])
    answer = EarlyExit(model, [1.0, 1.0]).run([tf.constant(images)], own)
    assert answer["exit"].numpy().tolist() == [1, 3]


@pytest.mark.parametrize("constant_weights", [False, True])
def test_random_graphs(constant_weights):
    for seed in (1, 2, 4):
        model = random_model(seed)
        inputs = random_images(model, 20)
        logits = np.stack(model(inputs, training=False))
        thresholds = between_confidences(confidences_of(logits))
        answers = EarlyExit(model, thresholds, constant_weights=constant_weights)(inputs)
        exits = choose_exits(confidences_of(logits), thresholds)
        np.testing.assert_array_equal(answers["exit"], exits)
        chosen = logits[exits - 1, np.arange(20)]
        np.testing.assert_array_equal(answers["class"], chosen.argmax(axis=-1))
        np.testing.assert_allclose(answers["probabilities"], tf.nn.softmax(chosen), rtol=1e-5)


class Counted(layers.Layer):
    """Hands its input on, and counts how often it ran and on how many images."""

    def build(self, input_shape):
        self.runs = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.rows = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, inputs):
        self.runs.assign_add(1)
        self.rows.assign_add(keras.ops.shape(inputs)[0])
        return inputs * 1.0


def counted_model(sides=4):
    """Three exits on `(batch, side, side, 1)`, and the counters of their stages.

    Each answers with its image's mean times 1, 10 and 100: who is sure is known beforehand.
    """
    images = keras.Input((sides, sides, 1), name="images")
    counters = [Counted() for _ in range(3)]
    features, exits = images, []
    for scale, counter in zip((1.0, 10.0, 10.0), counters, strict=True):
        features = counter(layers.Rescaling(scale)(features))
        mean = layers.GlobalAveragePooling2D()(features)
        exits.append(layers.Concatenate()([mean, layers.Rescaling(-1.0)(mean)]))
    return keras.Model(images, exits), counters


def images_of_means(means):
    return np.ones((len(means), 4, 4, 1), "float32") * np.reshape(means, (-1, 1, 1, 1))


@pytest.mark.parametrize(
    ("means", "exits", "rows"),
    [
        ([5, -5], [1, 1], [2, 0, 0]),
        ([0.5, 5, -0.5], [2, 1, 2], [3, 2, 0]),
        ([0.001, 5, 0.5, -0.01, 5], [3, 1, 2, 3, 1], [5, 3, 2]),
        ([], [], [0, 0, 0]),
    ],
)
def test_stages_run_for_those_that_are_left_only(means, exits, rows):
    model, counters = counted_model()
    fast = EarlyExit(model, [0.9, 0.9])
    answers = fast(images_of_means(means))
    np.testing.assert_array_equal(answers["exit"], exits)
    np.testing.assert_array_equal(answers["class"], [int(mean < 0) for mean in means])
    assert [int(counter.rows.numpy()) for counter in counters] == rows
    assert [int(counter.runs.numpy()) for counter in counters] == [int(n > 0) for n in rows]


def test_sides_that_are_not_known():
    model, _ = counted_model(sides=None)
    answers = EarlyExit(model, [0.9, 0.9])(images_of_means([0.001, 5, 0.5]))
    np.testing.assert_array_equal(answers["exit"], [3, 1, 2])
    everybody_leaves = EarlyExit(model, [0.0, 0.9])(images_of_means([0.001, 5]))
    np.testing.assert_array_equal(everybody_leaves["exit"], [1, 1])


def test_follows_the_weights_of_the_model(model, images):
    fast = EarlyExit(model, [1, 1, 1])
    before = fast(images[:3])["probabilities"]
    bias = model.get_layer("exit_4").bias
    bias.assign_add(np.arange(10.0))
    changed = fast(images[:3])["probabilities"]
    bias.assign_sub(np.arange(10.0))
    assert not np.allclose(before, changed)
    np.testing.assert_allclose(before, fast(images[:3])["probabilities"], rtol=1e-5)


@pytest.mark.parametrize("build", [tiny_msdnet, tiny_ranet])
def test_bfloat16(build):
    model = build(dtype="mixed_bfloat16")
    images = np.random.default_rng(0).standard_normal((9, 8, 8, 1)).astype("float32")
    logits, _ = collect_logits(model, [(images, np.zeros(9))])
    thresholds = between_confidences(confidences_of(logits))
    answers = EarlyExit(model, thresholds)(images)
    assert answers["probabilities"].dtype == tf.float32
    assert len(set(answers["exit"].numpy())) > 1
    np.testing.assert_array_equal(answers["exit"], choose_exits(confidences_of(logits), thresholds))


def test_predict_keeps_the_order(model, images, logits):
    fast = EarlyExit(model, between_confidences(confidences_of(logits)))
    expected = fast(images)
    labelled = tf.data.Dataset.from_tensor_slices((images, np.arange(257))).batch(100)
    sources = {
        "array": fast.predict(images, batch_size=100),
        "one batch": fast.predict(images, batch_size=1000),
        "data set": fast.predict(labelled.map(lambda images, labels: images)),
        "labelled data set": fast.predict(labelled),
    }
    for source, answers in sources.items():
        for name, value in expected.items():
            assert isinstance(answers[name], np.ndarray), source
            assert_same(answers[name], value)
    assert fast.predict(images[:0])["probabilities"].shape == (0, 10)


def two_inputs():
    """A model whose inputs are listed in another order than that of their names."""
    first, second = keras.Input((4,), name="second"), keras.Input((4,), name="first")
    difference = layers.Subtract()([first, layers.Rescaling(2.0)(second)])
    return keras.Model([first, second], [layers.Dense(3)(difference) for _ in range(2)])


def test_several_inputs_by_place_and_by_name():
    model = two_inputs()
    inputs = random_images(model, 7)
    fast = EarlyExit(model, [1.0])
    expected = tf.nn.softmax(model(inputs)[1])
    by_name = {"first": inputs[1], "second": inputs[0]}
    for given in (inputs, tuple(inputs), by_name):
        np.testing.assert_allclose(fast(given)["probabilities"], expected, rtol=1e-5)
    answers = fast.predict(by_name, batch_size=3)
    np.testing.assert_allclose(answers["probabilities"], expected, rtol=1e-5)
    batches = tf.data.Dataset.from_tensor_slices((tuple(inputs), np.zeros(7))).batch(3)
    np.testing.assert_allclose(fast.predict(batches)["probabilities"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([np.zeros((2, 4))], "must be the model's 2 inputs \\(second, first\\). Received: 1"),
        ({"first": np.zeros((2, 4))}, "must be the model's 2 inputs"),
        ([np.zeros((2, 4)), np.zeros((1, 4))], "as many images in each input .*\\[\\(1,\\), \\(2,"),
    ],
)
def test_refuses_inputs(given, message):
    fast = EarlyExit(two_inputs(), [1.0])
    for run in (fast, fast.predict):
        with pytest.raises(InputError, match=message):
            run(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((4, 4, 1)), "must have the shape \\(batch, 4, 4, 1\\). Received: \\(4, 4, 1\\)"),
        (np.zeros((2, 4, 4, 3)), "must have the shape .* Received: \\(2, 4, 4, 3\\)"),
        (np.zeros((2, 5, 4, 1)), "must have the shape .* Received: \\(2, 5, 4, 1\\)"),
        (np.zeros((2, 4, 4, 1), "uint8"), "must be floating-point, .* Received: dtype uint8"),
        (np.full((2, 4, 4, 1), "a"), "must be floating-point, .* Received: dtype string"),
        (None, "must be an array with the batch as its first axis"),
        ([[1.0, 2.0], [3.0]], "must be an array with the batch as its first axis"),
    ],
)
def test_refuses_images(given, message):
    fast = EarlyExit(counted_model()[0], [1.0, 1.0])
    for run in (fast, fast.predict):
        with pytest.raises(InputError, match=f"`images` {message}"):
            run(given)


def test_refuses_exits_with_the_dearest_first():
    images = keras.Input((8, 8, 3))
    features, outputs = images, []
    for number in range(3):
        features = layers.Conv2D(4, 3, name=f"convolution_{number}")(features)
        outputs.append(layers.Dense(5)(layers.GlobalAveragePooling2D()(features)))
    EarlyExit(keras.Model(images, outputs), [0.5, 0.5])
    with pytest.raises(InputError, match="cheapest first. Received: 'turned' with the dearest"):
        EarlyExit(keras.Model(images, outputs[::-1], name="turned"), [0.5, 0.5])


@pytest.mark.parametrize("pixel", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers(pixel):
    model, _ = counted_model()
    images = images_of_means([1, 2, 3, 4])
    images[[1, 3], 0, 0] = pixel
    fast = EarlyExit(model, [0.0, 0.0])
    message = "must be finite. Received: NaN or infinite numbers in 2 of 4 images, .* index 1"
    for run in (fast, fast.predict):
        with pytest.raises(InputError, match=message):
            run(images)
    # A graph cannot refuse: nobody is sure of such an image.
    answer = tf.function(fast)(tf.constant(images))
    assert answer["exit"].numpy().tolist() == [1, 3, 1, 3]
    confidence = answer["confidence"].numpy()
    assert (confidence > 0).tolist() == [True, False, True, False]
    assert confidence[[1, 3]].tolist() == [0, 0]


def test_predict_refuses_no_batches_and_batches_of_nothing():
    fast = EarlyExit(counted_model()[0], [1.0, 1.0])
    for batch_size in (0, 1.5, "8", True, None):
        with pytest.raises(InputError, match="`batch_size` must be a whole number from 1 on"):
            fast.predict(images_of_means([1]), batch_size=batch_size)
    with pytest.raises(InputError, match="must hold at least one batch"):
        fast.predict(tf.data.Dataset.from_tensor_slices(images_of_means([1])).batch(2).take(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"thresholds": [0.5]}, "`thresholds` must hold 2 numbers"),
        ({"thresholds": [0.5, float("nan")]}, "`thresholds` must be numbers in \\[0, 1\\]"),
        ({"thresholds": [0.5, 1.1]}, "`thresholds` must be numbers in \\[0, 1\\]"),
        ({"thresholds": [0.5, 0.5], "measure": "margn"}, "`measure` .* Did you mean 'margin'?"),
    ],
)
def test_refuses_policies(arguments, message):
    with pytest.raises(InputError, match=message):
        EarlyExit(counted_model()[0], **arguments)
