"""Fashion-MNIST from Debian's package `dataset-fashion-mnist`, without a download."""

import struct
from pathlib import Path

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

# File name: modification time in the header of the published file, seconds since 1970.
_FILES = {
    "train-images-idx3-ubyte": 1504176606,
    "train-labels-idx1-ubyte": 1504176606,
    "t10k-images-idx3-ubyte": 1504176627,
    "t10k-labels-idx1-ubyte": 1504176627,
}
_HEADER_BYTES = 10
_HAS_NAME = 8
_MADE_ON_UNIX = 3


def has_debian_files():
    return all((DEBIAN_FOLDER / f"{name}.gz").is_file() for name in _FILES)


def write_published_files(folder):
    """Writes the four published files, which TFDS knows by their checksums, into `folder`.

    Debian's files hold the same compressed bytes behind another gzip header (RFC 1952,
    section 2.3): theirs names neither the file nor its time.
    """
    for name, modified in _FILES.items():
        compressed = (DEBIAN_FOLDER / f"{name}.gz").read_bytes()[_HEADER_BYTES:]
        header = struct.pack("<2sBBIBB", b"\x1f\x8b", 8, _HAS_NAME, modified, 0, _MADE_ON_UNIX)
        (Path(folder) / f"{name}.gz").write_bytes(header + name.encode() + b"\0" + compressed)
