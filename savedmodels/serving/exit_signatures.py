"""The signatures of a network with exits."""

import keras
import tensorflow as tf

from tf_adaptive.exits.thresholds import NEVER
from tf_adaptive.graph.constant_weights import ConstantWeights


def exit_signatures(early_exit, preprocessing, class_names):
    """What the SavedModel of a network with K exits can be asked.

    One with one exit has no signatures that take thresholds.

    Args:
        early_exit: `EarlyExit` of a model with one image input; its thresholds hold unless others
            are given, above 1 for an exit that an image is not to leave at.
        preprocessing: `Preprocessing`.
        class_names: a name per class.

    Returns:
        Dictionary of name to `(function, input_signature)`.
    """
    model = early_exit.model
    logits_of_all = _logits_of_all(early_exit)
    count = len(early_exit.thresholds)
    image = tf.TensorSpec((None, *preprocessing.image_shape), tf.float32)
    images = tf.TensorSpec((None, None, None, preprocessing.image_shape[-1]), tf.uint8, "images")
    encoded = tf.TensorSpec((None,), tf.string, "encoded")
    own = tf.TensorSpec((None, count), tf.float32, "thresholds")
    enabled = tf.TensorSpec((None, None), tf.int32, "enabled_exits")

    # One trace that all signatures call.
    @tf.function(input_signature=[image, own], autograph=False)
    def classify(images, thresholds):
        answer = early_exit.run([images], thresholds)
        return {**answer, "label": tf.gather(tf.constant(class_names), answer["class"])}

    def at_own_thresholds(images):
        return classify(images, early_exit.thresholds_for(images))

    def at_enabled(images, enabled_exits):
        """At the network's own thresholds of the exits `(batch, any number)` that are named."""
        numbers = tf.range(1, count + 1)
        is_on = tf.reduce_any(enabled_exits[:, tf.newaxis] == numbers[:, tf.newaxis], axis=-1)
        thresholds = early_exit.thresholds_for(images)
        return classify(images, tf.where(is_on, thresholds, NEVER))

    def all_exits(images):
        images = preprocessing.images(images)
        logits = unless_empty(images, lambda: logits_of_all(images), model.outputs)
        return {f"exit_{number}": exit for number, exit in enumerate(logits, start=1)}

    signatures = {
        "serving_default": (
            lambda images: at_own_thresholds(preprocessing.images(images)),
            [images],
        ),
        "serving_bytes": (
            lambda encoded: at_own_thresholds(preprocessing.encoded(encoded)),
            [encoded],
        ),
        "all_exits": (all_exits, [images]),
    }
    if count:
        signatures["serving_thresholds"] = (
            lambda images, thresholds: classify(preprocessing.images(images), thresholds),
            [images, own],
        )
        signatures["serving_bytes_thresholds"] = (
            lambda encoded, thresholds: classify(preprocessing.encoded(encoded), thresholds),
            [encoded, own],
        )
        signatures["serving_enabled_exits"] = (
            lambda images, enabled_exits: at_enabled(preprocessing.images(images), enabled_exits),
            [images, enabled],
        )
        signatures["serving_bytes_enabled_exits"] = (
            lambda encoded, enabled_exits: at_enabled(
                preprocessing.encoded(encoded), enabled_exits
            ),
            [encoded, enabled],
        )
    takes = images
    for stage in early_exit.stages:
        signatures[f"stage_{stage.number}"] = (_stage_function(stage, preprocessing), [takes])
        takes = {
            name: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype, name)
            for name, tensor in stage.state.items()
        }
    return signatures


def _logits_of_all(early_exit):
    """A function from images to the list of the logits of all exits, those that are off too."""
    stages = early_exit.stages
    if len(stages) < len(early_exit.model.outputs):
        model = early_exit.model
        run = ConstantWeights(model) if early_exit.constant_weights else model
        return lambda images: keras.tree.flatten(run(images, training=False))

    def run_stages(images):
        # A constant of theirs is in the graph once.
        state, logits = {stages[0].takes[0]: images}, []
        for stage in stages:
            exit, state = stage(state)
            logits.append(exit)
        return logits

    return run_stages


def unless_empty(tensor, run, symbolic):
    """What `run()` gives, or for an empty batch nothing in the same shapes.

    Convolutions of an empty batch give the wrong shape.

    Args:
        tensor: one whose first axis is the batch.
        run: function without arguments that gives a list of tensors.
        symbolic: tensors of their shapes and dtypes, the first axis the batch.
    """

    def skip():
        return [tf.zeros((0, *other.shape[1:]), other.dtype) for other in symbolic]

    return tf.cond(tf.shape(tensor)[0] > 0, lambda: list(run()), skip)


def _stage_function(stage, preprocessing):
    def run(given):
        state = {stage.takes[0]: preprocessing.images(given)} if stage.number == 1 else given

        def run_stage():
            logits, handed_on = stage(state)
            return [logits, *handed_on.values()]

        symbolic = [stage.model.outputs[0], *stage.state.values()]
        values = unless_empty(next(iter(state.values())), run_stage, symbolic)
        return dict(zip(("logits", *stage.state), values, strict=True))

    return run
