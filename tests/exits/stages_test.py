import collections

import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from tests.bounds import ROUNDING, apart
from tests.random_graphs import random_images, random_model
from tests.tiny_networks import tiny_ranet
from tf_adaptive import MSDNet, split_stages
from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.errors import InputError
from tf_adaptive.exits.gradient_equilibrium import with_gradient_equilibrium
from tf_adaptive.graph.calls import open_nested
from tf_adaptive.graph.precision import with_dtype

SEEDS = st.integers(0, 2**32 - 1)
few_examples = hypothesis.settings(max_examples=12, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def msdnet():
    return MSDNet.from_preset("msdnet_cifar_lingrow4", input_shape=(24, 24, 1), num_classes=10)


@pytest.fixture(scope="module")
def ranet():
    return tiny_ranet(num_classes=10)


@pytest.fixture(params=["msdnet", "ranet"])
def network(request):
    return request.getfixturevalue(request.param)


def assert_stages_are_the_model(model, inputs, *, run=lambda function: function):
    """Stage after stage gives the very logits of the model."""
    expected = run(lambda x: model(x, training=False))(inputs)
    state = inputs
    stages = split_stages(model)
    assert [stage.number for stage in stages] == list(range(1, len(expected) + 1))
    for stage, logits_of_model in zip(stages, expected, strict=True):
        logits, state = run(stage)(state)
        np.testing.assert_array_equal(logits, logits_of_model)
        assert tuple(state) == tuple(stage.state)
    assert state == {}


def calls_of(model):
    """How often each layer and operation is called, by name."""
    return collections.Counter(
        {
            layer["name"]: len(layer["inbound_nodes"])
            for layer in model.get_config()["layers"]
            if layer["class_name"] != "InputLayer"
        }
    )


def is_concatenation(tensor):
    return type(tensor._keras_history.operation).__name__ == "Concatenate"


def node_of(tensor):
    return tensor._keras_history.operation._inbound_nodes[tensor._keras_history.node_index]


def ancestors(tensors):
    """All tensors that some tensors are computed from, themselves included, by `id`."""
    found, pending = {}, list(tensors)
    while pending:
        tensor = pending.pop()
        if id(tensor) not in found:
            found[id(tensor)] = tensor
            pending.extend(node_of(tensor).input_tensors)
    return found


def parts(tensor):
    """The tensors under a tensor's concatenations, by `id`."""
    if not is_concatenation(tensor):
        return {id(tensor): tensor}
    found = {}
    for part in node_of(tensor).input_tensors:
        found.update(parts(part))
    return found


def numbers_in(tensors):
    return sum(int(np.prod(tensor.shape[1:])) for tensor in tensors)


def expected_numbers_handed_on(opened, number):
    """Numbers per image that exits after `number` read of what is there after it, each once."""
    there = {**{id(t): t for t in opened.inputs}, **ancestors(opened.outputs[:number])}
    # A layer of several outputs computes all of them.
    there.update({id(t): t for tensor in list(there.values()) for t in node_of(tensor).outputs})
    later = [t for t in ancestors(opened.outputs).values() if id(t) not in there]
    read = {}
    for tensor in later:
        for parent in node_of(tensor).input_tensors:
            if id(parent) in there:
                read.update(parts(parent))
    return numbers_in(read.values())


def assert_nothing_is_wasted(model):
    opened = open_nested(model)
    stages = split_stages(model)
    concatenations = {
        tensor._keras_history.operation.name
        for tensor in ancestors(opened.outputs).values()
        if is_concatenation(tensor)
    }
    before = collections.Counter()
    for number, stage in enumerate(stages, start=1):
        upto = calls_of(keras.Model(opened.inputs, opened.outputs[:number]))
        expected = upto - before
        before = upto
        ran = calls_of(stage.model)
        # Only putting a concatenation together again may be done a second time.
        assert set(ran - expected) <= concatenations
        assert not expected - ran
        assert numbers_in(stage.state.values()) == expected_numbers_handed_on(opened, number)
        given = {id(tensor) for tensor in stage.model.inputs}
        assert given <= ancestors(stage.model.outputs).keys()
    for stage, following in zip(stages, stages[1:], strict=False):
        assert tuple(stage.state) == following.takes
        read_later = {name for later in stages[stage.number :] for name in later.reads}
        assert set(stage.state) <= read_later


def test_published_networks(network):
    images = np.random.default_rng(0).standard_normal((3, 24, 24, 1)).astype("float32")
    assert_stages_are_the_model(network, images, run=tf.function)
    assert_nothing_is_wasted(network)


def test_msdnet_hands_on_feature_maps_by_name(msdnet):
    stages = split_stages(msdnet)
    assert stages[0].takes == ("images",)
    # Every layer of the second block keeps what it read and adds to it.
    assert stages[0].state.keys() == {
        "stage_1_stem_scale_1",
        "stage_1_stem_scale_2",
        "stage_1_layer_1_scale_3",
    }
    assert all("stage_3" not in layer.name for layer in stages[1].model.layers)


def test_ranet_hands_on_what_the_next_sub_networks_read(ranet):
    first, second, last = split_stages(ranet)
    assert first.takes == ("images",)
    # The inputs of all sub-networks, and the block of the first: its input and what it added.
    assert first.state.keys() == {
        "stage_1_stem_subnetwork_1",
        "stage_1_stem_subnetwork_2",
        "stage_1_stem_subnetwork_3",
        "stage_1_subnetwork_1_block_1_layer_1_own",
    }
    # The third reads the second only: block 1 halves its input, block 2 keeps what it read.
    assert second.state.keys() == {
        "stage_1_stem_subnetwork_2",
        "stage_1_stem_subnetwork_3",
        "stage_2_subnetwork_2_block_1_layer_1",
        "stage_2_subnetwork_2_block_1_transition",
        "stage_2_subnetwork_2_block_2_layer_1_own",
        "stage_2_subnetwork_2_block_2_layer_2_own",
    }
    assert last.state == {}


# Not as TensorFlow graphs: in a graph it fuses a convolution with the activation after it, unless
# the end of a stage stands between them, and that changes the last bit.
@few_examples
@hypothesis.given(seed=SEEDS)
def test_random_graphs(seed):
    model = random_model(seed)
    assert_stages_are_the_model(model, random_images(model, 3))
    assert_nothing_is_wasted(model)


def test_random_graphs_in_bfloat16():
    for seed in (1, 2):
        model = random_model(seed, dtype="mixed_bfloat16")
        assert_stages_are_the_model(model, random_images(model, 3))


def test_more_than_nine_exits_keep_their_order():
    images = keras.Input((4, 4, 1), name="images")
    features, exits = images, []
    for number in range(1, 13):
        features = layers.Conv2D(2, 1, name=f"convolution_{number}")(features)
        pooled = layers.GlobalAveragePooling2D()(features)
        exits.append(layers.Dense(2, name=f"exit_{number}")(pooled))
    model = keras.Model(images, exits)
    assert_stages_are_the_model(model, random_images(model, 2))
    for number, stage in enumerate(split_stages(model), start=1):
        assert stage.model.outputs[0]._keras_history.operation.name == f"exit_{number}"


def test_keras_backbone():
    backbone = keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, weights=None, include_top=False
    )
    # Called as a nested model in inference, as fine-tuning does.
    places = ("block_3_expand", "block_8_add")
    taps = keras.Model(
        backbone.input, [*(backbone.get_layer(p).output for p in places), *backbone.outputs]
    )
    images = keras.Input((32, 32, 3), name="images")
    exits = [
        layers.Dense(4, name=f"exit_{number}")(layers.GlobalMaxPooling2D()(features))
        for number, features in enumerate(taps(images, training=False), start=1)
    ]
    model = keras.Model(images, exits)
    assert_stages_are_the_model(model, random_images(model, 2))
    assert_nothing_is_wasted(model)


