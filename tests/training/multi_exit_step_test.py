import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.bounds import ROUNDING, apart
from tests.training.tiny_training import cross_entropy, tiny_dataset, tiny_model, tiny_step
from tf_adaptive.errors import InputError
from tf_adaptive.training.gradient_step import sgd
from tf_adaptive.training.multi_exit_step import TrainStep


def constant(rate):
    """A schedule is what programs give; a constant one makes the arithmetic plain."""
    return keras.optimizers.schedules.PiecewiseConstantDecay([10**6], [rate, rate])


def linear_model():
    """Two linear exits, whose gradients have a formula."""
    images = keras.Input((1, 1, 5))
    features = keras.layers.Flatten()(images)
    return keras.Model(images, [keras.layers.Dense(3)(features) for _ in range(2)])


def batch(size=6):
    generator = np.random.default_rng(1)
    images = generator.normal(size=(size, 1, 1, 5)).astype("float32")
    return images, generator.integers(0, 3, size).astype("int32")


def gradients(weights, images, labels):
    """Of the summed mean cross-entropies, for kernels and biases in turn, in float64."""
    features = images.reshape(len(images), -1).astype("float64")
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        exponentials = np.exp(features @ kernel + bias)
        errors = exponentials / exponentials.sum(axis=1, keepdims=True)
        errors[np.arange(len(labels)), labels] -= 1
        errors /= len(labels)
        yield features.T @ errors
        yield errors.sum(axis=0)


@pytest.mark.parametrize("nesterov", [False, True])
def test_three_steps_match_pytorch_style_sgd(nesterov):
    keras.utils.set_random_seed(0)
    model = linear_model()
    weights = [variable.numpy().astype("float64") for variable in model.trainable_variables]
    step = TrainStep(
        model, sgd(constant(0.2), momentum=0.9, nesterov=nesterov), cross_entropy, weight_decay=0.1
    )
    momenta = [np.zeros_like(weight) for weight in weights]
    for size in (6, 6, 4):
        images, labels = batch(size)
        step(images, labels)
        # torch.optim.SGD's documented algorithm.
        for index, gradient in enumerate(list(gradients(weights, images, labels))):
            gradient = gradient + 0.1 * weights[index]
            momenta[index] = 0.9 * momenta[index] + gradient
            direction = gradient + 0.9 * momenta[index] if nesterov else momenta[index]
            weights[index] = weights[index] - 0.2 * direction
    for variable, weight in zip(model.trainable_variables, weights, strict=True):
        np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-5, atol=1e-6)


def test_weight_decay_reaches_every_trainable_weight():
    model = tiny_model()
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable.value))
    step = TrainStep(
        model,
        sgd(constant(0.5), momentum=0.0, nesterov=False),
        lambda labels, logits: 0.0 * tf.add_n([tf.reduce_sum(exit) for exit in logits]),
        weight_decay=0.1,
    )
    step(np.ones((2, 8, 8, 1), "float32"), np.array([0, 1], "int32"))
    for variable in model.trainable_variables:
        np.testing.assert_allclose(variable.numpy(), 0.95, rtol=1e-6)


def test_means_are_over_images_not_batches():
    model = linear_model()
    optimizer = sgd(constant(1e-30), momentum=0.0)
    step = TrainStep(model, optimizer, cross_entropy)
    images, labels = batch(10)
    for first, last in ((0, 7), (7, 10)):
        step(images[first:last], labels[first:last])
    metrics = step.metrics()
    assert list(metrics) == ["loss", "train_accuracy_exit_1", "train_accuracy_exit_2"]
    logits = model(images)
    assert metrics["loss"] == pytest.approx(float(cross_entropy(labels, logits)), rel=1e-6)
    expected = [np.mean(np.argmax(exit, axis=1) == labels) for exit in logits]
    assert list(metrics.values())[1:] == pytest.approx(expected)
    validated = step.validate([(images[:7], labels[:7]), (images[7:], labels[7:])])
    assert list(validated) == ["validation_accuracy_exit_1", "validation_accuracy_exit_2"]
    assert list(validated.values()) == pytest.approx(expected)

    step.reset()
    step(images[:2], labels[:2])
    expected = float(cross_entropy(labels[:2], model(images[:2])))
    assert step.metrics()["loss"] == pytest.approx(expected, rel=1e-6)


def test_outputs_may_have_names():
    step = TrainStep(
        linear_model(), sgd(constant(0.1)), cross_entropy, output_names=["near", "far"]
    )
    step(*batch())
    assert list(step.metrics()) == ["loss", "train_accuracy_near", "train_accuracy_far"]
    assert list(step.validate([batch()])) == ["validation_accuracy_near", "validation_accuracy_far"]


