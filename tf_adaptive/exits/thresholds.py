"""When a sample leaves: confidence scores, and the thresholds that meet a budget."""

import warnings

import numpy as np

from tf_adaptive.errors import InputError, check_choice

MEASURES = ("max_probability", "entropy", "margin")

# The threshold of an exit that is off. 1.0 is not: a softmax of [100, 0] is exactly that.
NEVER = np.float32(np.inf)


def confidence_scores(logits, measure="max_probability"):
    """How sure an exit is of its answer, from 0 (not at all) to 1.

    Runs eagerly on arrays and inside a `tf.function`, with the same bits, of logits in float32.

    Args:
        logits: `(..., classes)`, any float dtype, two classes or more.
        measure: `"max_probability"`, the largest softmax probability; `"entropy"`,
            `1 - H / log(classes)` with `H` the entropy of the probabilities; or `"margin"`,
            the largest probability minus the second largest.

    Returns:
        A float32 tensor `(...)`.

    Raises:
        InputError: unknown `measure`, or fewer than two classes.

    Example:
        >>> confidence = ta.confidence_scores(np.float32([[0.0, 100.0]]), "margin")
        >>> float(confidence[0])
        1.0
    """
    # What runs on small devices needs the rest of this file, and no TensorFlow.
    from keras import ops

    check_choice("measure", measure, MEASURES)
    logits = ops.convert_to_tensor(logits, dtype="float32")
    shape = tuple(logits.shape)
    if not shape or shape[-1] is None or shape[-1] < 2:
        raise InputError(
            f"`logits` must be (..., classes) with at least 2 classes. Received: shape={shape}."
        )
    # TensorFlow's vectorised exp and log give a number another last bit by its place in the batch.
    # In float64 that falls below the rounding to float32, so a sample keeps its confidence when
    # others leave the batch.
    probabilities = ops.softmax(ops.cast(logits, "float64"), axis=-1)
    if measure == "max_probability":
        return ops.cast(ops.max(probabilities, axis=-1), "float32")
    if measure == "margin":
        largest, _ = ops.top_k(ops.cast(probabilities, "float32"), k=2)
        return largest[..., 0] - largest[..., 1]
    # The floor keeps 0 · log 0 at 0.
    logarithms = ops.log(ops.maximum(probabilities, np.finfo("float32").tiny))
    entropy = -ops.sum(probabilities * logarithms, axis=-1) / np.log(shape[-1])
    return ops.clip(1.0 - ops.cast(entropy, "float32"), 0.0, 1.0)


def exit_fractions(p, num_exits):
    """The share of samples meant to leave at each exit: `q_k ∝ p^k`, k = 1…K.

    A small `p` sends most samples out early, a large one keeps them to the end; Huang et al.
    2018 (MSDNet), section on budgeted batch classification.

    Args:
        p: a positive number.
        num_exits: K.

    Returns:
        A float64 array `(exits,)` that sums to 1.

    Raises:
        InputError: `p` not positive or too large for its powers, no exits.

    Example:
        >>> ta.exit_fractions(1.0, 4)
        array([0.25, 0.25, 0.25, 0.25])
    """
    if num_exits < 1:
        raise InputError(f"`num_exits` must be at least 1. Received: num_exits={num_exits}.")
    with np.errstate(over="ignore", under="ignore"):
        powers = np.power(float(p), np.arange(1, num_exits + 1))
    if not (p > 0 and powers.sum() > 0 and np.isfinite(powers.sum())):
        raise InputError(f"`p` must be a positive, finite number such as 0.5. Received: p={p}.")
    return powers / powers.sum()


