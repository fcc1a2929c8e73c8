"""Keeps TensorFlow's start-up notices out of a program's output."""

import os

from absl import logging


def import_tensorflow():
    """Imports TensorFlow without the notices that its C++ libraries write to standard error.

    They are written before its log level counts, and again when it first looks for devices. A
    failing import still raises.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    standard_error = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import tensorflow as tf

        tf.config.list_physical_devices()
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
        os.close(nowhere)
    # TFDS warns of its own use of its own deprecated names.
    logging.set_verbosity(logging.ERROR)
