import gzip
import hashlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tf_adaptive.data import fashion_mnist, load_dataset

needs_debian_files = pytest.mark.skipif(
    not fashion_mnist.has_debian_files(),
    reason="Debian's package dataset-fashion-mnist is not installed",
)


@needs_debian_files
def test_the_rebuilt_files_are_the_published_ones(tmp_path):
    fashion_mnist.write_published_files(tmp_path)
    published = tfds.builder_cls("fashion_mnist").url_infos
    assert len(published) == 4
    for url, info in published.items():
        content = (tmp_path / url.rsplit("/", 1)[-1]).read_bytes()
        assert len(content) == info.size
        assert hashlib.sha256(content).hexdigest() == info.checksum


@needs_debian_files
def test_fashion_mnist():
    # TFDS's default folder, so that only the first run on a machine prepares the data.
    dataset = load_dataset("fashion_mnist")
    assert dataset.sizes == {
        "train": 50_000,
        "validation": 5_000,
        "calibration": 5_000,
        "test": 10_000,
    }
    assert dataset.image_shape == (28, 28, 1)
    assert dataset.class_names[:2] == ("T-shirt/top", "Trouser")
    np.testing.assert_allclose(dataset.mean, 0.286, atol=1e-3)
    np.testing.assert_allclose(dataset.std, 0.353, atol=1e-3)

    images = _read_idx("t10k-images-idx3-ubyte", header=16).reshape(10_000, 28, 28, 1)
    labels = _read_idx("t10k-labels-idx1-ubyte", header=8)
    expected = sorted((i.tobytes(), int(n)) for i, n in zip(images, labels, strict=True))
    pictures = dataset.pictures("test", range(10_000))
    labels = np.concatenate([labels.numpy() for _, labels in dataset.batches("test", 500)])
    found = sorted((i.tobytes(), int(n)) for i, n in zip(pictures, labels, strict=True))
    assert found == expected


def _read_idx(name, *, header):
    content = gzip.decompress((fashion_mnist.DEBIAN_FOLDER / f"{name}.gz").read_bytes())
    return np.frombuffer(content, np.uint8, offset=header)
