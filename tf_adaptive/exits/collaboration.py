"""Inline Subnetwork Collaboration: every exit sees the prediction of the exit before."""

import keras

from tf_adaptive.exits.linear_exits import copied_exit, linear_exits
from tf_adaptive.graph.calls import open_nested
from tf_adaptive.layers import BatchNormalization, StopGradient
from tf_adaptive.layers.initializers import linear_initializer


def with_collaboration(model):
    """The same network with collaborating exits (Li et al. 2019, section 3.2).

    Exit i > 1 becomes linear on its own features beside h, what it makes of the prediction of the
    exit before: `h = ReLU(BN(linear(logits of exit i − 1)))`, as wide as the features. No gradient
    flows through h into the exit before, as in the paper. The first exit stays linear on its
    features.

    At first every exit answers what `model`'s does: the weights on its features are copied, those
    on h are 0. All layers below the exits are `model`'s own.

    Args:
        model: functional `keras.Model` with K exits, as `split_stages` takes, each of them a
            `keras.layers.Dense` without activation.

    Returns:
        A functional `keras.Model` with K exits.

    Raises:
        InputError: what `split_stages` raises of the outputs; an exit that is not linear.

    Example:
        >>> len(ta.with_collaboration(model).outputs)
        4
    """
    model = open_nested(model)
    logits = []
    for number, (layer, features) in enumerate(linear_exits(model), start=1):
        if logits:
            features = _beside_prediction(
                features,
                logits[-1],
                name=f"exit_{number}_collaboration",
                dtype=layer.dtype_policy.name,
            )
        logits.append(copied_exit(layer, features, f"collaborating_exit_{number}"))
    return keras.Model(model.input, logits, name=model.name)


def _beside_prediction(features, logits, *, name, dtype):
    prediction = StopGradient(dtype=dtype, name=f"{name}_input")(logits)
    prediction = keras.layers.Dense(
        features.shape[-1],
        kernel_initializer=linear_initializer(),
        dtype=dtype,
        name=f"{name}_linear",
    )(prediction)
    prediction = BatchNormalization(dtype=dtype, name=f"{name}_normalization")(prediction)
    prediction = keras.layers.ReLU(dtype=dtype, name=name)(prediction)
    return keras.layers.Concatenate(dtype=dtype, name=f"{name}_features")([features, prediction])
