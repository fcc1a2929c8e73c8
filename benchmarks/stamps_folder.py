"""Lays labelled colour pictures out as a folder data set: photos cut out, on a white ground.

    python -m benchmarks.stamps_folder --output data/stamps

They come with Debian's package tuxpaint-stamps-default: about 200 pictures of six classes, enough
to show a transfer of trained weights, not to claim an accuracy.
"""

import pathlib

from absl import flags
from PIL import Image

from tf_adaptive.errors import InputError
from tf_adaptive.programs import program

_STAMPS = flags.DEFINE_string(
    "stamps", "/usr/share/tuxpaint/stamps", "folder of the package's pictures"
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "folder to make, with one for each class", required=True
)

_CLASSES = {
    "bird": "animals/birds",
    "flower": "plants/flowers",
    "fruit": "food/fruit",
    "insect": "animals/insects",
    "mammal": "animals/mammals",
    "vegetable": "food/vegetables",
}


def main():
    output = pathlib.Path(_OUTPUT.value)
    if output.exists():
        raise InputError(f"`output` must not be there yet. Received: {output}.")
    pictures = {
        name: sorted(pathlib.Path(_STAMPS.value, folder).rglob("*.png"))
        for name, folder in _CLASSES.items()
    }
    for name, paths in pictures.items():
        if not paths:
            raise InputError(
                "`stamps` must be the folder of Debian's package tuxpaint-stamps-default. "
                f"Received: {_STAMPS.value}, which has none in {_CLASSES[name]}."
            )
    unfinished = output.with_name(f".unfinished.{output.name}")
    for name, paths in pictures.items():
        (unfinished / name).mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(paths):
            _on_white(path).save(unfinished / name / f"{number:03}_{path.stem}.png")
    unfinished.rename(output)
    print(", ".join(f"{len(paths)} {name}" for name, paths in pictures.items()))


def _on_white(path):
    picture = Image.open(path).convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(ground, picture).convert("RGB")


if __name__ == "__main__":
    program.run(main)
