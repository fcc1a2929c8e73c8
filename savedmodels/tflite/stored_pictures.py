"""Pictures read as they are stored, which is as TensorFlow reads them, for networks of before."""

# ruff: noqa: E402 - TensorFlow's notices come when it is first imported.
from tf_adaptive.programs import quiet

quiet.import_tensorflow()

import tensorflow as tf

from tf_adaptive.data.preprocessing import Preprocessing

from ..graph_calls import call_on_files


def stored_reader(description):
    """A function from the bytes of a picture's file to uint8 `(height, width, channels)`.

    Args:
        description: what `read_description` gave of a network whose picture_reading is "as_stored".

    Returns:
        A function that raises InputError for what is no whole picture of a size that is read.
    """
    decode = tf.function(
        Preprocessing.of(description).decoded,
        input_signature=[tf.TensorSpec((None,), tf.string)],
        autograph=False,
    )
    return lambda content: call_on_files(decode, tf.constant([content]))[0].numpy()