def test_updates_are_told():
    model = linear_model()
    parts = {"both": model.trainable_variables[::2], "last": model.trainable_variables[2:3]}
    step = TrainStep(model, sgd(constant(0.2)), cross_entropy, updates_of=parts)
    expected = {name: [] for name in parts}
    sizes = (6, 2)
    for size in sizes:
        before = {name: [v.numpy() for v in part] for name, part in parts.items()}
        step(*batch(size))
        for name, part in parts.items():
            change = [v.numpy() - w for v, w in zip(part, before[name], strict=True)]
            norms = [np.linalg.norm(np.concatenate(each)) for each in (change, before[name])]
            expected[name].append(norms[0] / norms[1])
    metrics = step.metrics()
    assert list(metrics)[-2:] == ["train_update_both", "train_update_last"]
    for name, updates in expected.items():
        mean = np.average(updates, weights=sizes)
        assert metrics[f"train_update_{name}"] == pytest.approx(mean, rel=1e-4)


def test_learning_rate_is_the_latest_steps():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1], [0.3, 0.2, 0.1])
    step = TrainStep(linear_model(), sgd(schedule), cross_entropy)
    seen = []
    for _ in range(3):
        step(*batch())
        seen.append(step.learning_rate)
    assert seen == pytest.approx([0.3, 0.2, 0.1])


def first_batch():
    return next(iter(tiny_dataset().batches("train", 32)))


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_batch_is_learnt_by_heart(dtype):
    keras.utils.set_random_seed(0)
    model = tiny_model(width=8, dtype=dtype)
    step = TrainStep(model, sgd(constant(0.1)), cross_entropy)
    images, labels = first_batch()
    step(images, labels)
    loss_before = step.metrics()["loss"]
    for _ in range(60):
        step.reset()
        step(images, labels)
    metrics = step.metrics()
    assert metrics["loss"] < loss_before / 4
    assert min(metrics["train_accuracy_exit_1"], metrics["train_accuracy_exit_2"]) > 0.9
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    state = [v.dtype for v in step.variables["optimizer"] if v.dtype.is_floating]
    assert set(state) == {tf.float32}


def test_a_step_whose_gradients_overflow_is_left_out():
    keras.utils.set_random_seed(0)
    model = tiny_model(dtype="mixed_float16")
    # Scaled by 2^15 at first, a loss so steep is beyond float16's 65,504.
    step = TrainStep(model, sgd(constant(1e-4)), lambda *given: 1e4 * cross_entropy(*given))
    trained = [variable.numpy() for variable in model.trainable_variables]
    step(*first_batch())
    for before, variable in zip(trained, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), before)
    assert step.is_finite()
    for _ in range(20):
        step(*first_batch())
    # The scale has fallen until they fit.
    changed = [
        np.any(variable.numpy() != before)
        for before, variable in zip(trained, model.trainable_variables, strict=True)
    ]
    assert any(changed)


def test_xla_steps_alike():
    weights = []
    for compiled in (False, True):
        keras.utils.set_random_seed(0)
        # XLA draws what is dropped out otherwise.
        model = tiny_model(dropout=0.0)
        step = tiny_step(model)
        if compiled:
            step.compile_with_xla()
        for images, labels in tiny_dataset().batches("train", 24):
            step(images, labels)
        weights.append([variable.numpy() for variable in model.variables])
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_is_finite_sees_weights_and_loss():
    model = tiny_model()
    step = tiny_step(model)
    images, labels = first_batch()
    step(images, labels)
    assert step.is_finite()
    model.trainable_variables[0].assign(tf.fill(model.trainable_variables[0].shape, np.inf))
    assert not step.is_finite()


def test_one_exit_learns_as_in_a_list():
    keras.utils.set_random_seed(0)
    images, labels = batch()
    features = keras.layers.Flatten()(keras.Input((1, 1, 5)))
    layer = keras.layers.Dense(3)
    layer(features)
    before = layer.get_weights()
    learned = []
    for in_a_list in (False, True):
        layer.set_weights(before)
        inputs = keras.Input((1, 1, 5))
        logits = layer(keras.layers.Flatten()(inputs))
        model = keras.Model(inputs, [logits] if in_a_list else logits)
        step = TrainStep(model, sgd(constant(0.2)), cross_entropy)
        step(images, labels)
        assert step.metrics().keys() == {"loss", "train_accuracy_exit_1"}
        right = np.argmax(model(images), axis=-1) == labels
        assert step.validate([(images, labels)]) == {"validation_accuracy_exit_1": right.mean()}
        learned.append(layer.get_weights())
    gradient, _ = gradients(before, images, labels)
    # Nesterov's first step is one of 1 + momentum.
    assert apart(learned[0][0], before[0] - 0.2 * 1.9 * gradient) < ROUNDING
    for ours, theirs in zip(*learned, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_bad_arguments():
    images = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    two_inputs = keras.Model(images, keras.layers.Flatten()(images[0] + images[1]))
    with pytest.raises(InputError, match="one input, the images. Received: 2 inputs"):
        TrainStep(two_inputs, sgd(constant(0.1)), cross_entropy)
    for weight_decay in (-1e-4, np.nan):
        with pytest.raises(InputError, match="`weight_decay` must be finite and at least 0"):
            TrainStep(tiny_model(), sgd(constant(0.1)), cross_entropy, weight_decay=weight_decay)
    for momentum in (-0.1, 1.0, np.nan):
        with pytest.raises(InputError, match="`momentum` must be at least 0 and below 1"):
            sgd(constant(0.1), momentum=momentum)
