import hashlib

import numpy as np
import pytest
import tensorflow as tf

from tf_adaptive.errors import InputError
from tf_adaptive.training.checkpoints import Checkpoints


def state(value, shapes=((4, 3), (3,))):
    return {
        "model": [tf.Variable(tf.fill(shape, float(value))) for shape in shapes],
        "position": [tf.Variable(value, dtype=tf.int64)],
    }


def saved(directory, *values):
    """A directory with a checkpoint for each of `values`."""
    variables = state(0)
    checkpoints = Checkpoints(directory, variables)
    for value in values:
        for variable in [*variables["model"], *variables["position"]]:
            variable.assign(tf.cast(tf.fill(variable.shape, value), variable.dtype))
        checkpoints.save()
    return directory


def digests(directory):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()
    }


def test_restores_the_latest(tmp_path):
    saved(tmp_path, 5, 7)
    variables = state(0)
    Checkpoints(tmp_path, variables).restore()
    np.testing.assert_array_equal(variables["model"][0], np.full((4, 3), 7))
    assert int(variables["position"][0]) == 7


def test_keeps_two_also_after_restoring(tmp_path):
    saved(tmp_path, 1, 2, 3)
    assert sorted(path.stem for path in tmp_path.glob("*.index")) == ["ckpt-2", "ckpt-3"]
    checkpoints = Checkpoints(tmp_path, state(0))
    checkpoints.restore()
    checkpoints.save()
    assert sorted(path.stem for path in tmp_path.glob("*.index")) == ["ckpt-3", "ckpt-4"]


def test_a_moved_directory_still_restores(tmp_path):
    moved = saved(tmp_path / "before", 5).rename(tmp_path / "after")
    variables = state(0)
    Checkpoints(moved, variables).restore()
    assert int(variables["position"][0]) == 5


def test_a_save_killed_half_way_leaves_the_one_before(tmp_path):
    saved(tmp_path, 5)
    state_file = (tmp_path / "checkpoint").read_bytes()
    saved(tmp_path, 5, 6)
    # What is there before the directory's `checkpoint` file names the new checkpoint.
    (tmp_path / "checkpoint").write_bytes(state_file)
    (tmp_path / "ckpt-2.index").unlink()
    variables = state(0)
    checkpoints = Checkpoints(tmp_path, variables)
    checkpoints.restore()
    assert int(variables["position"][0]) == 5
    checkpoints.save()
    Checkpoints(tmp_path, variables).restore()


@pytest.mark.parametrize(
    "names",
    [
        b"",
        b'model_checkpoint_path: "ckpt-2',
        b"\xff\xfe",
        b'model_checkpoint_path: "ckpt-9"\nall_model_checkpoint_paths: "ckpt-9"\n',
        b'model_checkpoint_path: "/other/ckpt-2"\nall_model_checkpoint_paths: "/other/ckpt-2"\n',
    ],
)
def test_damaged_names_of_the_checkpoints_are_made_anew(tmp_path, names):
    (saved(tmp_path, 5, 6, 7) / "checkpoint").write_bytes(names)
    variables = state(0)
    checkpoints = Checkpoints(tmp_path, variables)
    assert checkpoints.restore() == []
    assert int(variables["position"][0]) == 7
    checkpoints.save()
    assert sorted(path.stem for path in tmp_path.glob("*.index")) == ["ckpt-3", "ckpt-4"]


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("keep", [0.0, 0.5, None])
def test_the_one_before_a_damaged_one_is_taken(tmp_path, ending, keep):
    path = saved(tmp_path, 5, 6) / f"ckpt-2.{ending}"
    content = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(content[: int(keep * len(content))])
    before = digests(tmp_path)
    variables = state(0)
    checkpoints = Checkpoints(tmp_path, variables)
    assert checkpoints.restore() == [str(tmp_path / "ckpt-2")]
    assert digests(tmp_path) == before
    np.testing.assert_array_equal(variables["model"][0], np.full((4, 3), 5))
    assert int(variables["position"][0]) == 5
    variables["position"][0].assign(8)
    checkpoints.save()
    checkpoints = Checkpoints(tmp_path, variables)
    assert checkpoints.restore() == []
    assert int(variables["position"][0]) == 8
    assert sorted(path.stem for path in tmp_path.glob("*.index")) == ["ckpt-1", "ckpt-2"]


def test_both_damaged(tmp_path):
    for path in saved(tmp_path, 5, 6).glob("*.index"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"must be whole. Received: .*ckpt-2\.\*, which"):
        Checkpoints(tmp_path, state(0)).restore()


def test_missing(tmp_path):
    with pytest.raises(InputError, match="must hold a checkpoint .* none named by .*runs/check"):
        Checkpoints(tmp_path / "runs", state(0)).restore()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("keep", [0.0, 0.5, None])
def test_truncated_or_deleted(tmp_path, ending, keep):
    path = saved(tmp_path, 5) / f"ckpt-1.{ending}"
    content = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(content[: int(keep * len(content))])
    before = digests(tmp_path)
    with pytest.raises(InputError, match=r"must be whole. Received: .*ckpt-1\.\*, which") as error:
        Checkpoints(tmp_path, state(0)).restore()
    assert "\n" not in str(error.value)
    assert digests(tmp_path) == before


def test_flipped_bit(tmp_path):
    path = saved(tmp_path, 5) / "ckpt-1.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[8] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"must be whole. Received: .*ckpt-1\.\*"):
        Checkpoints(tmp_path, state(0)).restore()


@pytest.mark.parametrize(
    "shapes", [((4, 3), (2,)), ((4, 3),), ((4, 3), (3,), (3,))], ids=["shape", "fewer", "more"]
)
def test_foreign(tmp_path, shapes):
    before = digests(saved(tmp_path, 5))
    with pytest.raises(InputError, match=r"of this network and optimizer.*ckpt-1\.\*") as error:
        Checkpoints(tmp_path, state(0, shapes)).restore()
    assert "\n" not in str(error.value)
    assert digests(tmp_path) == before
