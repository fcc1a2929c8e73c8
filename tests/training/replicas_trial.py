"""A step of each kind on several parts of the processor, beside the same step on one.

    python -m tests.training.replicas_trial NUMBER KIND …

Prints a line for each: its name, and how far weights and metrics are apart. TensorFlow divides the
processor before it does anything else, so each number of parts is a process of its own.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from tests.tiny_networks import ranet_of_two_scales, tiny_collaborating, tiny_msdnet
from tests.training.tiny_drnet import tiny_drnet
from tf_adaptive import with_quantization
from tf_adaptive.exits.attach import attach_exits
from tf_adaptive.exits.boosting import with_boosting
from tf_adaptive.exits.gradient_equilibrium import with_gradient_equilibrium
from tf_adaptive.graph.precision import with_dtype
from tf_adaptive.training.descent import Descent
from tf_adaptive.training.drnet_phases import classifier_step, routing_step
from tf_adaptive.training.multi_exit_phases import phase_1_step, phase_2_networks, phase_2_step
from tf_adaptive.training.strategy import strategy_named, synchronized_batch_norm

_DESCENT = Descent(
    schedule="cosine", learning_rate=0.1, epochs=1, steps_per_epoch=10, weight_decay=1e-2
)


def main(replicas, kinds):
    strategy = strategy_named(f"mirrored:{replicas}")
    for name in kinds or KINDS:
        step_of, size = KINDS[name]
        steps = []
        for scope in (strategy_named("none").scope, strategy.scope):
            with scope():
                keras.utils.set_random_seed(0)
                steps.append(step_of())
        weights, apart = _after_a_step(steps, size)
        print(f"{name}: {weights:.1e} {apart:.1e}", flush=True)


def _after_a_step(steps, size):
    """How far weights are apart, relative to the largest change, and metrics."""
    generator = np.random.default_rng(1)
    images = generator.standard_normal((size, *steps[0].model.input_shape[1:])).astype("float32")
    labels = generator.integers(0, 3, size).astype("int32")
    variables = [step.model.variables for step in steps]
    before = [np.array(variable.numpy()) for variable in variables[0]]
    for step in steps:
        with synchronized_batch_norm(step.model):
            step(images, labels)
    alone, together = ([np.array(v.numpy()) for v in of_step] for of_step in variables)
    moved = max(np.abs(new - old).max() for new, old in zip(alone, before, strict=True))
    weights = max(np.abs(a - b).max() for a, b in zip(alone, together, strict=True))
    metrics = [list(step.metrics().values()) for step in steps]
    return weights / moved, np.abs(np.subtract(*metrics)).max()


def _phase_1(network, **settings):
    return lambda: phase_1_step(network(), _DESCENT, **settings)


def _phase_2():
    _, _, heads, teacher = phase_2_networks(tiny_msdnet(), collaboration_path="prediction")
    return phase_2_step(heads, teacher, _DESCENT, alpha=0.5, temperature=3.0)


def _backbone_with_exits():
    """Of Keras's own layers."""
    images = keras.Input((16, 16, 3))
    maps = images
    for width in (4, 8):
        maps = keras.layers.Conv2D(width, 3, strides=2, use_bias=False)(maps)
        maps = keras.layers.ReLU()(keras.layers.BatchNormalization()(maps))
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    backbone = keras.Model(images, keras.layers.Dense(5)(pooled))
    return attach_exits(backbone, num_exits=2)


def _quantized():
    images = np.random.default_rng(0).normal(size=(24, 16, 16, 3)).astype("float32")
    return with_quantization(tiny_msdnet(), images)


def _drnet_classifier():
    return classifier_step(tiny_drnet()[0], _DESCENT)


def _drnet_routing():
    model, costs = tiny_drnet()
    return routing_step(
        model,
        costs,
        _DESCENT,
        target_gflops=costs.branch_gflops[1],
        flops_weight=0.2,
        temperature=1.0,
        final_temperature=0.5,
        predictor_learning_rate_factor=0.1,
        dense=True,
    )


def _static_shapes():
    step = phase_1_step(tiny_msdnet(), _DESCENT)
    # As XLA wants them.
    step._train = tf.function(step._train_everywhere)
    return step


_UNEVEN, _EVEN = 13, 12
# How to make the step, and images in its batch.
KINDS = {
    "MSDNet": (_phase_1(tiny_msdnet), _UNEVEN),
    "with Gradient Equilibrium": (
        _phase_1(lambda: with_gradient_equilibrium(tiny_msdnet())),
        _UNEVEN,
    ),
    "collaborating": (_phase_1(tiny_collaborating), _UNEVEN),
    "RANet": (_phase_1(ranet_of_two_scales), _UNEVEN),
    "an average teaches": (_phase_1(tiny_msdnet, alpha=0.5, teacher_momentum=0.9), _UNEVEN),
    "boosted": (_phase_1(lambda: with_boosting(tiny_msdnet(), weight=0.5)), _UNEVEN),
    "phase II": (_phase_2, _UNEVEN),
    "backbone with exits": (_phase_1(_backbone_with_exits), _UNEVEN),
    "quantized": (_phase_1(_quantized), _UNEVEN),
    "DRNet's classifier": (_drnet_classifier, _UNEVEN),
    "DRNet's routing": (_drnet_routing, _UNEVEN),
    "static shapes": (_static_shapes, _EVEN),
    "float16": (_phase_1(lambda: with_dtype(tiny_msdnet(), "mixed_float16")), _UNEVEN),
}

if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
