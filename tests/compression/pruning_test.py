import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.tiny_drnet import tiny_drnet
from tests.training.tiny_training import (
    CLASSES,
    EPOCHS,
    STEPS_PER_EPOCH,
    cross_entropy,
    tiny_dataset,
    tiny_model,
    train_tiny,
)
from tf_adaptive.compression.sparsity import sparsity
from tf_adaptive.errors import InputError
from tf_adaptive.exits.gradient_equilibrium import with_gradient_equilibrium
from tf_adaptive.routing.losses import flops_regularized_cross_entropy
from tf_adaptive.training import Pruning, RoutedStep, TrainStep, sgd

# tfmot compares versions with the former standard library.
pytestmark = pytest.mark.filterwarnings("ignore:distutils Version classes:DeprecationWarning")

REPOSITORY = pathlib.Path(__file__).parents[2]
STEPS = EPOCHS * STEPS_PER_EPOCH


def expected_zeros(size, share):
    """As the class says, with NumPy."""
    kept = np.round(np.float32(size) * (np.float32(1) - np.float32(share)))
    return size - max(int(kept), 1)


def kernels(model):
    return [variable for variable in model.trainable_variables if variable.name == "kernel"]


def zeros(variables):
    return [int(np.sum(variable.numpy() == 0)) for variable in variables]


def assert_exactly_sparse(variables, share):
    expected = [expected_zeros(int(np.prod(variable.shape)), share) for variable in variables]
    assert zeros(variables) == expected


def test_sparsity_of_every_step_is_the_papers():
    generator = np.random.default_rng(0)
    variable = keras.Variable(generator.normal(size=(3, 3, 4, 30)))
    pruning = Pruning(
        [variable], prune_to=0.75, steps=40, prune_begin=0.1, prune_end=0.8, prune_frequency=5
    )
    step = tf.function(pruning)
    counts = []
    for _ in range(40):
        variable.assign_add(generator.normal(size=variable.shape) * 0.1)
        step()
        counts.append(np.sum(variable.numpy() == 0))
    # From step 4 to 32, where 29 is the last that whole fives lead to.
    shares = {4 + k: 0.75 * (1 - (1 - k / 25) ** 3) for k in range(0, 26, 5)}
    share = 0.0
    for number, count in enumerate(counts, start=1):
        share = shares.get(number, share)
        assert count == expected_zeros(1080, share), number
    assert counts[-1] == 810


def test_smallest_magnitudes_go():
    values = np.random.default_rng(0).normal(size=(8, 25)).astype("float32")
    variable = keras.Variable(values)
    Pruning([variable], prune_to=0.6, steps=1, prune_end=1.0)()
    bound = np.sort(np.abs(values), axis=None)[120]
    np.testing.assert_array_equal(variable.numpy(), np.where(np.abs(values) >= bound, values, 0))


def test_equal_magnitudes_are_pruned_as_exactly():
    signs = np.random.default_rng(0).choice([-1, 1], (7, 100))
    variables = [keras.Variable(0.5 * signs), keras.Variable(np.where(signs > 0, 0.1, 0.2))]
    pruning = Pruning(variables, prune_to=0.7, steps=4, prune_end=1.0, prune_frequency=1)
    for _ in range(4):
        pruning()
    assert_exactly_sparse(variables, 0.7)
    # The larger half and some of the smaller.
    assert np.sum(variables[1].numpy() > 0.15) == min(np.sum(signs < 0), 210)


def test_what_is_0_stays_0_and_only_kernels_are_pruned():
    keras.utils.set_random_seed(0)
    model = tiny_model(width=8)
    # Momentum and decay enough to carry any weight away from 0 within a step.
    pruning = Pruning(
        model.trainable_variables, prune_to=0.75, steps=12, prune_end=0.5, prune_frequency=1
    )
    optimizer = sgd(keras.optimizers.schedules.PiecewiseConstantDecay([100], [0.5, 0.5]))
    step = TrainStep(model, optimizer, cross_entropy, weight_decay=0.5, pruning=pruning)
    before = [np.zeros(kernel.shape, bool) for kernel in kernels(model)]
    for number, (images, labels) in enumerate(tiny_dataset().training_batches(4, epoch=0, seed=0)):
        if number == 12:
            break
        step(images, labels)
        now = [kernel.numpy() == 0 for kernel in kernels(model)]
        assert all(np.all(new[old]) for old, new in zip(before, now, strict=True))
        before = now
    assert len(before) == 4
    assert_exactly_sparse(kernels(model), 0.75)
    others = [v for v in model.trainable_variables if v.name != "kernel"]
    assert len(others) == 8 and not any(zeros(others))


@pytest.mark.parametrize(
    "prepared",
    [
        lambda: tiny_model(dtype="mixed_bfloat16"),
        lambda: with_gradient_equilibrium(tiny_model()),
    ],
    ids=["bfloat16", "gradient equilibrium"],
)
def test_other_trainings(prepared):
    model = prepared()
    pruning = Pruning(model.trainable_variables, prune_to=0.8, steps=6, prune_frequency=2)
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([100], [0.1, 0.1])
    step = TrainStep(model, sgd(schedule), cross_entropy, pruning=pruning)
    for images, labels in tiny_dataset().training_batches(8, epoch=0, seed=0):
        step(images, labels)
    assert len(kernels(model)) == 4
    assert_exactly_sparse(kernels(model), 0.8)
    assert step.is_finite()


