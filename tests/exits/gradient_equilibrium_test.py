import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.bounds import ROUNDING, apart
from tests.tiny_networks import msdnet_of_late_layers
from tests.training.tiny_training import tiny_model
from tf_adaptive import EarlyExit, RANet, with_collaboration, with_gradient_equilibrium
from tf_adaptive.errors import InputError
from tf_adaptive.exits.gradient_equilibrium import trunk_variables
from tf_adaptive.exits.stages import calls_by_stage
from tf_adaptive.graph.calls import calls_before
from tf_adaptive.graph.keras_internals import producer
from tf_adaptive.layers import GradientRescale


def tiny_ranet():
    return RANet(
        input_shape=(16, 16, 3),
        num_classes=5,
        num_blocks=2,
        block_step=1,
        layer_step=1,
        layer_growth="even",
        scales=(1, 2),
        scale_growth=(2, 1),
        scale_bottleneck=(2, 1),
        growth_rate=8,
    )


@pytest.fixture(scope="module", params=[msdnet_of_late_layers, tiny_ranet])
def network(request):
    return request.param()


def images(batch=2):
    return np.random.default_rng(0).standard_normal((batch, 16, 16, 3)).astype("float32")


def features_of_stages(model):
    """Name and stage of every map that an exit's head, or a later stage, is computed from."""
    return {
        node.operation.name: number
        for number, calls in enumerate(calls_by_stage(model), start=1)
        for node in calls
        if "exit" not in node.operation.name
    }


def gradients(model, names, training):
    """Of every exit's loss on the named maps, by exit from 1 and name."""
    outputs = {node.operation.name: node.outputs[0] for node in calls_before(model.outputs)}
    probe = keras.Model(model.input, [*(outputs[name] for name in names), *model.outputs])
    with tf.GradientTape(persistent=True) as tape:
        values = probe(images(), training=training)
        maps, logits = values[: len(names)], values[len(names) :]
        losses = [tf.reduce_sum(tf.sin(exit)) for exit in logits]
    return {
        (number, name): gradient
        for number, loss in enumerate(losses, start=1)
        for name, gradient in zip(names, tape.gradient(loss, maps), strict=True)
    }


@pytest.mark.parametrize("training", [False, True])
def test_every_exit_pulls_with_its_share(network, training):
    stage_of = features_of_stages(network)
    balanced = with_gradient_equilibrium(network)
    plain = gradients(network, list(stage_of), training)
    ours = gradients(balanced, list(stage_of), training)
    num_exits = len(network.outputs)
    seen = set()
    for (exit_number, name), gradient in plain.items():
        stage = stage_of[name]
        if gradient is None or stage > exit_number:
            continue
        share = 1 / (num_exits - stage + 1)
        size = np.abs(gradient).max()
        np.testing.assert_allclose(ours[exit_number, name], share * gradient, atol=1e-5 * size)
        if size:
            seen.add((stage, exit_number))
    assert seen == {(i, j) for j in range(1, num_exits + 1) for i in range(1, j + 1)}


def test_an_exits_own_branch_learns_as_before(network):
    names = [layer.name for layer in network.layers if "_exit_unit_" in layer.name]
    plain = gradients(network, names, training=False)
    ours = gradients(with_gradient_equilibrium(network), names, training=False)
    for key, gradient in plain.items():
        if gradient is not None:
            assert apart(ours[key], gradient) < ROUNDING


def test_the_forward_pass_is_the_same_to_the_bit(network):
    balanced = with_gradient_equilibrium(network)
    for training in (False, True):
        before = network.get_weights()
        plain = network(images(), training=training)
        network.set_weights(before)
        ours = balanced(images(), training=training)
        network.set_weights(before)
        for theirs, logits in zip(plain, ours, strict=True):
            np.testing.assert_array_equal(logits, theirs)


def test_networks_with_and_without_it_share_checkpoints(network, tmp_path):
    balanced = with_gradient_equilibrium(network)
    assert [w.path for w in balanced.weights] == [w.path for w in network.weights]
    assert [w.path for w in balanced.trainable_weights] == [
        w.path for w in network.trainable_weights
    ]
    network.save_weights(tmp_path / "plain.weights.h5")
    before = network.get_weights()
    for weight in network.weights:
        weight.assign(keras.ops.zeros_like(weight))
    balanced.load_weights(tmp_path / "plain.weights.h5")
    for loaded, saved in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(loaded, saved)


