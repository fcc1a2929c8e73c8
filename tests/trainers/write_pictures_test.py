import numpy as np
import PIL.Image

from tests.trainers.programs import run_program
from tf_adaptive.runs.dataset import load_run_dataset
from tf_adaptive.runs.directory import read_config


def write_pictures(run_dir, output, *flags):
    return run_program("trainers.write_pictures", "--run_dir", run_dir, "--output", output, *flags)


def test_writes_test_images_named_by_position_and_class(finished_run, tmp_path):
    output = tmp_path / "pictures/of/digits"
    written = write_pictures(finished_run, output, "--count", "4")
    assert (written.status, written.stderr) == (0, "")
    assert written.stdout == f"4 pictures: {output}\n"
    dataset = load_run_dataset(read_config(finished_run))
    ((images, labels),) = dataset.batches("test", dataset.sizes["test"])
    paths = sorted(output.iterdir())
    positions = [int(path.name.split("_")[0]) for path in paths]
    step = dataset.sizes["test"] // 4
    assert positions == [0, step, 2 * step, 3 * step]
    for path, position in zip(paths, positions, strict=True):
        assert path.name == f"{position:05}_{labels[position]}.png"
        pixels = np.array(PIL.Image.open(path))[..., None]
        normalized = (pixels / 255 - dataset.mean) / dataset.std
        np.testing.assert_allclose(normalized, images[position], atol=1e-5)


def test_what_a_user_can_get_wrong(finished_run, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for output, flags, message in (
        (tmp_path / "new", ("--count", "0"), "`count` must be a whole number from 1 to "),
        (tmp_path / "file", (), "`output` must be a folder to write in. Received: "),
    ):
        failed = write_pictures(finished_run, output, *flags)
        assert failed.status == 2
        assert failed.stderr.startswith(f"error: {message}")
        assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()