def test_drnet_counts_shared_kernels_once():
    model, costs = tiny_drnet()

    def loss(labels, routed):
        return flops_regularized_cross_entropy(
            labels,
            routed["logits"],
            routed["one_hot"],
            branch_gflops=costs.branch_gflops,
            target_gflops=np.mean(costs.branch_gflops),
            flops_weight=0.2,
        )

    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([100], [0.01, 0.01])
    pruning = Pruning(model.trainable_variables, prune_to=0.5, steps=2, prune_frequency=1)
    step = RoutedStep(model, sgd(schedule), sgd(schedule), loss, costs, pruning=pruning)
    generator = np.random.default_rng(0)
    for _ in range(2):
        images = generator.normal(size=(8, 16, 16, 1)).astype("float32")
        step(images, generator.integers(0, CLASSES, 8).astype("int32"))
    own = kernels(model.predictor) + kernels(model.branches[0])
    # The step, and a mask for each kernel.
    assert len(pruning.variables) == 1 + len(own)
    assert_exactly_sparse(own, 0.5)
    assert len(sparsity(model)) == len(own) + 1


class Interruption(Exception):
    pass


def pruned_step(interrupted_at=None):
    class PrunedStep(TrainStep):
        calls = 0

        def __init__(self, model, *arguments, **options):
            pruning = Pruning(
                model.trainable_variables, prune_to=0.75, steps=STEPS, prune_frequency=3
            )
            super().__init__(model, *arguments, pruning=pruning, **options)

        def __call__(self, images, labels):
            self.calls += 1
            if self.calls == interrupted_at:
                raise Interruption
            super().__call__(images, labels)

    return PrunedStep


def test_interrupted_run_continues_bit_for_bit(tmp_path):
    expected = train_tiny(tmp_path / "whole", step_class=pruned_step())
    with pytest.raises(Interruption):
        train_tiny(tmp_path / "run", step_class=pruned_step(interrupted_at=8))
    model = train_tiny(tmp_path / "run", step_class=pruned_step(), resume=True)
    for ours, theirs in zip(model.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert_exactly_sparse(kernels(model), 0.75)


IN_A_NEW_PROCESS = """
import os, subprocess, sys
import tf_adaptive, trainers.train_multi_exit
assert "tensorflow_model_optimization" not in sys.modules
environment = dict(os.environ)
import keras
from tf_adaptive.training import Pruning
Pruning([keras.Variable([[1.0]])], prune_to=0.5, steps=1, prune_end=1.0)
assert "tensorflow_model_optimization" in sys.modules
assert dict(os.environ) == environment
import tensorflow as tf
assert tf.keras.Model is {model}
assert tf.losses.Loss is tf.keras.losses.Loss
child = "import tensorflow as tf; print(tf.keras.Model.__module__)"
print(subprocess.check_output([sys.executable, "-c", child], text=True))
"""


@pytest.mark.parametrize(
    ("users", "model", "childs"),
    [
        (None, "keras.Model", "keras.src.models.model"),
        ("1", "sys.modules['tf_keras'].Model", "tf_keras.src.engine.training"),
    ],
    ids=["keras 3", "the user's own choice of tf_keras"],
)
def test_tf_keras_stays_what_it_is(users, model, childs):
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    finished = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS.replace("{model}", model)],
        env=environment | ({"TF_USE_LEGACY_KERAS": users} if users else {}),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == childs


def test_without_tfmot(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("tensorflow_model_optimization")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorflow_model_optimization", None)
    with pytest.raises(InputError, match=r"pip install 'tf_adaptive\[prune\]'"):
        Pruning([], prune_to=0.5, steps=10)
    assert "TF_USE_LEGACY_KERAS" not in os.environ


def test_pip_line_names_the_version_that_is_required():
    requirements = (REPOSITORY / "requirements.txt").read_text().splitlines()
    assert "tensorflow-model-optimization==0.8.1" in requirements


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            ({"prune_to": value}, f"`prune_to` must be above 0 and below 1.*prune_to={value}")
            for value in (0.0, 1.0, -0.1, 1.5, float("nan"))
        ),
        ({"prune_begin": -0.1}, "`prune_begin` and `prune_end` must be parts.*prune_begin=-0.1"),
        ({"prune_begin": 0.8}, "must be parts of the training in order"),
        ({"prune_end": 1.1}, "must be parts of the training in order"),
        ({"prune_end": float("nan")}, "must be parts of the training in order"),
        ({"prune_begin": 0.74, "steps": 3}, "a step or more after .* prune_end=0.75 of 3 steps"),
        ({"prune_frequency": 0}, "`prune_frequency` must be a whole number from 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        Pruning([], **({"prune_to": 0.5, "steps": 100} | arguments))