def test_saved_and_loaded_again(network, tmp_path):
    balanced = with_gradient_equilibrium(network)
    balanced.save(tmp_path / "balanced.keras")
    again = keras.saving.load_model(tmp_path / "balanced.keras")
    assert any(isinstance(layer, GradientRescale) for layer in again.layers)
    for loaded, logits in zip(again(images()), balanced(images()), strict=True):
        np.testing.assert_array_equal(loaded, logits)


def operations_after_conversion(model, folder):
    """The operations of a network's TFLite form."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("exits", lambda images: model(images), [tf.TensorSpec((1, 16, 16, 3))])
    archive.write_out(folder, verbose=False)
    content = tf.lite.TFLiteConverter.from_saved_model(
        str(folder), signature_keys=["exits"]
    ).convert()
    interpreter = tf.lite.Interpreter(model_content=content)
    return sorted(operation["op_name"] for operation in interpreter._get_ops_details())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_leaves_no_operation_in_a_converted_graph(tmp_path):
    network = tiny_ranet()
    plain = operations_after_conversion(network, tmp_path / "plain")
    balanced = with_gradient_equilibrium(network)
    assert operations_after_conversion(balanced, tmp_path / "balanced") == plain


def test_early_exit_runs_on_it(network):
    thresholds = [0.25] * (len(network.outputs) - 1)
    plain = EarlyExit(network, thresholds)(images(5))
    ours = EarlyExit(with_gradient_equilibrium(network), thresholds)(images(5))
    for name, answer in plain.items():
        np.testing.assert_array_equal(ours[name], answer)


def test_the_released_form_rescales_what_the_exits_read():
    network = msdnet_of_late_layers()
    stage_of = features_of_stages(network)
    ours = gradients(with_gradient_equilibrium(network, form="released"), list(stage_of), True)
    plain = gradients(network, list(stage_of), True)
    # What exit 1 reads is the coarsest map of its block; the finer one is left alone.
    coarse, fine = "stage_1_layer_1_scale_2", "stage_1_layer_1_scale_1"
    assert apart(ours[1, coarse], plain[1, coarse] / 3) < ROUNDING
    # Exit 2 reads block 2's coarsest map, whose gradient is halved, and block 1's on the way.
    ratio = np.linalg.norm(ours[2, fine]) / np.linalg.norm(plain[2, fine])
    assert ratio == pytest.approx(1 / 2, rel=1e-5)
    ratio = np.linalg.norm(ours[2, coarse]) / np.linalg.norm(plain[2, coarse])
    assert ratio == pytest.approx(1 / 3, rel=1e-5)


def rescaled_edges(model, form):
    """The factor of every edge that has one other than 1, by the map's name, then its reader's."""
    edges = {}
    for node in calls_before(with_gradient_equilibrium(model, form=form).outputs):
        for tensor in node.input_tensors:
            rescale = producer(tensor).operation
            if isinstance(rescale, GradientRescale):
                (given,) = producer(tensor).input_tensors
                of_map = edges.setdefault(producer(given).operation.name, {})
                of_map[node.operation.name] = rescale.scale
    return edges


def read_by_layer(name, factor):
    """What a dense layer's scale makes of a map: its new features, and the map beside them."""
    return {f"{name}_normal_bottleneck": factor, name: factor}


# Of three exits, the last two of two layers: stage 3 reads a fine map that stage 2 computed.
MSDNET_RELEASED = {
    "stage_1_layer_1_scale_2": {
        "stage_1_exit_unit_1": 1 / 3,
        **read_by_layer("stage_2_layer_2_scale_2", 2 / 3),
    },
    "stage_2_layer_3_scale_2": {
        "stage_2_exit_unit_1": 1 / 2,
        **read_by_layer("stage_3_layer_4_scale_2", 1 / 2),
    },
}
MSDNET_PAPER = {
    **MSDNET_RELEASED,
    "stage_1_stem_scale_1": read_by_layer("stage_1_layer_1_scale_1", 2 / 3),
    "stage_2_layer_2_scale_1": read_by_layer("stage_2_layer_3_scale_1", 1 / 2),
}


