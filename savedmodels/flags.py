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
_THRESHOLDS = flags.DEFINE_list(
    "thresholds", None, "the thresholds, one per exit but the last; off for an exit that is off"
)
_RISK = flags.DEFINE_float(
    "risk", None, "bound that is promised of the loss against the last exit, as 0.01 for a point"
)
_CONFIDENCE = flags.DEFINE_float("confidence", None, "of the promise of --risk; 0.95 if unset")
_LATENCY_MS = flags.DEFINE_float(
    "latency_ms", None, "milliseconds an image may take, by the times that the report has"
)
_LATENCY_BY = flags.DEFINE_string(
    "latency_by", "mean", "of which images --latency_ms is: mean or percentile_95"
)
_METHOD = flags.DEFINE_string(
    "method", "sweep", "thresholds to choose among: sweep, the papers'; optimal, searched jointly"
)


def chosen():
    """Keyword arguments of `choose_operating_point`."""
    return {
        "budget_mmacs": _BUDGET_MMACS.value,
        "accuracy_drop": _ACCURACY_DROP.value,
        "thresholds": program.numbers(_THRESHOLDS, none="off"),
        "risk": _RISK.value,
        "confidence": _CONFIDENCE.value,
        "latency_ms": _LATENCY_MS.value,
        "latency_by": _LATENCY_BY.value,
        "method": _METHOD.value,
    }
