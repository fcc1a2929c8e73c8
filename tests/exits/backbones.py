"""Small classifiers of one output, as people have them."""

import keras
from keras import layers


def residual_classifier(*, classes=3, activation=None, side=16):
    """A stem, two residual blocks of 8 channels, one of 16 with an inner width of 48, a head."""
    images = keras.Input((side, side, 3), name="images")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(images)
    x = layers.BatchNormalization(name="stem_norm")(x)
    x = layers.ReLU(name="stem_relu")(x)
    for block in (1, 2):
        inner = layers.Conv2D(8, 3, padding="same", activation="relu", name=f"block_{block}_a")(x)
        inner = layers.Conv2D(8, 3, padding="same", name=f"block_{block}_b")(inner)
        x = layers.Add(name=f"block_{block}")([x, inner])
    x = layers.Conv2D(48, 1, activation="relu", name="wide_expand")(x)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", name="wide_depthwise")(x)
    x = layers.Conv2D(16, 1, name="wide_project")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="last")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(
        images, layers.Dense(classes, activation=activation, name="answer")(x), name="residual"
    )


def cells_reading_two_back(*, cells=4):
    """As in NASNet, each cell adds what the two cells before it gave."""
    images = keras.Input((8, 8, 3))
    before = layers.Conv2D(4, 3, padding="same", name="stem")(images)
    x = layers.Conv2D(4, 3, padding="same", name="cell_0")(before)
    for cell in range(1, cells + 1):
        left = layers.Conv2D(4, 3, padding="same", name=f"left_{cell}")(before)
        right = layers.Conv2D(4, 3, padding="same", name=f"right_{cell}")(x)
        before, x = x, layers.Add(name=f"cell_{cell}")([left, right])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(3, name="answer")(x), name="cells")


def dense_block_classifier():
    """Three layers of growth 4 on 8 channels, then a transition."""
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="stem")(images)
    for number in (1, 2, 3):
        new = layers.Conv2D(16, 1, activation="relu", name=f"bottleneck_{number}")(x)
        new = layers.Conv2D(4, 3, padding="same", name=f"new_{number}")(new)
        x = layers.Concatenate(name=f"concat_{number}")([x, new])
    x = layers.Conv2D(8, 1, name="transition")(x)
    x = layers.AveragePooling2D(2, name="transition_pool")(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="last")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(3, name="answer")(x), name="dense_block")


def token_classifier(*, classes=3):
    """A transformer of three blocks over 16 patches and a class token that its answer reads."""
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 2, strides=2, name="patches")(images)
    x = layers.Reshape((16, 8))(x)
    x = keras.ops.pad(x, ((0, 0), (1, 0), (0, 0)))
    for block in (1, 2, 3):
        attended = layers.LayerNormalization(name=f"norm_{block}")(x)
        attended = layers.MultiHeadAttention(2, 4, name=f"attention_{block}")(attended, attended)
        x = layers.Add(name=f"attended_{block}")([x, attended])
        inner = layers.Dense(16, activation="gelu", name=f"inner_{block}")(x)
        inner = layers.Dense(8, name=f"outer_{block}")(inner)
        x = layers.Add(name=f"block_{block}")([x, inner])
    x = layers.LayerNormalization(name="last_norm")(x)
    return keras.Model(images, layers.Dense(classes, name="answer")(x[:, 0]), name="tokens")
