"""Inline Subnetwork Collaboration: every exit sees the prediction of the exit before."""

import keras

from tf_adaptive.errors import check_choice
from tf_adaptive.exits.linear_exits import copied_exit, linear_exits
from tf_adaptive.graph.calls import open_nested
from tf_adaptive.layers import BatchNormalization, StopGradient
from tf_adaptive.layers.initializers import linear_initializer

# Where the path into an exit comes from: the paper's, and the two that it is compared with.
PATHS = ("prediction", "features", "identity")


def with_collaboration(model, *, path="prediction"):
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
        path: "prediction" as above; for comparison (Table 3 of the paper) "features", the same of
            the features that the exit before reads, or "identity", that exit's logits themselves.

    Returns:
        A functional `keras.Model` with K exits.

    Raises:
        InputError: what `split_stages` raises of the outputs; an exit that is not linear; another
            `path`.

    Example:
        >>> len(ta.with_collaboration(model).outputs)
        4
    """
    check_choice("path", path, PATHS)
    model = open_nested(model)
    logits, features_before = [], None
    for number, (layer, own_features) in enumerate(linear_exits(model), start=1):
        features = own_features
        if logits:
            features = _beside(
                own_features,
                features_before if path == "features" else logits[-1],
                learnt=path != "identity",
                name=f"exit_{number}_collaboration",
                dtype=layer.dtype_policy.name,
            )
        logits.append(copied_exit(layer, features, f"collaborating_exit_{number}"))
        features_before = own_features
    return keras.Model(model.input, logits, name=model.name)


def _beside(features, source, *, learnt, name, dtype):
    """The features, and beside them what comes of the exit before."""
    before = StopGradient(dtype=dtype, name=f"{name}_input")(source)
    if learnt:
        before = keras.layers.Dense(
            features.shape[-1],
            kernel_initializer=linear_initializer(),
            dtype=dtype,
            name=f"{name}_linear",
        )(before)
        before = BatchNormalization(dtype=dtype, name=f"{name}_normalization")(before)
        before = keras.layers.ReLU(dtype=dtype, name=name)(before)
    return keras.layers.Concatenate(dtype=dtype, name=f"{name}_features")([features, before])
