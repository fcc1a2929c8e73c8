"""TensorFlow's errors as people can read them."""

import re

_ASSERTION = "assertion failed: "


def plain_reason(message):
    """What a graph says went wrong, in one line and without the places in the graph.

    Args:
        message: that of a `tf.errors.OpError`, here or from a server.
    """
    # The place follows the reason; functions that were not loaded put Python's stack before it.
    reason = message.partition("[[")[0].rpartition("\n\n")[-1]
    reason = re.sub(r"\{\{.*?\}\}", "", reason)
    if _ASSERTION in reason:
        # Each value of `tf.debugging.Assert` stands in brackets.
        reason = re.sub(r"[\[\]]", "", reason.replace(_ASSERTION, ""))
    return " ".join(reason.split())
