"""What a finished network with exits answers on the test images."""

from tf_adaptive.errors import InputError
from tf_adaptive.programs.progress_bar import with_bar
from tf_adaptive.reports.logits import collect_logits
from tf_adaptive.runs.run import load_run

_BATCH_SIZE = 256


def load_multi_exit_run(run_dir, flag):
    """A finished run of a network with several exits.

    Args:
        run_dir: its directory.
        flag: the flag that names it, for the message.

    Raises:
        InputError: another network, or what `load_run` raises.
    """
    run = load_run(run_dir)
    if run.routes or len(run.model.outputs) == 1:
        raise InputError(
            f"`{flag}` must be the run of a network with several exits. Received: {run_dir}."
        )
    return run


def collect_test_logits(run, dataset):
    """Its logits `(exits, images, classes)` and the labels `(images,)`, with a progress bar."""
    batches = dataset.batches("test", _BATCH_SIZE)
    shown = with_bar(batches, dataset.sizes["test"], _BATCH_SIZE, "test images")
    return collect_logits(run.model, shown)
