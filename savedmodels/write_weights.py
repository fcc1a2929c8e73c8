"""Writes finished runs as files that `tf_adaptive.load_weights` finds by their names.

    python -m savedmodels.write_weights --run_dirs runs/demo,runs/lite --output release \
        --names msdnet_digits,lite_flowers --license_file LICENSE --dtype float16
    TF_ADAPTIVE_WEIGHTS=release python -c \
        'import tf_adaptive as ta; print(ta.load_weights("msdnet_digits").run_dir)'

OUTPUT holds NAME.zip of each, which is a run with a model card and the licence, and `weights.json`,
their sizes and checksums: copy it to any server of files, whose address TF_ADAPTIVE_WEIGHTS then
names. Each network is evaluated as it is in its file; one that is less accurate than its run's
report says is refused, as is a file of more than 10 MB.
"""

# ruff: noqa: E402 - TensorFlow's notices come when it is first imported.
from absl import flags

from tf_adaptive.programs import program, quiet

quiet.import_tensorflow()

from .release import write_release

_RUN_DIRS = flags.DEFINE_list("run_dirs", None, "directories of finished runs", required=True)
_NAMES = flags.DEFINE_list("names", None, "a name for each of them", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "folder to write", required=True)
_LICENSE_FILE = flags.DEFINE_string(
    "license_file", None, "file with the licence of the weights", required=True
)
_DTYPE = flags.DEFINE_string("dtype", "float32", "kernels rounded to: float32 or float16")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "where TFDS keeps data sets")


def main():
    written = write_release(
        _RUN_DIRS.value,
        _NAMES.value,
        _OUTPUT.value,
        license_file=_LICENSE_FILE.value,
        dtype=_DTYPE.value,
        data_dir=_DATA_DIR.value,
    )
    width = max(len(row["name"]) for row in written)
    print(f"\n{'name':<{width}} {'MB':>6} {'accuracy':>9} {'off by':>13} {'early exit':>11} M MACs")
    for row in written:
        print(
            f"{row['name']:<{width}} {row['bytes'] / 1e6:>6.2f} {row['accuracy_percent']:>7.2f} % "
            f"{row['points']:>6.2f} points {row['point'].accuracy_percent:>9.2f} % "
            f"{row['point'].mean_macs / 1e6:>6.2f}"
        )
    print(f"\nFiles: {_OUTPUT.value}")


if __name__ == "__main__":
    program.run(main, needs=("data", "report"))
