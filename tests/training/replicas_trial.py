"""A step of each kind on several parts of the processor, beside the same step on one.

    python -m tests.training.replicas_trial NUMBER KIND …

Prints a line for each: its name, and how far weights and metrics are apart. TensorFlow divides the
processor before it does anything else, so each number of parts is a process of its own.
"""

import sys

import keras
import numpy as np

from tests.tiny_networks import ranet_of_two_scales, tiny_collaborating, tiny_msdnet
from tf_adaptive.exits.gradient_equilibrium import with_gradient_equilibrium
from tf_adaptive.exits.losses import multi_exit_cross_entropy
from tf_adaptive.training import TrainStep, sgd
from tf_adaptive.training.strategy import strategy_named, synchronized_batch_norm


def main(replicas, kinds):
    strategy = strategy_named(f"mirrored:{replicas}")
    for name in kinds or KINDS:
        step_of, input_shape = KINDS[name]
        for size in (13, replicas - 1):
            steps = []
            for scope in (strategy_named("none").scope, strategy.scope):
                with scope():
                    keras.utils.set_random_seed(0)
                    steps.append(step_of())
            weights, apart = _after_a_step(steps, size, input_shape)
            print(f"{name}, {size} images: {weights:.1e} {apart:.1e}", flush=True)


def _after_a_step(steps, size, input_shape):
    """How far weights are apart, relative to the largest change, and metrics."""
    generator = np.random.default_rng(1)
    images = generator.standard_normal((size, *input_shape)).astype("float32")
    labels = generator.integers(0, 3, size).astype("int32")
    # A batch of fewer images than replicas is counted several times by the unbiased variance.
    variables = [
        [v for v in step.model.variables if size > 4 or "moving_variance" not in v.path]
        for step in steps
    ]
    before = [np.array(variable.numpy()) for variable in variables[0]]
    for step in steps:
        with synchronized_batch_norm(step.model):
            step(images, labels)
    alone, together = ([np.array(v.numpy()) for v in of_step] for of_step in variables)
    moved = max(np.abs(new - old).max() for new, old in zip(alone, before, strict=True))
    weights = max(np.abs(a - b).max() for a, b in zip(alone, together, strict=True))
    metrics = [list(step.metrics().values()) for step in steps]
    return weights / moved, np.abs(np.subtract(*metrics)).max()


def _loss(labels, logits):
    return multi_exit_cross_entropy(labels, logits)[0]


def _multi_exit(network):
    model = network()
    return TrainStep(model, sgd(_RATE), _loss, weight_decay=1e-2)


_RATE = keras.optimizers.schedules.PiecewiseConstantDecay([10], [0.1, 0.1])
KINDS = {
    "MSDNet": (lambda: _multi_exit(tiny_msdnet), (16, 16, 3)),
    "with Gradient Equilibrium": (
        lambda: _multi_exit(lambda: with_gradient_equilibrium(tiny_msdnet())),
        (16, 16, 3),
    ),
    "collaborating": (lambda: _multi_exit(tiny_collaborating), (16, 16, 3)),
    "RANet": (lambda: _multi_exit(ranet_of_two_scales), (16, 16, 3)),
}

if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
