"""What choosing each image's resolution gains, from the logits at every resolution.

Following Zhu et al. 2021 (DRNet): a router picks one of a few resolutions for each image. It is
worth its cost if it beats a random choice, and the fixed resolutions, at the same mean MACs.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.reports.logits import (
    check_labels,
    check_logits,
    logits_collector,
    percent,
    within_top,
)
from tf_adaptive.routing.dispatch import logits_at

RANDOM_SEEDS = (0, 1, 2)


@dataclasses.dataclass(frozen=True)
class ResolutionRow:
    """One resolution for every sample.

    Attributes:
        resolution: height and width in pixels.
        macs: multiply-accumulates of the classifier; there is no router to pay for.
        accuracy_percent: top-1.
        share: the fraction of samples that the router sends here.
        top_5_percent: accuracy where five answers are allowed; None of five classes or fewer.
        smallest_right_share: the fraction of samples that this is the smallest resolution to be
            right for (figure 1).
    """

    resolution: int
    macs: int
    accuracy_percent: float
    share: float
    top_5_percent: float | None = None
    smallest_right_share: float | None = None


@dataclasses.dataclass(frozen=True)
class ChoiceRow:
    """A resolution for each sample, chosen by the router or at random.

    Attributes:
        choice: "router"; "random", which costs what the router does; or "uniform", random with
            every resolution as often.
        mean_macs: multiply-accumulates per sample, the router's predictor included, rounded.
        accuracy_percent: top-1; of a random choice the mean over its seeds.
        deviation_points: sample standard deviation of the accuracy over the seeds of a random
            choice, in percentage points; 0 for the router.
        line_percent: the accuracy at `mean_macs` on the straight lines that join the fixed
            resolutions; beyond the costliest one, its accuracy.
        shares: `(resolutions,)`, the fraction of samples at each.
        top_5_percent: accuracy where five answers are allowed, as `accuracy_percent`; None of five
            classes or fewer.
    """

    choice: str
    mean_macs: int
    accuracy_percent: float
    deviation_points: float
    line_percent: float
    shares: tuple[float, ...]
    top_5_percent: float | None = None

    @property
    def above_line_points(self):
        return self.accuracy_percent - self.line_percent


@dataclasses.dataclass(frozen=True)
class ScaleRow:
    """What is chosen for the objects of about one scale.

    Attributes:
        least, most: the scales' range, the first included.
        samples: how many there are.
        shares: `(resolutions,)`, the fraction of them at each.
        mean_resolution: of the chosen ones, in pixels.
    """

    least: float
    most: float
    samples: int
    shares: tuple[float, ...]
    mean_resolution: float


def routed_collector(model):
    """A function that gives the logits at every resolution and the predictor's for every sample.

    Args:
        model: `tf_adaptive.DRNet`.

    Returns:
        A function, traced once for all data it is called with, of an iterable of
        `(images, labels)`: `(batch, height, width, channels)` and integers `(batch,)`. It gives
        `(logits, preferences, labels)`: float32 `(resolutions, samples, classes)` in the order of
        `model.resolutions`, float32 `(samples, resolutions)`, the largest of which is chosen, and
        int64 `(samples,)`; it refuses to be given no batches.
    """
    collect = logits_collector(model.every_resolution())
    prefer = tf.function(
        lambda images: logits_at(model.predictor, images, model.predictor_resolution),
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]))],
    )

    def collect_routed(batches):
        preferences = []

        def preferred():
            for images, labels in batches:
                preferences.append(prefer(images).numpy())
                yield images, labels

        logits, labels = collect(preferred())
        return logits, np.concatenate(preferences), labels

    return collect_routed


def compare_choices(logits, choices, labels, resolutions, branch_macs, predictor_macs):
    """The fixed resolutions, the router, and random choices: at its mean MACs, and uniform.

    The random choice at the router's mean MACs starts from the router's shares. It has no predictor
    to pay for, so that part of the budget buys resolution: samples move from all resolutions alike
    to the costliest one, until the mean MACs are the router's (or all are there). Each seed deals
    these shares out to the samples in a random order, and those of the uniform choice (table 5).

    Args:
        logits: float `(resolutions, samples, classes)`, of the classifier at each resolution.
        choices: integers `(samples,)`, the router's positions in `resolutions`.
        labels: integers `(samples,)`.
        resolutions: pixels, one per branch.
        branch_macs: the classifier's multiply-accumulates at each resolution.
        predictor_macs: those of the network that makes the choice.

    Returns:
        `(resolution_rows, choice_rows)`: a `ResolutionRow` per resolution in the order given,
        and a `ChoiceRow` of the router, of the random choice and of the uniform one.

    Raises:
        InputError: shapes that do not fit together, labels that are no class, logits that are
            not finite, choices that are no resolution, resolutions that repeat, or costs that
            are no whole numbers.
    """
    check_logits("logits", logits, networks="resolutions", least=2)
    check_labels(labels, logits)
    num_resolutions, num_samples, _ = logits.shape
    _check_resolutions(resolutions, branch_macs, num_resolutions)
    check_whole("predictor_macs", predictor_macs, least=0)
    choices = _checked_choices(choices, num_resolutions, num_samples)

    right, top_5 = logits.argmax(axis=-1) == labels, within_top(logits, labels, 5)
    macs = np.array(branch_macs, "float64")
    accuracies = np.array([percent(branch) for branch in right])
    counts = np.bincount(choices, minlength=num_resolutions)
    by_cost = np.argsort(macs)
    samples = np.arange(num_samples)

    def choice_row(choice, counts, dealt, extra_macs):
        mean_macs = float(counts @ macs / num_samples + extra_macs)
        seen = [percent(right[each, samples]) for each in dealt]
        return ChoiceRow(
            choice=choice,
            mean_macs=round(mean_macs),
            accuracy_percent=float(np.mean(seen)),
            deviation_points=float(np.std(seen, ddof=1)) if len(seen) > 1 else 0.0,
            line_percent=float(np.interp(mean_macs, macs[by_cost], accuracies[by_cost])),
            shares=tuple((counts / num_samples).tolist()),
            top_5_percent=None
            if top_5 is None
            else float(np.mean([percent(top_5[each, samples]) for each in dealt])),
        )

    def random_row(choice, counts):
        positions = np.repeat(np.arange(num_resolutions), counts)
        dealt = [np.random.default_rng(seed).permutation(positions) for seed in RANDOM_SEEDS]
        return choice_row(choice, counts, dealt, 0)

    resolution_rows = [
        ResolutionRow(
            resolution=int(resolution),
            macs=int(cost),
            accuracy_percent=float(accuracy),
            share=float(count / num_samples),
            top_5_percent=None if top_5 is None else percent(top_5[place]),
            smallest_right_share=float(smallest),
        )
        for place, (resolution, cost, accuracy, count, smallest) in enumerate(
            zip(
                resolutions,
                branch_macs,
                accuracies,
                counts,
                _smallest_right_shares(right, resolutions),
                strict=True,
            )
        )
    ]
    evenly = _whole_counts(np.full(num_resolutions, num_samples / num_resolutions))
    return resolution_rows, [
        choice_row("router", counts, [choices], predictor_macs),
        random_row("random", _counts_at_equal_macs(counts, macs, predictor_macs)),
        random_row("uniform", evenly),
    ]


def _smallest_right_shares(right, resolutions):
    """The fraction of samples that each resolution is the smallest right one of."""
    shares, left = np.zeros(len(resolutions)), np.ones(right.shape[1], bool)
    for place in np.argsort(resolutions):
        shares[place] = np.mean(left & right[place])
        left &= ~right[place]
    return shares


def choices_by_scale(choices, object_scales, resolutions):
    """What is chosen for small and for large objects.

    Args:
        choices: integers `(samples,)`, positions in `resolutions`.
        object_scales: `(samples,)`, the object's side as a part of the image's, in (0, 1].
        resolutions: pixels.

    Returns:
        A list of `ScaleRow`, one for each tenth of the scale that has samples, rising.

    Raises:
        InputError: choices that are no resolution, or scales outside (0, 1].
    """
    scales = np.asarray(object_scales, "float64")
    choices = _checked_choices(choices, len(resolutions), scales.size)
    if scales.ndim != 1 or not np.all((scales > 0) & (scales <= 1)):
        raise InputError(
            "`object_scales` must be one number in (0, 1] per sample. "
            f"Received: shape={scales.shape}, from {scales.min()} to {scales.max()}."
        )
    tenths = np.minimum(np.floor(scales * 10), 9).astype(int)
    rows = []
    for tenth in np.unique(tenths):
        counts = np.bincount(choices[tenths == tenth], minlength=len(resolutions))
        shares = counts / counts.sum()
        rows.append(
            ScaleRow(
                least=tenth / 10,
                most=(tenth + 1) / 10,
                samples=int(counts.sum()),
                shares=tuple(shares.tolist()),
                mean_resolution=float(shares @ np.asarray(resolutions)),
            )
        )
    return rows


def _counts_at_equal_macs(counts, macs, predictor_macs):
    """How many samples a random choice has at each resolution, see `compare_choices`."""
    total = counts.sum()
    room = macs.max() - counts @ macs / total
    moved = 1.0 if room <= predictor_macs else predictor_macs / room
    wanted = (1 - moved) * counts
    wanted[macs.argmax()] += moved * total
    return _whole_counts(wanted)


def _whole_counts(wanted):
    """Numbers that add up to a whole one, made whole: the largest remainders are rounded up."""
    rounded = np.floor(wanted).astype(int)
    more = round(wanted.sum()) - rounded.sum()
    rounded[np.argsort(rounded - wanted, kind="stable")[:more]] += 1
    return rounded


def _check_resolutions(resolutions, branch_macs, count):
    if len(resolutions) != count or len(set(resolutions)) != count:
        raise InputError(
            f"`resolutions` must be {count} different ones, those of the logits. "
            f"Received: resolutions={list(resolutions)}."
        )
    for resolution in resolutions:
        check_whole("resolutions", resolution, least=1)
    if len(branch_macs) != count:
        raise InputError(
            f"`branch_macs` must hold a number for each of the {count} resolutions. "
            f"Received: branch_macs={list(branch_macs)}."
        )
    for macs in branch_macs:
        check_whole("branch_macs", macs, least=1)


def _checked_choices(choices, num_resolutions, num_samples):
    choices = np.asarray(choices)
    if choices.shape != (num_samples,) or choices.dtype.kind not in "iu":
        raise InputError(
            f"`choices` must be {num_samples} integers, one per sample. "
            f"Received: shape={choices.shape}, dtype={choices.dtype}."
        )
    if num_samples and (choices.min() < 0 or choices.max() >= num_resolutions):
        raise InputError(
            f"`choices` must be in [0, {num_resolutions}), positions of the resolutions. "
            f"Received: choices from {choices.min()} to {choices.max()}."
        )
    return choices
