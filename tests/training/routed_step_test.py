import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.tiny_drnet import tiny_drnet
from tf_adaptive.errors import InputError
from tf_adaptive.routing.losses import flops_regularized_cross_entropy
from tf_adaptive.training.gradient_step import sgd
from tf_adaptive.training.routed_step import RoutedStep
from tf_adaptive.training.schedules import temperature_schedule


def constant(rate):
    return keras.optimizers.schedules.PiecewiseConstantDecay([10**6], [rate, rate])


def batch(size=12, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, size).astype("int32")
    images = labels[:, None, None, None] + generator.normal(size=(size, 16, 16, 1))
    return images.astype("float32"), labels


def loss_of(costs, flops_weight=0.2):
    def loss(labels, routed):
        return flops_regularized_cross_entropy(
            labels,
            routed["logits"],
            routed["one_hot"],
            branch_gflops=costs.branch_gflops,
            target_gflops=costs.branch_gflops[1],
            flops_weight=flops_weight,
        )

    return loss


def tiny_step(model, costs, *, rates=(0.1, 0.01), flops_weight=0.2, **arguments):
    optimizers = [sgd(constant(rate), nesterov=False) for rate in rates]
    return RoutedStep(model, *optimizers, loss_of(costs, flops_weight), costs, **arguments)


@pytest.mark.parametrize("dense", [False, True])
def test_a_step_is_gradient_descent_at_two_rates(dense):
    (model, costs), (twin, _) = tiny_drnet(), tiny_drnet()
    images, labels = batch()
    step = tiny_step(model, costs, weight_decay=0.1, dense=dense)
    step(images, labels)

    variables = twin.trainable_variables

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            # The first batch is dense in both.
            routed = twin.route(images, training=True, dense=True)
            loss = loss_of(costs)(labels, routed)
        return tape.gradient(loss, [variable.value for variable in variables])

    before = [variable.numpy() for variable in variables]
    predictor = {id(variable) for variable in twin.predictor.trainable_variables}
    moved = 0
    for variable, own, old, gradient in zip(
        variables, model.trainable_variables, before, gradients(), strict=True
    ):
        rate = 0.01 if id(variable) in predictor else 0.1
        expected = old - rate * (gradient.numpy() + 0.1 * old)
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-6, err_msg=variable.path)
        moved += not np.array_equal(own, old)
    assert moved > len(variables) / 2


def test_the_predictor_learns_from_one_batch_of_four():
    model, costs = tiny_drnet()
    # Momentum would go on where there is no gradient.
    optimizers = [sgd(constant(0.1), momentum=0.0, nesterov=False) for _ in range(2)]
    step = RoutedStep(model, *optimizers, loss_of(costs), costs)
    predictor = {id(variable) for variable in model.predictor.trainable_variables}
    moved = []
    for number in range(6):
        before = [variable.numpy() for variable in model.trainable_variables]
        step(*batch(seed=number))
        changed = [
            id(variable) in predictor
            for variable, old in zip(model.trainable_variables, before, strict=True)
            if not np.array_equal(variable, old)
        ]
        moved.append((any(changed), not all(changed)))
    assert moved == [(learns, True) for learns in (True, False, False, False, True, False)]


def test_metrics_are_those_of_the_images_trained_on():
    (model, costs), (twin, _) = tiny_drnet(), tiny_drnet()
    step = tiny_step(model, costs, rates=(1e-30, 1e-30))
    batches = [batch(12), batch(5, seed=1)]
    seen = []
    for images, labels in batches:
        step(images, labels)
        # The first batch is dense.
        routed = twin.route(images, training=True, dense=not seen)
        seen.append((routed["choice"].numpy(), np.argmax(routed["logits"], -1) == labels))
    choices, right = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    shares = np.bincount(choices, minlength=3) / 17
    metrics = step.metrics()
    assert list(metrics) == [
        "loss",
        "train_accuracy",
        "train_mean_gflops",
        *(f"train_share_{resolution}" for resolution in (16, 12, 8)),
        "temperature",
    ]
    assert metrics["train_accuracy"] == pytest.approx(right.mean())
    assert [metrics[f"train_share_{r}"] for r in (16, 12, 8)] == pytest.approx(shares)
    mean_macs = shares @ costs.branch_macs + costs.predictor_macs
    assert metrics["train_mean_gflops"] == pytest.approx(mean_macs / 1e9)
    assert metrics["temperature"] == 1.0
    step.reset()
    step(*batch(3))
    assert sum(step.metrics()[f"train_share_{r}"] for r in (16, 12, 8)) == pytest.approx(1)


def test_validation_routes_without_noise_and_changes_nothing():
    model, costs = tiny_drnet()
    step = tiny_step(model, costs)
    before = [variable.numpy() for variable in model.variables]
    batches = [batch(12), batch(5, seed=1)]
    validated = step.validate(batches)
    choices = np.concatenate([model.choose(images) for images, _ in batches])
    right = [np.argmax(model(images), axis=-1) == labels for images, labels in batches]
    shares = np.bincount(choices, minlength=3) / 17
    assert validated["validation_accuracy"] == pytest.approx(np.concatenate(right).mean())
    assert [validated[f"validation_share_{r}"] for r in (16, 12, 8)] == pytest.approx(shares)
    assert validated["validation_mean_gflops"] == pytest.approx(costs.mean_gflops(shares))
    for variable, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)


def test_temperature_follows_its_schedule():
    model, costs = tiny_drnet()
    schedule = temperature_schedule(4.0, 1.0, steps=2)
    step = tiny_step(model, costs, temperature_schedule=schedule)
    seen = []
    for _ in range(3):
        step(*batch())
        seen.append(step.metrics()["temperature"])
    assert seen == pytest.approx([4.0, 2.0, 1.0], rel=1e-6)


def test_a_heavy_flops_loss_brings_the_cost_down_to_its_target():
    model, costs = tiny_drnet()
    step = tiny_step(model, costs, rates=(0.01, 0.1), flops_weight=20.0, dense=True)
    target = costs.branch_gflops[1] + costs.predictor_macs / 1e9
    model.predictor.get_layer("logits").bias.assign([3.0, 0.0, 0.0])
    step(*batch(64))
    first = step.metrics()["train_mean_gflops"]
    for _ in range(60):
        step(*batch(64))
    step.reset()
    for _ in range(10):
        step(*batch(64))
    last = step.metrics()["train_mean_gflops"]
    assert first > 1.2 * target
    assert last < 1.1 * target


def test_a_batch_is_learnt_by_heart():
    model, costs = tiny_drnet()
    step = tiny_step(model, costs, dense=True)
    for _ in range(80):
        step.reset()
        step(*batch(32))
    assert step.metrics()["train_accuracy"] > 0.9
    assert step.is_finite()


def test_refuses():
    model, costs = tiny_drnet()
    optimizer = sgd(constant(0.1))
    with pytest.raises(InputError, match="must be two, .* Received: the same one twice"):
        RoutedStep(model, optimizer, optimizer, loss_of(costs), costs)
    with pytest.raises(InputError, match="`weight_decay` must be finite and at least 0"):
        tiny_step(model, costs, weight_decay=-1.0)
