"""What the experiments on IMTA (Li et al. 2019) share: networks, epochs, and one phase I."""

from absl import flags

from tf_adaptive.errors import check_choice

from . import flags as shared
from .phase_2 import with_published_teacher

_SCALE = flags.DEFINE_string(
    "scale", "paper", "paper: its network and epochs; small: 5 exits, 4 epochs and 30 of phase II"
)
_PRESET = flags.DEFINE_string("preset", None, "another preset of MSDNet")
_EPOCHS = flags.DEFINE_integer("epochs", None, "epochs of phase I; the scale's if unset")
_PHASE_2_EPOCHS = flags.DEFINE_integer(
    "phase_2_epochs", None, "epochs of phase II; the scale's if unset"
)
_ROWS = flags.DEFINE_list("rows", None, "those to train, as plain,control; all if unset")

# Flags of phase I, then of phase II.
_SCALES = {
    "paper": ({"preset": "msdnet_cifar_lingrow7"}, {}),
    "small": (
        {"preset": "msdnet_cifar_lingrow5", "schedule": "cosine", "epochs": 4},
        {"epochs": 30, "augmented_passes": 1},
    ),
}


def trained_rows(rows):
    """The directories of finished runs, one a seed, of each row that --rows asks for.

    Phase I is trained once for all rows that have the same.

    Args:
        rows: dictionary from the name of a row to whether its phase I has Gradient Equilibrium,
            and the flags of its phase II, None for no such phase.

    Raises:
        InputError: a flag out of range; what `trained` raises.
    """
    check_choice("scale", _SCALE.value, _SCALES)
    for row in _ROWS.value or ():
        check_choice("rows", row, rows)
    seeds = shared.seeds()
    return {row: [_trained(row, seed, *rows[row]) for seed in seeds] for row in _ROWS.value or rows}


def _trained(row, seed, balanced, phase_2):
    of_phase_1, of_phase_2 = _SCALES[_SCALE.value]
    flags = {
        **{"model": "msdnet", **shared.of_data(), "seed": seed},
        **of_phase_1,
        **_given(preset=_PRESET.value, epochs=_EPOCHS.value),
        "gradient_equilibrium": balanced,
    }
    name = f"{'GE' if balanced else 'plain'} seed {seed}"
    run = shared.trained_cell(name, "trainers.train_multi_exit", flags)
    if phase_2 is None:
        return run
    flags = {
        **{"run_dir": run, "seed": seed},
        **of_phase_2,
        **_given(epochs=_PHASE_2_EPOCHS.value),
        **with_published_teacher(phase_2, flags["preset"]),
    }
    return shared.trained_cell(
        f"{row} seed {seed}", "trainers.train_collaboration", flags, output="output_dir"
    )


def _given(**flags):
    return {name: value for name, value in flags.items() if value is not None}
