"""The signatures of a DRNet."""

import functools

import tensorflow as tf

from tf_adaptive.routing.dispatch import likeliest, logits_at


def resolution_signatures(routing, preprocessing, class_names):
    """What the SavedModel of a DRNet can be asked.

    Args:
        routing: `Routing`.
        preprocessing: `Preprocessing` to the largest resolution.
        class_names: a name per class.

    Returns:
        Dictionary of name to `(function, input_signature)`.
    """
    image = tf.TensorSpec((None, *preprocessing.image_shape), tf.float32)
    images = tf.TensorSpec((None, None, None, preprocessing.image_shape[-1]), tf.uint8, "images")
    encoded = tf.TensorSpec((None,), tf.string, "encoded")

    # One trace that both signatures call.
    @tf.function(input_signature=[image], autograph=False)
    def classify(images):
        answer = routing.run([images])
        return {**answer, "label": tf.gather(tf.constant(class_names), answer["class"])}

    def predict_resolution(images):
        probabilities = routing.preferences(preprocessing.images(images))
        resolutions = tf.constant(routing.resolutions)
        return {
            "resolution": tf.gather(resolutions, likeliest(probabilities)),
            "probabilities": probabilities,
        }

    def classify_at(branch, resolution, images):
        return {"logits": logits_at(branch, preprocessing.images(images), resolution)}

    signatures = {
        "serving_default": (lambda images: classify(preprocessing.images(images)), [images]),
        "serving_bytes": (lambda encoded: classify(preprocessing.encoded(encoded)), [encoded]),
        "predict_resolution": (predict_resolution, [images]),
    }
    for branch, resolution in zip(routing.branches, routing.resolutions, strict=True):
        signatures[f"classify_{resolution}"] = (
            functools.partial(classify_at, branch, resolution),
            [images],
        )
    return signatures
