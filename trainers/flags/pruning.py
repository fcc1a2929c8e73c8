"""The flags of pruning, which programs adopt with `flags.adopt_module_key_flags`."""

from absl import flags

from tf_adaptive.compression.pruning import Pruning, check_pruning

_PRUNE_TO = flags.DEFINE_float(
    "prune_to", None, "share of every kernel's weights that are 0 in the end; unset, no pruning"
)
_PRUNE_BEGIN = flags.DEFINE_float(
    "prune_begin", 0.0, "part of the training before the first weight is pruned"
)
_PRUNE_END = flags.DEFINE_float(
    "prune_end", 0.75, "part of the training after which the same weights stay 0"
)
_PRUNE_FREQUENCY = flags.DEFINE_integer(
    "prune_frequency", 100, "steps between choices of the weights to prune"
)


def check_flags():
    """Refuses flags that are out of range, and pruning without tfmot."""
    if _PRUNE_TO.value is not None:
        check_pruning(_PRUNE_TO.value, _PRUNE_BEGIN.value, _PRUNE_END.value, _PRUNE_FREQUENCY.value)


def pruning_of(model, *, steps):
    """The `Pruning` of a training of that many steps, None without --prune_to."""
    if _PRUNE_TO.value is None:
        return None
    return Pruning(
        model.trainable_variables,
        prune_to=_PRUNE_TO.value,
        steps=steps,
        prune_begin=_PRUNE_BEGIN.value,
        prune_end=_PRUNE_END.value,
        prune_frequency=_PRUNE_FREQUENCY.value,
    )
