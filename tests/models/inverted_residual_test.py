import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_adaptive.graph.macs import parameters_of
from tf_adaptive.models.inverted_residual import inverted_residual_network


def block_parameters(inputs, outputs, expansion):
    """Weights of a block's convolutions, and two parameters of batch norm per channel."""
    inner = inputs * expansion
    expanding = inputs * inner + 2 * inner if expansion > 1 else 0
    return expanding + (9 + 2) * inner + inner * outputs + 2 * outputs


def test_parameters_by_hand():
    model = inverted_residual_network(input_shape=(64, 64, 3), num_classes=3)
    widths = [32, 16, 24, 32, 64, 64, 96, 160]
    expected = 9 * 3 * 32 + 2 * 32 + 160 * 3 + 3
    for index, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        expected += block_parameters(inputs, outputs, 6 if index else 1)
    assert parameters_of(model.layers) == expected == 314_659


def test_one_block_is_added_to_its_input():
    model = inverted_residual_network(input_shape=(None, None, 1), num_classes=2)
    added = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert added == ["group_4_block_2"]


@pytest.mark.parametrize("size", [(64, 64), (33, 20), (1, 1)])
def test_any_input_size_and_every_parameter_gets_a_gradient(size):
    model = inverted_residual_network(input_shape=(None, None, 3), num_classes=4)
    images = np.random.default_rng(0).standard_normal((4, *size, 3)).astype("float32")
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = tf.reduce_sum(tf.sin(logits))
    assert logits.shape == (4, 4)
    assert np.isfinite(logits).all()
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    assert all(gradient is not None for gradient in gradients)
    if size == (64, 64):
        assert all(np.any(gradient) for gradient in gradients)
