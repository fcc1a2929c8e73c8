"""The state of a training on disk, so that a killed one continues."""

import pathlib

import tensorflow as tf

from tf_adaptive.errors import InputError


class Checkpoints:
    """The last two checkpoints of a training.

    A checkpoint is whole or not there: its files take their names, and the directory's
    `checkpoint` file names it, only when all of it is written.

    Args:
        directory: `pathlib.Path`, made by the first `save`.
        state: dict of names to a `tf.Variable` or a list of them: what is saved.
        read_only: change nothing in the directory, which is another process's.
    """

    def __init__(self, directory, state, *, read_only=False):
        self._directory = directory
        self._checkpoint = tf.train.Checkpoint(**state)
        if not read_only:
            _mend_names(directory)
        self._manager = tf.train.CheckpointManager(self._checkpoint, directory, max_to_keep=2)

    def save(self):
        """Writes the state and deletes the checkpoint before the last."""
        self._manager.save()

    def started(self):
        """Whether a checkpoint was ever written, whole or since damaged."""
        names = self._directory / "checkpoint"
        return names.exists() or any(self._directory.glob("*.index"))

    def restore(self):
        """Fills the state from the latest checkpoint that is whole; nothing on disk changes.

        Returns:
            Paths of later ones that are damaged, without their endings; most often none.

        Raises:
            InputError: there is no checkpoint, all are damaged, or one is of another network.
        """
        paths = self._manager.checkpoints[::-1]
        if not paths:
            raise InputError(
                f"`run_dir` must hold a checkpoint to continue from. Received: none named by "
                f"{self._directory / 'checkpoint'}; train in a new directory."
            )
        damage = None
        for place, path in enumerate(paths):
            try:
                self._fill_from(path)
                return paths[:place]
            except _DamagedError as error:
                damage = damage or error
        raise InputError(
            f"The checkpoint must be whole. Received: {paths[0]}.*, which cannot be read "
            f"({damage}); train in a new directory."
        ) from damage

    def _fill_from(self, path):
        try:
            self._checkpoint.restore(path).assert_consumed()
        # TensorFlow's reader lets a few codes through as Python's own errors.
        except (tf.errors.OpError, IndexError, RuntimeError) as error:
            raise _DamagedError(_first_line(error)) from error
        except (AssertionError, ValueError) as error:
            # Another number of variables is an AssertionError, another shape a ValueError.
            raise InputError(
                "The checkpoint must hold the variables of this network and optimizer. "
                f"Received: {path}.*, which holds others; resume with the settings of its run."
            ) from error


def _mend_names(directory):
    """Makes the file that names the checkpoints anew, where it is damaged or names others."""
    written = {
        int(path.stem.removeprefix("ckpt-")): str(path.with_suffix(""))
        for path in directory.glob("ckpt-*.index")
        if path.stem.removeprefix("ckpt-").isdecimal()
    }
    if not written:
        return
    try:
        state = tf.train.get_checkpoint_state(directory)
    except (ValueError, tf.errors.OpError):
        state = None
    named = set() if state is None else set(state.all_model_checkpoint_paths)
    outside = any(pathlib.Path(path).parent != directory for path in named)
    if outside or not named & set(written.values()):
        paths = [path for _, path in sorted(written.items())]
        times = [pathlib.Path(f"{path}.index").stat().st_mtime for path in paths]
        tf.compat.v1.train.update_checkpoint_state(
            directory, paths[-1], paths, all_model_checkpoint_timestamps=times
        )


class _DamagedError(Exception):
    """A checkpoint that cannot be read."""


def _first_line(error):
    return str(error).strip().splitlines()[0].rstrip(".")
