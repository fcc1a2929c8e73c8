"""The flags that say on how many devices a network is trained."""

import pathlib
import sys

from absl import flags

from tf_adaptive.errors import InputError
from tf_adaptive.runs.evaluate import report_if_finished
from tf_adaptive.training.strategy import STRATEGIES, Devices, strategy_named

_STRATEGY = flags.DEFINE_string(
    "strategy",
    "none",
    f"on what is trained, one of {', '.join(STRATEGIES)}: one device; all GPUs; N of them, or N "
    "parts of the processor; the machines of TF_CONFIG; a TPU. The batch is that of all together",
)
_SYNCHRONIZED = flags.DEFINE_bool(
    "synchronized_batch_norm",
    True,
    "batch norm's statistics are of the images of all devices, and not each device's own",
)
_JIT_COMPILE = flags.DEFINE_bool(
    "jit_compile", False, "compile training steps with XLA, for one accelerator"
)


def chosen(*, several_processes=True):
    """The `Devices` of the flags; to be asked for before TensorFlow computes anything.

    Args:
        several_processes: whether the program can be one of several.

    Raises:
        InputError: what `strategy_named` raises.
    """
    if _STRATEGY.value == "multi_worker" and not several_processes:
        raise InputError(
            "`strategy` must be one of a single process here, as mirrored. "
            f"Received: {_STRATEGY.value}."
        )
    devices = Devices(
        strategy=strategy_named(_STRATEGY.value),
        synchronized_batch_norm=_SYNCHRONIZED.value,
        jit_compile=_JIT_COMPILE.value,
    )
    if _JIT_COMPILE.value and devices.replicas > 1:
        raise InputError(
            "`jit_compile` must be left out with several replicas. "
            f"Received: {devices.replicas} by --strategy {_STRATEGY.value}."
        )
    return devices


def is_done(devices, run_dir, *, resume):
    """Whether a run to resume had ended but for its report, which the chief writes now.

    Args:
        devices: of `chosen`.
        run_dir, resume: see `report_if_finished`.
    """
    if devices.is_chief:
        return report_if_finished(run_dir, resume=resume)
    return resume and (pathlib.Path(run_dir) / "model.keras").exists()


def leave_to_chief(devices):
    """Ends the process where it is not the chief: what a run ends with is written by that one."""
    if not devices.is_chief:
        sys.exit(0)
