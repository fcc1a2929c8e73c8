import gzip

import keras
import numpy as np

from tests.training.tiny_training import tiny_model
from tf_adaptive.compression.sparsity import dense_gzip_size, gzip_size, sparsity


def test_rows_count_zeros_of_every_kernel():
    model = tiny_model()
    kernel = model.trainable_variables[0]
    values = np.ones(kernel.shape, "float32")
    values[0, :, 0] = 0
    kernel.assign(values)
    *rows, total = sparsity(model)
    assert [row.kernel.rpartition("/")[2] for row in rows] == ["kernel"] * 4
    assert [row.weights for row in rows] == [36, 144, 12, 12]
    assert [row.zeros for row in rows] == [12, 0, 0, 0]
    assert (total.kernel, total.weights, total.zeros) == ("total", 204, 12)


def test_sizes(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((200,)), keras.layers.Dense(100)])
    path = tmp_path / "model.keras"
    model.save(path)
    dense = gzip_size(path)
    assert dense == len(gzip.compress(path.read_bytes()))
    # Without zeros nothing is replaced.
    assert abs(dense_gzip_size(model) - dense) < 200

    kernel = model.layers[0].kernel
    values = kernel.numpy()
    values[np.random.default_rng(0).random(values.shape) < 0.75] = 0
    kernel.assign(values)
    model.save(path)
    assert gzip_size(path) < 0.5 * dense
    assert abs(dense_gzip_size(model) - dense) < 0.02 * dense
    np.testing.assert_array_equal(kernel.numpy(), values)
