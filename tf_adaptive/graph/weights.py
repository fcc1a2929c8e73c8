"""Weights of two networks of the same layers."""


def weights_in_pairs(model, other):
    """Each weight of `model` with that of `other` that has its path.

    Their order may differ: a model that is built from its configuration, or whose exits were
    rebuilt, may have its layers in another one.

    Returns:
        List of `(weight, other's weight)`.
    """
    others = {weight.path: weight for weight in other.weights}
    return [(weight, others[weight.path]) for weight in model.weights]
