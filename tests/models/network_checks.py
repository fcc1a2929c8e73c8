"""What holds for every network that is built here."""

import keras
import numpy as np
import tensorflow as tf

from tf_adaptive import (
    EarlyExit,
    choose_exits,
    confidence_scores,
    fold_batch_norm,
    split_stages,
)


def assert_the_same_when_loaded_again(model, tmp_path):
    """Saves a model with batch statistics of its own, and loads it."""
    images = random_images(model)
    model(images, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again) is type(model)
    assert again.get_config() == model.get_config()
    for ours, loaded in zip(outputs(model, images), outputs(again, images), strict=True):
        np.testing.assert_array_equal(ours, loaded)


def assert_bfloat16_inside_float32_out(model):
    """Of a model built with the policy "mixed_bfloat16"."""
    assert {logits.dtype for logits in outputs(model, random_images(model))} == {tf.float32}
    last = ("exit_", "logits", "images")
    features = [layer for layer in model.layers if not layer.name.startswith(last)]
    assert {layer.compute_dtype for layer in features} == {"bfloat16"}
    assert {weight.dtype for weight in model.weights} == {"float32"}


def assert_every_parameter_gets_a_gradient(model):
    images = random_images(model)
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(tf.sin(logits)) for logits in outputs(model, images, True))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    without = [
        weight.path
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if gradient is None or not np.any(gradient)
    ]
    # A bias before a batch normalisation cannot change anything.
    assert [path for path in without if not path.endswith("convolution/bias")] == []


def random_images(model, batch=4):
    shape = [side or 24 for side in model.inputs[0].shape[1:]]
    return np.random.default_rng(0).standard_normal((batch, *shape)).astype("float32")


def outputs(model, images, training=False):
    answer = model(images, training=training)
    return answer if isinstance(answer, list) else [answer]


def assert_stages_and_early_exit_are_the_model(model):
    """Stage after stage gives the model's logits, and early exit what they say it should."""
    images = random_images(model, batch=16)
    logits = [np.asarray(exit_logits) for exit_logits in outputs(model, images)]
    state = images
    for stage, expected in zip(split_stages(model), logits, strict=True):
        actual, state = stage(state)
        np.testing.assert_array_equal(actual, expected)
    assert state == {}
    confidences = np.stack([confidence_scores(exit_logits) for exit_logits in logits])
    # Half-way between confidences, as early exit's graph may round another last bit.
    thresholds = np.sort(confidences[:-1], axis=1)[:, 9:11].mean(axis=1)
    exits = choose_exits(confidences, thresholds)
    assert len(set(exits)) > 1
    answers = EarlyExit(model, thresholds)(images)
    np.testing.assert_array_equal(answers["exit"], exits)
    chosen = np.stack(logits)[exits - 1, np.arange(16)]
    np.testing.assert_allclose(answers["probabilities"], tf.nn.softmax(chosen), rtol=1e-4)


def assert_the_same_when_folded(model, *, left):
    """Folding batch norms leaves the logits, and the batch norms whose names `left` matches."""
    images = random_images(model)
    with_statistics(model)
    folded = fold_batch_norm(model)
    for actual, expected in zip(outputs(folded, images), outputs(model, images), strict=True):
        tolerance = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)
    names = [
        layer.name
        for layer in folded._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert sorted(names) == sorted(left)


def with_statistics(model):
    """The model with moving statistics and scales such as training leaves."""
    rng = np.random.default_rng(1)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.moving_mean.shape
            layer.moving_mean.assign(0.3 * rng.standard_normal(shape))
            layer.moving_variance.assign(rng.uniform(0.5, 2.0, shape))
            if layer.scale:
                layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
            if layer.center:
                layer.beta.assign(0.3 * rng.standard_normal(shape))
    return model
