"""The flags that say on how many devices a network is trained."""

import contextlib

from absl import flags

from tf_adaptive.training.strategy import strategy_named, synchronized_batch_norm

_STRATEGY = flags.DEFINE_string(
    "strategy",
    "none",
    "none: one device; mirrored: all GPUs; mirrored:N: N of them, or N parts of the processor",
)
_SYNCHRONIZED = flags.DEFINE_bool(
    "synchronized_batch_norm",
    True,
    "batch norm's statistics are of the images of all devices, and not each device's own",
)


def chosen():
    """The strategy; to be asked for before TensorFlow computes anything.

    Raises:
        InputError: what `strategy_named` raises.
    """
    return strategy_named(_STRATEGY.value)


def prepared(model):
    """A context in which a model is as it is to be trained by the flags."""
    return synchronized_batch_norm(model) if _SYNCHRONIZED.value else contextlib.nullcontext()
