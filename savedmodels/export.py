"""Writes a finished run as what TF Serving or NVIDIA Triton reads.

    python -m savedmodels.export --run_dir runs/digits --output served --accuracy_drop 0.5

OUTPUT/NAME/VERSION/ is the model, with its model card, its labels and warm-up requests.
OUTPUT/models.config and OUTPUT/batching_parameters.txt are for the server. With --server triton
OUTPUT is a model repository: OUTPUT/NAME runs the stages, OUTPUT/NAME_VERSION_stage_1 and on, and
stops where it is sure enough. docs/serving.md says how they are served.
"""

import pathlib

from absl import flags

from tf_adaptive.programs import program

from . import flags as operating_point_flags
from .serving.saved_model import export_run

_RUN_DIR = flags.DEFINE_string("run_dir", None, "directory of a finished run", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder of the served models", required=True)
_NAME = flags.DEFINE_string("name", None, "name to serve it by; that of the run's folder if unset")
_VERSION = flags.DEFINE_integer("version", None, "version; the next free one if unset")
_DTYPE = flags.DEFINE_string("dtype", "float32", "weights and arithmetic: float32 or bfloat16")
_SERVER = flags.DEFINE_string("server", "tf_serving", "that it is for: tf_serving or triton")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets")


def main():
    name, version = export_run(
        _RUN_DIR.value,
        _OUTPUT.value,
        name=_NAME.value,
        version=_VERSION.value,
        **operating_point_flags.chosen(),
        dtype=_DTYPE.value,
        server=_SERVER.value,
        data_dir=_DATA_DIR.value,
    )
    print(f"Model {name!r}, version {version}: {pathlib.Path(_OUTPUT.value) / name / str(version)}")


if __name__ == "__main__":
    program.run(main, needs=("data", "serving"))
