"""Writes a page that runs a converted network with exits in a browser.

    npm install @litertjs/core@2.5.3
    python -m savedmodels.web --tflite_dir tflite/digits --pictures pictures --output site
    python -m http.server --bind 127.0.0.1 --directory site

Pictures that are dropped on it, the camera's, and those of --pictures are classified in the page,
and sent nowhere. It shows the exits one after another, each confidence beside its threshold, and
what was spent; a slider moves the thresholds. A network of a file per stage, which is what
savedmodels.convert_tflite writes without --single_file, is fetched as far as pictures need it. Any
server of files will do; from other machines, browsers give the camera and WebGPU to https only.
"""

from absl import flags

from tf_adaptive.programs import program

from .site.write import write_site

_TFLITE_DIR = flags.DEFINE_string(
    "tflite_dir", None, "folder of savedmodels.convert_tflite", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "folder to write", required=True)
_PICTURES = flags.DEFINE_string("pictures", None, "folder of pictures to bundle as examples")
_LITERT_DIR = flags.DEFINE_string(
    "litert_dir", "node_modules/@litertjs", "where npm installed @litertjs/core"
)


def main():
    sizes = write_site(
        _TFLITE_DIR.value,
        _OUTPUT.value,
        litert_dir=_LITERT_DIR.value,
        pictures=_PICTURES.value,
    )
    for name, kind in (("stages/", "the network"), ("litert/", "LiteRT"), ("", "in all")):
        size = sum(size for file, size in sizes.items() if file.startswith(name))
        print(f"{kind:<12} {size / 1000:>10,.1f} kB")
    print(
        f"Page: {_OUTPUT.value}; to see it: python -m http.server --bind 127.0.0.1 "
        f"--directory {_OUTPUT.value}"
    )


if __name__ == "__main__":
    program.run(main, needs=("tflite",))
