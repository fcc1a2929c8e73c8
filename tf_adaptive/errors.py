"""The error for what a user gave, the checks that many files share, and others' errors in words."""

import difflib
import math
import re

import numpy as np

_ASSERTION = "assertion failed: "


class InputError(ValueError):
    """Something the user gave is wrong: a name, a value, a file, a shape.

    Programs print its one line and exit with status 2; every other exception is a defect
    of the package and keeps its traceback.
    """


class DivergenceError(InputError):
    """A training whose loss or weights are no longer finite."""


def check_choice(argument, value, choices):
    """Refuses a `value` that is not one of `choices`, naming the nearest one."""
    choices = [str(choice) for choice in choices]
    if value in choices:
        return
    nearest = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.4)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise InputError(
        f"`{argument}` must be one of {', '.join(choices)}. Received: {argument}={value!r}.{hint}"
    )


def is_whole(value, *, least=1):
    """Whether it is a whole number, of Python's or NumPy's, from `least` on."""
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_integer and value >= least


def check_whole(argument, value, *, least, most=None):
    """Refuses a `value` that is no whole number from `least` on, up to `most` where given."""
    if not is_whole(value, least=least) or (most is not None and value > most):
        limits = f"from {least} on" if most is None else f"from {least} to {most}"
        raise InputError(
            f"`{argument}` must be a whole number {limits}. Received: {argument}={value!r}."
        )


def check_above_0(argument, value):
    """Refuses a number that is not above 0, or not finite."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"`{argument}` must be finite and above 0. Received: {argument}={value}.")


def check_at_least_0(argument, value):
    """Refuses a number that is negative or not finite."""
    if not (math.isfinite(value) and value >= 0):
        raise InputError(
            f"`{argument}` must be finite and at least 0. Received: {argument}={value}."
        )


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