def ranet_edges(crossing_two_boundaries):
    return {
        "stage_1_subnetwork_1_block_1_layer_1": {
            "stage_1_exit_unit_1": 1 / 3,
            "stage_2_subnetwork_1_block_2_layer_1_own_bottleneck": 2 / 3,
            "stage_2_subnetwork_1_block_2_layer_1": 2 / 3,
            "stage_3_subnetwork_2_block_1_lower": crossing_two_boundaries,
            "stage_3_subnetwork_2_block_2_layer_1_lower_bottleneck": crossing_two_boundaries,
        },
        "stage_2_subnetwork_1_block_2_layer_1": {
            "stage_2_exit_unit_1": 1 / 2,
            "stage_3_subnetwork_2_block_2_lower": 1 / 2,
        },
    }


RANET_PAPER = {
    **ranet_edges(crossing_two_boundaries=1 / 3),
    "stage_1_stem_subnetwork_1": {"stage_3_subnetwork_2_block_1_layer_1_lower_bottleneck": 1 / 3},
    "stage_1_stem_subnetwork_2": {
        "stage_3_subnetwork_2_block_1_layer_1_own_bottleneck": 1 / 3,
        "stage_3_subnetwork_2_block_1_layer_1": 1 / 3,
    },
}


def msdnet_of_late_fine_maps():
    return msdnet_of_late_layers(block_layers=(1, 2, 2))


@pytest.mark.parametrize(
    ("network", "form", "edges"),
    [
        (msdnet_of_late_fine_maps, "paper", MSDNET_PAPER),
        (msdnet_of_late_fine_maps, "released", MSDNET_RELEASED),
        (tiny_ranet, "paper", RANET_PAPER),
        (tiny_ranet, "released", ranet_edges(crossing_two_boundaries=2 / 3)),
    ],
)
def test_the_factor_of_every_edge(network, form, edges):
    assert rescaled_edges(network(), form) == {
        name: pytest.approx(of_map) for name, of_map in edges.items()
    }


def test_trunk_variables_are_what_it_changes(network):
    """By equation 5 one factor for all gradients of a stage's trunk, and 1 for its own branch."""
    variables = network.trainable_variables
    plain = gradients_of_all(network, variables)
    ours = gradients_of_all(with_gradient_equilibrium(network), variables)
    trunks = trunk_variables(network)
    factors = {
        id(variable): 1 / (len(trunks) - number)
        for number, trunk in enumerate(trunks)
        for variable in trunk
    }
    assert 0 < len(factors) < len(variables)
    for variable, theirs, gradient in zip(variables, plain, ours, strict=True):
        expected = factors.get(id(variable), 1) * theirs
        size = max(np.abs(expected).max(), 1e-6)
        np.testing.assert_allclose(gradient, expected, atol=1e-4 * size, err_msg=variable.path)


def gradients_of_all(model, variables):
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(tf.sin(exit)) for exit in model(images(), training=True))
    return [gradient.numpy() for gradient in tape.gradient(loss, [v.value for v in variables])]


def test_a_collaborating_networks_branches_are_its_exits():
    network = with_collaboration(msdnet_of_late_layers())
    names = ["stage_1_layer_1_scale_2", "stage_1_exit_features"]
    ours = gradients(with_gradient_equilibrium(network), names, training=False)
    plain = gradients(network, names, training=False)
    assert apart(ours[1, names[0]], plain[1, names[0]] / 3) < ROUNDING
    assert apart(ours[1, names[1]], plain[1, names[1]]) < ROUNDING


def test_refuses(network):
    with pytest.raises(InputError, match="`form` must be one of paper, released"):
        with_gradient_equilibrium(network, form="papr")
    with pytest.raises(InputError, match="2 outputs or more"):
        with_gradient_equilibrium(keras.Model(network.input, network.outputs[:1]))
    with pytest.raises(InputError, match="`scale` must be finite and 0 or more"):
        GradientRescale(-1.0)
    assert len(tiny_model().outputs) == len(with_gradient_equilibrium(tiny_model()).outputs)
