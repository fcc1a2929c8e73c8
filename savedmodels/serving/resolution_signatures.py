"""The signatures of a DRNet."""

import functools

import tensorflow as tf

from tf_adaptive.compression.folding import fold_batch_norm
from tf_adaptive.models.drnet import logits_at, logits_where_chosen


def resolution_signatures(model, networks, preprocessing, class_names):
    """What the SavedModel of a DRNet can be asked.

    Args:
        model: `tf_adaptive.DRNet`.
        networks: `(predictor, branches)` to run in place of the model's own.
        preprocessing: `savedmodels.preprocessing.Preprocessing` to the largest resolution.
        class_names: a name per class.

    Returns:
        Dictionary of name to `(function, input_signature)`.
    """
    predictor, branches = networks
    at = list(zip(branches, model.resolutions, strict=True))
    image = tf.TensorSpec((None, *preprocessing.image_shape), tf.float32)
    images = tf.TensorSpec((None, None, None, preprocessing.image_shape[-1]), tf.uint8, "images")
    encoded = tf.TensorSpec((None,), tf.string, "encoded")

    def probabilities_of_resolutions(images):
        return tf.nn.softmax(logits_at(predictor, images, model.predictor_resolution))

    # One trace that both signatures call.
    @tf.function(input_signature=[image], autograph=False)
    def classify(images):
        choice = _likeliest(probabilities_of_resolutions(images))
        probabilities = tf.nn.softmax(logits_where_chosen(at, images, choice))
        classes = _likeliest(probabilities)
        return {
            "class": classes,
            "label": tf.gather(tf.constant(class_names), classes),
            "probabilities": probabilities,
            "confidence": tf.reduce_max(probabilities, axis=-1),
            "resolution": tf.gather(tf.constant(model.resolutions), choice),
        }

    def predict_resolution(images):
        probabilities = probabilities_of_resolutions(preprocessing.images(images))
        resolutions = tf.constant(model.resolutions)
        return {
            "resolution": tf.gather(resolutions, _likeliest(probabilities)),
            "probabilities": probabilities,
        }

    def classify_at(branch, resolution, images):
        return {"logits": logits_at(branch, preprocessing.images(images), resolution)}

    signatures = {
        "serving_default": (lambda images: classify(preprocessing.images(images)), [images]),
        "serving_bytes": (lambda encoded: classify(preprocessing.encoded(encoded)), [encoded]),
        "predict_resolution": (predict_resolution, [images]),
    }
    for branch, resolution in at:
        signatures[f"classify_{resolution}"] = (
            functools.partial(classify_at, branch, resolution),
            [images],
        )
    return signatures


def _likeliest(probabilities):
    return tf.argmax(probabilities, axis=-1, output_type="int32")


def fold_drnet(model, *, dtype=None):
    """The networks of a DRNet, each with its batch norms folded.

    What the branches shared is each branch's own then: a batch norm changes the kernel it is folded
    into.

    Args:
        model: `tf_adaptive.DRNet`.
        dtype: as for `fold_batch_norm`.

    Returns:
        `(predictor, branches)`: a functional model, and a list of one per resolution.
    """
    predictor, *branches = (
        fold_batch_norm(network, dtype=dtype) for network in (model.predictor, *model.branches)
    )
    return predictor, branches
