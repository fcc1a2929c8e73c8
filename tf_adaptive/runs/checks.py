"""Whether the network of a run is the one that its settings name."""

from tf_adaptive.errors import InputError
from tf_adaptive.graph.weights import weights_in_pairs
from tf_adaptive.models.drnet import is_routed
from tf_adaptive.models.from_preset import build_network
from tf_adaptive.runs.directory import load_finished_run


def check_is_preset(model, config):
    """Refuses a run's model that is not the preset which the run's settings name.

    Args:
        model: the run's `keras.Model`.
        config: what the run's `config.json` holds.

    Raises:
        InputError: it is another network, or the settings name none.
    """
    name, preset = config.get("model"), config.get("preset")
    expected = build_network(
        name,
        preset,
        input_shape=model.input_shape[1:],
        num_classes=model.outputs[0].shape[-1],
    )
    if _weight_shapes(model) != _weight_shapes(expected):
        raise InputError(
            f"The run's model.keras must be the {preset!r} of its config.json. "
            "Received: another network; mend `preset` there or name another run."
        )


def take_weights(model, other, run_dir):
    """Gives a model the weights of another run's, by their paths.

    Args:
        model: `keras.Model` that is to take them.
        other: the other run's `keras.Model`.
        run_dir: directory of the other run.

    Raises:
        InputError: names or shapes of the weights differ.
    """
    if sorted(_weight_shapes(other)) != sorted(_weight_shapes(model)):
        raise InputError(
            "`weights_from` must be a run of the same preset, image channels and number of "
            f"classes. Received: {run_dir}, whose network differs."
        )
    for weight, theirs in weights_in_pairs(model, other):
        weight.assign(theirs)


def _weight_shapes(model):
    return [(weight.path, weight.shape) for weight in model.weights]


def load_run_with_exits(run_dir):
    """The settings and the network of a finished run, which must have exits.

    Args:
        run_dir: directory of a finished run.

    Returns:
        `(config, model)`, see `load_finished_run`.

    Raises:
        InputError: what `load_finished_run` raises, or the run of a DRNet.
    """
    config, model = load_finished_run(run_dir)
    if is_routed(model):
        raise InputError(
            "`run_dir` must be the run of a network with exits. "
            f"Received: {run_dir}, which is that of a DRNet."
        )
    return config, model