def test_dynamic_batch_in_a_graph(network):
    stages = split_stages(network)

    @tf.function(input_signature=[tf.TensorSpec((None, 24, 24, 1))])
    def run(images):
        state, answers = images, []
        for stage in stages:
            logits, state = stage(state)
            answers.append(logits)
        return answers

    for batch in (1, 4):
        images = np.random.default_rng(0).standard_normal((batch, 24, 24, 1)).astype("float32")
        assert [answer.shape for answer in run(images)] == [(batch, 10)] * len(stages)
    assert run.experimental_get_tracing_count() == 1


def names_of_stages(model):
    return [(stage.takes, stage.reads, stage.writes) for stage in split_stages(model)]


def test_names_stay_the_same_when_built_again(network):
    again = type(network).from_config(network.get_config())
    assert names_of_stages(again) == names_of_stages(network)


def test_names_stay_the_same_when_loaded(tmp_path):
    for seed in (3, 4):
        model = random_model(seed)
        split_stages(model)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert names_of_stages(again) == names_of_stages(model)


def test_names_of_a_layer_called_again_beside_one_of_the_numbered_name():
    images = keras.Input((4, 4, 2), name="images")
    shared = layers.Conv2D(2, 3, padding="same", name="shared")
    first = shared(images)
    second = shared(first)
    other = layers.Conv2D(2, 3, padding="same", name="shared_2")(second)
    pooled = layers.GlobalAveragePooling2D()
    joined = layers.Concatenate()([layers.ReLU()(t) for t in (first, second, other)])
    exits = [layers.Dense(2)(pooled(features)) for features in (other, joined)]
    model = keras.Model(images, exits)
    stages = split_stages(model)
    assert sorted(stages[0].state) == ["shared", "shared_2", "shared_3"]
    assert_stages_are_the_model(model, random_images(model, 2))


