"""Multi-exit graphs of every shape that Keras can draw, from a seed."""

import keras
import numpy as np
from keras import layers

SIDE = 6
CLASSES = 3


@keras.saving.register_keras_serializable(package="tests")
class Halves(layers.Layer):
    """A layer of two outputs: the first and the second half of the channels."""

    def call(self, inputs):
        return keras.ops.split(inputs, 2, axis=-1)


def random_model(seed, *, dtype=None):
    """A model of two to six exits whose features are `(batch, 6, 6, channels)`."""
    rng = np.random.default_rng(seed)
    count = iter(range(1000))

    def name(kind):
        return f"{kind}_{next(count)}"

    def convolution(channels=4):
        return layers.Conv2D(channels, 3, padding="same", dtype=dtype, name=name("convolution"))

    def two_headed():
        images = keras.Input((SIDE, SIDE, 4), name=name("inner"))
        first = layers.BatchNormalization(dtype=dtype, name=name("normalization"))(images)
        second = convolution(8)(layers.Dropout(0.5, dtype=dtype, name=name("dropout"))(first))
        return keras.Model(images, [first, second], name=name("nested"))

    def chain():
        inner = [convolution(), layers.ReLU(dtype=dtype, name=name("relu"))]
        return keras.Sequential([keras.Sequential(inner, name=name("inner")), convolution()])

    inputs = [
        keras.Input((SIDE, SIDE, channels), name=f"images_{channels}")
        for channels in (3, 1)[: rng.integers(1, 3)]
    ]
    features = [convolution()(images) for images in inputs]
    # Layers and models that are called wherever their number comes up.
    shared = [convolution(), chain(), two_headed()]

    def pick():
        return features[rng.integers(len(features))]

    def with_four_channels():
        picked = pick()
        return picked if picked.shape[-1] == 4 else convolution()(picked)

    def grow():
        kind = rng.integers(9)
        if kind == 0:
            return [convolution(rng.integers(1, 4) * 2)(pick())]
        if kind == 1:
            parts = [pick() for _ in range(rng.integers(2, 4))]
            return [layers.Concatenate(dtype=dtype, name=name("concatenation"))(parts)]
        if kind == 2:
            return [keras.ops.concatenate([with_four_channels(), pick()], axis=-1)]
        if kind == 3:
            return [layers.Add(dtype=dtype, name=name("sum"))([with_four_channels() for _ in "ab"])]
        if kind == 4:
            return [shared[0](with_four_channels())]
        if kind == 5:
            return [shared[1](with_four_channels())]
        if kind == 6:
            return shared[2](with_four_channels(), training=False)
        if kind == 7:
            return two_headed()(inputs=with_four_channels())
        return Halves(dtype=dtype, name=name("halves"))(convolution(8)(pick()))

    exits = []
    for number in range(1, rng.integers(2, 7) + 1):
        for _ in range(rng.integers(0, 6)):
            features.extend(grow())
        pooled = layers.GlobalAveragePooling2D(dtype=dtype, name=name("pool"))(pick())
        if exits and rng.random() < 0.3:
            # The answer of the exit before helps this one.
            pooled = layers.Concatenate(dtype=dtype, name=name("collaboration"))(
                [pooled, exits[-1]]
            )
        exits.append(layers.Dense(CLASSES, dtype="float32", name=f"exit_{number}")(pooled))
    return keras.Model(inputs, exits)


def random_images(model, batch, seed=0):
    """What the model takes: an array, or for several inputs their structure."""
    rng = np.random.default_rng(seed)
    return keras.tree.map_structure(
        lambda tensor: rng.standard_normal((batch, *tensor.shape[1:])).astype("float32"),
        model.input,
    )