def thresholds_for_budget(confidences, fractions):
    """Confidence thresholds that let a given share of the samples leave at each exit.

    Exit by exit, among the samples not yet gone and in order of falling confidence, the
    threshold is the confidence of the floor(N · q_k)-th, N counting all samples, and every
    remaining sample at or above it leaves (Huang et al. 2018). Where that count is 0, or more
    than remain, nobody leaves and the threshold is infinite. Where more samples than asked for
    have a confidence of exactly 1.0, all of them leave, with a warning. Find thresholds on
    validation samples, never on those they are judged on.

    Args:
        confidences: `(exits, samples)`, floats in [0, 1], cheapest exit first.
        fractions: q, `(exits,)`, not negative, summing to 1, as `exit_fractions` gives them.

    Returns:
        Thresholds `(exits - 1,)` in [0, 1] or infinite, of the dtype of `confidences`; the last
        exit takes the rest.

    Raises:
        InputError: wrong shape, NaN, a confidence outside [0, 1], or bad fractions.

    Example:
        >>> confidences = np.array([[0.9, 0.8, 0.7, 0.6], [0.9, 0.9, 0.9, 0.9]])
        >>> ta.thresholds_for_budget(confidences, ta.exit_fractions(1.0, 2))
        array([0.8])
    """
    confidences = _check_confidences(confidences)
    num_exits, num_samples = confidences.shape
    if num_samples == 0:
        raise InputError(
            "`confidences` must hold at least one sample. "
            f"Received: shape={confidences.shape} for (exits, samples)."
        )
    fractions = _as_floats("fractions", fractions)
    if fractions.shape != (num_exits,):
        raise InputError(
            f"`fractions` must hold {num_exits} numbers, one per exit. "
            f"Received: shape={fractions.shape}."
        )
    if not (np.all(fractions >= 0) and abs(fractions.sum() - 1) < 1e-4):
        raise InputError(
            "`fractions` must not be negative and must sum to 1. "
            f"Received: fractions={fractions.tolist()}."
        )

    thresholds = np.full(num_exits - 1, NEVER, confidences.dtype)
    remaining = np.ones(num_samples, bool)
    for k in range(num_exits - 1):
        count = int(np.floor(num_samples * fractions[k]))
        candidates = confidences[k, remaining]
        if 0 < count <= candidates.size:
            thresholds[k] = np.partition(candidates, -count)[-count]
            if thresholds[k] == 1 and np.count_nonzero(candidates == 1) > count:
                warnings.warn(
                    f"exit {k + 1} has a confidence of 1.0 in more images than were to leave "
                    "there; all of them do",
                    stacklevel=2,
                )
            remaining &= confidences[k] < thresholds[k]
    return thresholds


def choose_exits(confidences, thresholds):
    """The exit each sample leaves at: the first whose confidence reaches its threshold.

    Compares in float32, as early-exit execution does.

    Args:
        confidences: `(exits, samples)`, floats in [0, 1]; the last exit's are not looked at.
        thresholds: see `check_thresholds`.

    Returns:
        An int64 array `(samples,)` of exits, counted from 1.

    Raises:
        InputError: wrong shape, NaN, or a value outside [0, 1].

    Example:
        >>> ta.choose_exits([[0.9, 0.4], [0.8, 0.7]], [0.5])
        array([1, 2])
    """
    confidences = _check_confidences(confidences).astype("float32")
    num_exits = len(confidences)
    thresholds = check_thresholds(thresholds, num_exits)
    leaves = confidences >= np.append(thresholds, np.float32(0))[:, np.newaxis]
    return leaves.argmax(axis=0) + 1


def check_thresholds(thresholds, num_exits):
    """Gives `thresholds` back as a float32 array `(num_exits - 1,)`, or refuses them.

    Args:
        thresholds: a sequence of `num_exits - 1` numbers in [0, 1]; None, or `NEVER`, for an exit
            that is off.
        num_exits: K.

    Raises:
        InputError: wrong length, not numbers, NaN, or a value outside [0, 1].
    """
    if isinstance(thresholds, list | tuple):
        thresholds = [NEVER if threshold is None else threshold for threshold in thresholds]
    values = _as_floats("thresholds", thresholds)
    if values.shape != (num_exits - 1,):
        raise InputError(
            f"`thresholds` must hold {num_exits - 1} numbers, one for each of the {num_exits} "
            f"exits but the last. Received: shape={values.shape}."
        )
    # Written so that NaN, which compares false with everything, is refused too.
    if not np.all((values >= 0) & (values <= 1) | (values == NEVER)):
        raise InputError(
            "`thresholds` must be numbers in [0, 1], or None for an exit that is off. "
            f"Received: thresholds={values.tolist()}."
        )
    return values.astype("float32")


def _check_confidences(confidences):
    values = _as_floats("confidences", confidences)
    if values.ndim != 2 or len(values) < 1:
        raise InputError(
            "`confidences` must be (exits, samples) with at least 1 exit. "
            f"Received: shape={values.shape}."
        )
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        exit_index, sample = np.argwhere(bad)[0]
        raise InputError(
            "`confidences` must be numbers in [0, 1]. "
            f"Received: {values[exit_index, sample]} at exit {exit_index + 1}, sample {sample}."
        )
    return values


def _as_floats(argument, values):
    """`values` as a floating-point array; one that already is keeps its dtype."""
    try:
        values = np.asarray(values)
        return values if values.dtype.kind == "f" else values.astype("float64")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"`{argument}` must be numbers in a regular array. Received: {argument}={values!r}."
        ) from error