def test_nested_models_are_called_as_they_were_recorded():
    @keras.saving.register_keras_serializable(package="tests")
    class Mode(layers.Layer):
        def call(self, inputs, training=None):
            return inputs + {None: 1.0, False: 2.0, True: 3.0}[training]

    images = keras.Input((4,), name="images")
    inner = keras.Sequential([Mode()])
    first, second = inner(images, training=True), inner(images, training=False)
    model = keras.Model(images, [layers.Dense(2)(first), layers.Dense(2)(second)])
    values = random_images(model, 2)
    stages = split_stages(model)
    state = values
    # As the model itself is without a mode of its own.
    for stage, logits in zip(stages, model(values), strict=True):
        answer, state = stage(state)
        np.testing.assert_array_equal(answer, logits)


def test_nested_models_give_bfloat16_inputs_their_dtype():
    fine = keras.Input((4, 4, 2), dtype="float32")
    inner = keras.Model(fine, keras.ops.multiply(fine, 1.2345678))
    images = keras.Input((4, 4, 2), name="images")
    features = layers.Conv2D(2, 3, padding="same", dtype="mixed_bfloat16")(images)
    pooled = layers.GlobalAveragePooling2D()
    exits = [layers.Dense(2)(pooled(f)) for f in (inner(features), layers.ReLU()(inner(features)))]
    model = keras.Model(images, exits)
    assert_stages_are_the_model(model, random_images(model, 2))


def test_nested_models_take_their_inputs_by_name():
    ones, twos = keras.Input((4,), name="ones"), keras.Input((4,), name="twos")
    inner = keras.Model([twos, ones], layers.Subtract()([twos, ones]))
    images = keras.Input((4,), name="images")
    difference = inner({"ones": images, "twos": layers.Dense(4)(images)})
    model = keras.Model(images, [layers.Dense(2)(difference), layers.Dense(2)(difference)])
    assert_stages_are_the_model(model, random_images(model, 2))


def with_equal_names():
    """A model of two others, whose layers have the same names and those of its own."""

    def unit(name, channels):
        images = keras.Input((8, 8, channels), name="images")
        features = layers.Conv2D(4, 3, padding="same", name="conv")(images)
        features = layers.BatchNormalization(name="norm")(features)
        return keras.Model(images, layers.ReLU(name="relu")(features), name=name)

    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3), name="images")
    features, twice = unit("first", 3)(images), unit("second", 4)
    deeper = layers.Conv2D(5, 3, name="conv")(twice(twice(features)))
    pooled = [layers.GlobalAveragePooling2D()(each) for each in (features, deeper)]
    exits = [layers.Dense(3, name=name)(p) for name, p in zip(("a", "conv_3"), pooled, strict=True)]
    model = keras.Model(images, exits)
    draw = np.random.default_rng(0)
    model.set_weights([draw.uniform(0.2, 1, weight.shape) for weight in model.get_weights()])
    return model


