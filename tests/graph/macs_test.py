import keras
import pytest
import tensorflow as tf
from keras import layers

from tf_adaptive.errors import InputError
from tf_adaptive.graph.macs import operation_macs
from tf_adaptive.layers import FakeQuantize, FakeQuantizedConvUnit


def macs(function, *shapes, dtype="float32"):
    """Multiply-accumulates of all operations of a function of one image."""
    specs = [tf.TensorSpec((1, *shape), dtype) for shape in shapes]
    if isinstance(function, keras.Layer):
        function.build((1, *shapes[0]))
    concrete = tf.function(lambda *images: function(*images)).get_concrete_function(*specs)
    return sum(operation_macs(o, "the layer") for o in concrete.graph.get_operations())


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        # Height × width × outputs × (kernel × inputs of a group); a bias is free.
        (layers.Conv2D(6, 3, padding="same"), (8, 5, 4), 8 * 5 * 6 * 9 * 4),
        (layers.Conv2D(6, (3, 1), strides=2), (9, 8, 4), 4 * 4 * 6 * 3 * 4),
        (layers.Conv2D(6, 3, padding="same", groups=2), (8, 8, 4), 64 * 6 * 9 * 2),
        (layers.Conv2D(6, 3, padding="same", dilation_rate=2), (8, 8, 4), 64 * 6 * 9 * 4),
        (layers.Conv1D(6, 3, padding="same"), (8, 4), 8 * 6 * 3 * 4),
        (layers.DepthwiseConv2D(3, padding="same"), (8, 8, 4), 64 * 4 * 9),
        (layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2), (9, 9, 4), 16 * 8 * 9),
        (layers.SeparableConv2D(6, 3, padding="same"), (8, 8, 4), 64 * 4 * 9 + 64 * 4 * 6),
        # Every input pixel is spread over the kernel and the outputs.
        (layers.Conv2DTranspose(6, 3, strides=2, padding="same"), (8, 8, 4), 64 * 4 * 9 * 6),
        (layers.Dense(6), (8,), 8 * 6 + 6),
        (layers.Dense(6, use_bias=False), (8,), 8 * 6),
        (layers.Dense(6, use_bias=False), (5, 8), 5 * 8 * 6),
        (layers.EinsumDense("abc,cd->abd", (5, 6)), (5, 8), 5 * 8 * 6),
        (layers.EinsumDense("...c,cd->...d", 6), (5, 7, 8), 5 * 7 * 8 * 6),
        (layers.AveragePooling2D(2), (8, 8, 4), 16 * 4 * 4),
        (layers.MaxPooling2D(3, 2, padding="same"), (7, 7, 4), 16 * 4 * 9),
        (layers.GlobalAveragePooling2D(), (8, 5, 4), 8 * 5 * 4),
        (layers.GlobalAveragePooling2D(keepdims=True), (8, 5, 4), 8 * 5 * 4),
        (layers.GlobalMaxPooling2D(), (8, 5, 4), 8 * 5 * 4),
        (layers.ReLU(), (8, 5, 4), 160),
        (layers.ReLU(6.0), (8, 5, 4), 160),
        (layers.Activation("swish"), (8, 5, 4), 160),
        (layers.Activation("gelu"), (8, 5, 4), 160),
        (layers.Activation("hard_swish"), (8, 5, 4), 160),
        (layers.Softmax(), (10,), 10),
        (layers.BatchNormalization(), (8, 5, 4), 0),
        (layers.LayerNormalization(), (8, 5, 4), 0),
        (layers.GroupNormalization(2), (8, 5, 4), 0),
        (layers.Rescaling(2.0, 1.0), (8, 5, 4), 0),
        (layers.ZeroPadding2D(1), (8, 5, 4), 0),
        (layers.UpSampling2D(2, interpolation="bilinear"), (8, 5, 4), 0),
        (layers.Reshape((40, 4)), (8, 5, 4), 0),
        (layers.Dropout(0.5), (8, 5, 4), 0),
    ],
)
def test_layers_by_hand(layer, shape, expected):
    assert macs(layer, shape) == expected


def test_rounding_a_kernel_costs_nothing():
    layer = FakeQuantizedConvUnit(6, 3, normalized=False, activation="linear")
    assert macs(layer, (8, 5, 4)) == 8 * 5 * 6 * 3 * 3 * 4
    assert macs(FakeQuantize(), (8, 5, 4)) == 0


def test_attention_by_hand():
    # 5 queries, 7 keys, 2 heads of width 4 over 8 channels.
    projections = 5 * 8 * 8 + 2 * 7 * 8 * 8 + 5 * 8 * 8
    scores_and_sums = 2 * (2 * 5 * 7 * 4)
    softmax = 2 * 5 * 7
    layer = layers.MultiHeadAttention(num_heads=2, key_dim=4, flash_attention=False)
    layer.build((1, 5, 8), (1, 7, 8))
    expected = projections + scores_and_sums + softmax
    assert macs(lambda queries, values: layer(queries, values), (5, 8), (7, 8)) == expected


@pytest.mark.parametrize(
    ("transpose_a", "transpose_b", "shapes"),
    [
        (False, False, ((4, 6), (6, 3))),
        (True, False, ((6, 4), (6, 3))),
        (False, True, ((4, 6), (3, 6))),
    ],
)
def test_matrix_products_by_hand(transpose_a, transpose_b, shapes):
    def product(a, b):
        return tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)

    assert macs(product, *shapes) == 4 * 6 * 3
    first, second = shapes
    assert macs(lambda a, b: product(a[0], b[0]), first, second) == 4 * 6 * 3


def test_functions_that_are_called_count():
    @tf.function(autograph=False)
    def inner(images):
        return tf.nn.relu(images)

    assert macs(lambda images: inner(images) + inner(images), (8, 5, 4)) == 2 * 160


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (tf.linalg.inv, "MatrixInverse"),
        (lambda x: tf.nn.conv3d(x[..., None], tf.ones((1, 1, 1, 1, 1)), [1] * 5, "SAME"), "Conv3D"),
        (lambda x: tf.cond(x[0, 0, 0, 0] > 0, lambda: x, lambda: 2 * x), "StatelessIf|If"),
    ],
)
def test_unknown_operations_are_named(function, kind):
    with pytest.raises(InputError, match=f"Received: '({kind})' .* in the layer 'the layer'"):
        macs(function, (2, 4, 4))


def test_unknown_shapes_are_refused():
    with pytest.raises(
        InputError, match="static shapes .* \\(1, None, 4\\) in the layer 'the layer'"
    ):
        macs(tf.nn.relu, (None, 4))


@pytest.mark.parametrize("axes, expected", [((1, 2), 60), ((2, 3), 60), ((3,), 0), ((1, 2, 3), 0)])
def test_pooling_counts_wherever_the_channels_are(axes, expected):
    graph = tf.Graph()
    with graph.as_default():
        mean = tf.reduce_mean(tf.compat.v1.placeholder("float32", (1, 3, 4, 5)), axes)
    assert operation_macs(mean.op, "pool") == expected
