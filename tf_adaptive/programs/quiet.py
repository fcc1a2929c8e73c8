"""Keeps the notices of C++ libraries out of a program's output."""

import contextlib
import os
import sys

from absl import logging


@contextlib.contextmanager
def without_notices():
    """Drops what is written to standard error meanwhile; an error still raises."""
    sys.stderr.flush()
    standard_error = os.dup(2)
    try:
        drop_notices()
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def drop_notices():
    """Drops what is written to standard error from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def import_tensorflow():
    """Imports TensorFlow without the notices that its C++ libraries write to standard error.

    They are written before its log level counts, and again when it first looks for devices. A
    failing import still raises.
    """
    # Of several processes, one that stops makes the others' libraries tell its end at length.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if "TF_CONFIG" in os.environ else "2")
    with without_notices():
        import tensorflow as tf

        tf.config.list_physical_devices()
    # TFDS warns of its own use of its own deprecated names.
    logging.set_verbosity(logging.ERROR)