def test_layers_of_nested_models_may_have_equal_names(tmp_path):
    model = with_equal_names()
    names = [layer.name for layer in model.layers]
    images = random_images(model, 4)
    assert_stages_are_the_model(model, images)
    expected = model(images)
    balanced = with_gradient_equilibrium(model)
    balanced.save(tmp_path / "model.keras")
    for other in (
        with_dtype(model, "float32"),
        balanced,
        keras.saving.load_model(tmp_path / "model.keras"),
        fold_batch_norm(model),
    ):
        for ours, theirs in zip(other(images), expected, strict=True):
            assert apart(np.asarray(ours), np.asarray(theirs)) < ROUNDING
    # The layers are the model's own, whatever they are called.
    assert {id(weight) for weight in balanced.weights} == {id(weight) for weight in model.weights}
    assert [layer.name for layer in model.layers] == names


def test_splitting_leaves_the_model_as_it_was(msdnet, tmp_path):
    images = np.random.default_rng(0).standard_normal((2, 24, 24, 1)).astype("float32")
    before = msdnet(images)
    split_stages(msdnet)
    msdnet.save(tmp_path / "model.keras")
    for model in (msdnet, keras.saving.load_model(tmp_path / "model.keras")):
        for old, new in zip(before, model(images), strict=True):
            np.testing.assert_array_equal(old, new)


def model_of(outputs, size=4):
    """A model of the outputs that a function makes of its input."""
    images = keras.Input((size,), name="images")
    return keras.Model(images, outputs(images))


class Doubled(keras.Model):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)

    def call(self, inputs, training=None):
        return [2 * logits for logits in super().call(inputs, training=training)]


def two_exits(x):
    features = layers.Dense(3)(x)
    return [layers.Dense(2)(features), layers.Dense(2)(layers.ReLU()(features))]


def same_twice(x):
    logits = layers.Dense(2)(x)
    return [logits, logits]


def dear_first(x):
    features = layers.Dense(3)(x)
    cheap = layers.Dense(2)(features)
    return [layers.Dense(2)(cheap), cheap]


def one_for_all(x):
    mean = keras.ops.mean(layers.Dense(3)(x), axis=0, keepdims=True)
    logits = layers.Dense(2)(layers.Add()([x, layers.Dense(4)(mean)]))
    return [logits, layers.Dense(2)(keras.ops.concatenate([x, x * layers.Dense(1)(mean)]))]


@pytest.mark.parametrize("in_a_list", [False, True])
def test_one_exit_is_one_stage(in_a_list):
    def build(x):
        logits = layers.Dense(2)(layers.Dense(3, activation="relu")(x))
        return [logits] if in_a_list else logits

    model = model_of(build)
    (stage,) = split_stages(model)
    images = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    logits, state = stage(images)
    np.testing.assert_array_equal(logits, keras.tree.flatten(model(images))[0])
    assert state == {}


def one_unit(x):
    first = layers.Dense(20)(x)
    return [layers.Dense(1, activation="sigmoid")(features) for features in (x, first)]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: model_of(lambda x: dict(zip("ab", two_exits(x), strict=True))),
            "must give its exits as a list, .* a dictionary of \\['a', 'b'\\]",
        ),
        (
            lambda: model_of(lambda x: [layers.Dense(2)(x), layers.Dense(3)(x)]),
            "same number of classes. Received: \\[2, 3\\]",
        ),
        (
            lambda: model_of(lambda x: [layers.Dense(2)(x), layers.Reshape((2, 2))(x)]),
            "must be logits of shape .* \\(None, 2, 2\\)",
        ),
        (lambda: keras.Sequential([layers.Dense(2)]), "functional keras.Model .* Sequential"),
        (lambda: layers.Dense(2), "functional keras.Model .* Dense"),
        (
            lambda: (lambda m: Doubled(m.input, m.output))(model_of(two_exits)),
            "functional keras.Model .* Doubled",
        ),
        (lambda: model_of(same_twice), "exit 2 needs none"),
        (lambda: model_of(dear_first), "exit 2 needs none"),
        (lambda: model_of(one_unit), "of two classes or more. Received: .*\\(None, 1\\)"),
        (lambda: model_of(one_for_all), "the batch as its first axis. Received: 'mean.*exit 1"),
    ],
)
def test_refuses(build, message):
    with pytest.raises(InputError, match=message):
        split_stages(build())


