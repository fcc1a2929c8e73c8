"""The flags that choose a network's thresholds, the same in every program that writes one."""

from absl import flags

from tf_adaptive.programs import program

_BUDGET_MMACS = flags.DEFINE_float(
    "budget_mmacs", None, "million MACs an image may cost on average: chooses the thresholds"
)
_ACCURACY_DROP = flags.DEFINE_float(
    "accuracy_drop",
    None,
    "points that may be lost against the last exit: chooses the thresholds; 0.5 if nothing is set",
)
_THRESHOLDS = flags.DEFINE_list("thresholds", None, "the thresholds, one per exit but the last")


def chosen():
    """Keyword arguments of `choose_operating_point`."""
    return {
        "budget_mmacs": _BUDGET_MMACS.value,
        "accuracy_drop": _ACCURACY_DROP.value,
        "thresholds": program.numbers(_THRESHOLDS),
    }
