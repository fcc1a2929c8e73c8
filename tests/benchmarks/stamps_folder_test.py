import numpy as np
from PIL import Image

from tests.trainers.programs import refused, run_program

PROGRAM = "benchmarks.stamps_folder"
FOLDERS = (
    *("animals/birds", "animals/insects", "animals/mammals"),
    *("food/fruit", "food/vegetables", "plants/flowers"),
)


def stamps(directory, folders=FOLDERS):
    """A green square on transparent black, in each folder."""
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[1:3, 1:3] = (0, 200, 0, 255)
    for folder in folders:
        (directory / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(directory / folder / "one.png")
    return directory


def test_pictures_are_on_white_in_a_folder_for_each_class(tmp_path):
    output = tmp_path / "data"
    finished = run_program(PROGRAM, "--stamps", stamps(tmp_path / "stamps"), "--output", output)
    assert (finished.status, finished.stderr) == (0, "")
    names = {path.relative_to(output).as_posix() for path in output.rglob("*.png")}
    classes = ("bird", "flower", "fruit", "insect", "mammal", "vegetable")
    assert names == {f"{name}/000_one.png" for name in classes}
    pixels = np.asarray(Image.open(output / "bird" / "000_one.png"))
    assert pixels.shape == (4, 4, 3)
    np.testing.assert_array_equal(pixels[0, 0], [255, 255, 255])
    np.testing.assert_array_equal(pixels[1, 1], [0, 200, 0])


def test_a_folder_without_stamps_is_refused(tmp_path):
    folder = stamps(tmp_path / "stamps", FOLDERS[:2])
    line = refused(tmp_path, PROGRAM, "--stamps", folder, "--output", tmp_path / "data")
    assert "tuxpaint-stamps-default" in line