def in_windows(features):
    """`(batch, 8, 8, channels)` as `(batch · 4, 4, 4, channels)`."""
    channels = features.shape[-1]
    rows = ops.reshape(features, (-1, 2, 4, 2, 4, channels))
    return ops.reshape(ops.transpose(rows, (0, 1, 3, 2, 4, 5)), (-1, 4, 4, channels))


def put_together(windows):
    channels = windows.shape[-1]
    rows = ops.transpose(ops.reshape(windows, (-1, 2, 2, 4, 4, channels)), (0, 1, 3, 2, 4, 5))
    return ops.reshape(rows, (-1, 8, 8, channels))


def windowed_model(split, join, *, hands_on_windows):
    images = keras.Input((8, 8, 3), name="images")
    windows = layers.Conv2D(4, 3, padding="same")(split(images))
    features = join(windows)
    later = layers.Conv2D(4, 3, padding="same")(windows if hands_on_windows else features)
    later = join(later) if hands_on_windows else later
    exits = [layers.Flatten()(features), layers.Reshape((-1,))(later)]
    return keras.Model(images, [layers.Dense(3)(exit_features) for exit_features in exits])


@pytest.mark.parametrize(
    ("split", "join"),
    [
        (in_windows, put_together),
        (layers.Lambda(in_windows, (4, 4, 3)), layers.Lambda(put_together, (8, 8, 4))),
    ],
)
def test_windows_in_the_batch_axis_are_not_handed_on(split, join):
    images = np.random.default_rng(0).random((5, 8, 8, 3)).astype("float32")
    model = windowed_model(split, join, hands_on_windows=False)
    assert_stages_are_the_model(model, images)
    model = windowed_model(split, join, hands_on_windows=True)
    with pytest.raises(InputError, match="with 48 rows of a batch of 12, exit 1"):
        split_stages(model)


def test_reshapes_that_keep_the_batch_are_handed_on():
    images = keras.Input((4, 4, 3), name="images")
    tokens = ops.reshape(layers.Conv2D(4, 1)(images), (-1, 16, 4))
    swapped = ops.transpose(tokens, (0, 2, 1))
    later = layers.Dense(5)(ops.concatenate([swapped, swapped], axis=1))
    exits = [layers.Dense(3)(layers.Flatten()(features)) for features in (swapped, later)]
    pictures = np.random.default_rng(0).random((5, 4, 4, 3)).astype("float32")
    assert_stages_are_the_model(keras.Model(images, exits), pictures)


def test_refuses_to_run_without_its_state():
    first, second = split_stages(model_of(two_exits))
    _, state = first(np.zeros((1, 4), "float32"))
    (name,) = state
    with pytest.raises(InputError, match=f"Stage 2 must .* Missing: '{name}'. Received: \\['x'\\]"):
        second({"x": state[name]})
    with pytest.raises(InputError, match="Stage 1 must be given the model's 1 inputs .*images"):
        first([np.zeros((1, 4))] * 2)


def test_state_is_not_called_as_keywords_are():
    images = keras.Input((8, 8, 3))
    features = layers.Conv2D(4, 3, name="class")(images)
    first = layers.Dense(3)(layers.GlobalAveragePooling2D()(features))
    other = layers.Conv2D(4, 3, name="class_2")(features)
    last = layers.Dense(3)(layers.GlobalAveragePooling2D()(other))
    model = keras.Model(images, [first, last])
    one, two = split_stages(model)
    assert list(one.state) == ["class_3"]
    pictures = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype("float32")
    logits, state = one(pictures)
    np.testing.assert_array_equal(logits, model(pictures)[0])
    np.testing.assert_array_equal(two(state)[0], model(pictures)[1])
