"""Calls functions of graphs that pictures' files are given to."""

import tensorflow as tf

from tf_adaptive.errors import InputError, plain_reason
from tf_adaptive.pictures import PICTURE_KINDS
from tf_adaptive.programs.quiet import without_notices


def call_on_files(function, *arguments, **named):
    """What a function of a graph gives.

    Raises:
        InputError: it refuses what it is given.
    """
    try:
        # Decoders write their own notes of damaged files.
        with without_notices():
            return function(*arguments, **named)
    except tf.errors.InvalidArgumentError as error:
        reason = plain_reason(error.message)
        if "Received" not in reason:
            reason = f"Every image must be a whole {PICTURE_KINDS} file. Received: {reason}"
        raise InputError(f"{reason.rstrip('.')}.") from error
