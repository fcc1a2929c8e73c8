"""A request for every signature, which TF Serving answers before the first user comes."""

import numpy as np
import tensorflow as tf

from tf_adaptive.extras import lazily

from .model_folder import EXTRA_ASSETS

predict_pb2 = lazily("tensorflow_serving.apis.predict_pb2", extra="serving")
prediction_log_pb2 = lazily("tensorflow_serving.apis.prediction_log_pb2", extra="serving")

# TF Serving looks for it by this name.
WARMUP_FILE = f"{EXTRA_ASSETS}/tf_serving_warmup_requests"


def write_warmup_requests(folder, name, signatures, image_shape):
    """Writes the warm-up file of a SavedModel: a request of one image for every signature.

    The state that a stage is given is what the stage before answered. Where thresholds are
    asked for they are 1, so that all stages are run.

    Args:
        folder: `pathlib.Path` of the SavedModel.
        name: that the model is served by.
        signatures: those of the loaded SavedModel, by name.
        image_shape: `(height, width, channels)` of the network's images.
    """
    image = np.random.default_rng(0).integers(0, 256, (1, *image_shape), np.uint8)
    known = {
        "images": tf.constant(image),
        "encoded": tf.io.encode_png(image[0])[None],
    }
    path = folder / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        # Stages in order: each hands on what the next one takes.
        for signature in sorted(signatures, key=_stage_number):
            function = signatures[signature]
            specs = function.structured_input_signature[1]
            inputs = {
                argument: _values_of_one(argument, spec, known) for argument, spec in specs.items()
            }
            writer.write(_request(name, signature, inputs).SerializeToString())
            if signature.startswith("stage_"):
                known.update(function(**inputs))


def _values_of_one(argument, spec, known):
    """What an argument is given for one image."""
    if argument == "thresholds":
        return tf.ones((1, *spec.shape[1:]))
    if argument == "enabled_exits":
        return tf.zeros((1, 1), spec.dtype)
    return known[argument]


def _request(name, signature, inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for argument, value in inputs.items():
        request.inputs[argument].CopyFrom(tf.make_tensor_proto(value))
    log = prediction_log_pb2.PredictLog(request=request)
    return prediction_log_pb2.PredictionLog(predict_log=log)


def _stage_number(signature):
    kind, _, number = signature.rpartition("_")
    return int(number) if kind == "stage" else 0
