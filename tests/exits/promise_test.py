import math

import numpy as np
import pytest

from tf_adaptive.errors import InputError
from tf_adaptive.exits.evaluation import (
    confidences_of_exits,
    loss_counts,
    nested_from_safest,
    of_exits,
    sweep,
)
from tf_adaptive.exits.promise import (
    LOSSES,
    LossCounts,
    Promise,
    evidence,
    images_needed,
    last_promised,
)
from tf_adaptive.exits.thresholds import choose_exits


def without_loss(images):
    return LossCounts(images, spoiled=0, mended=0, differing=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_bet_is_fair_where_the_risk_is_the_bound(loss):
    """Its mean capital is 1, over all outcomes of five images at a loss of exactly the bound."""
    risk, images = 0.1, 5
    chances = {"spoiled": 0.25, "mended": 0.15, "same": 0.6}
    if loss == "disagreement":
        chances = {"spoiled": risk, "mended": 0.0, "same": 1 - risk}
    mean = 0
    for spoiled in range(images + 1):
        for mended in range(images + 1 - spoiled):
            same = images - spoiled - mended
            ways = math.factorial(images) / math.prod(map(math.factorial, (spoiled, mended, same)))
            chance = ways * chances["spoiled"] ** spoiled * chances["mended"] ** mended
            chance *= chances["same"] ** same
            counts = LossCounts(images, spoiled, mended, spoiled + mended)
            if chance:
                mean += chance * math.exp(evidence(counts, risk, loss))
    assert mean == pytest.approx(1)


@pytest.mark.parametrize("loss", LOSSES)
def test_more_images_and_fewer_losses_are_more_evidence(loss):
    wins = [evidence(without_loss(images), 0.01, loss) for images in (100, 500, 5000)]
    assert wins == sorted(wins)
    losses = [
        evidence(LossCounts(1000, spoiled, 0, spoiled), 0.05, loss) for spoiled in (0, 10, 30, 80)
    ]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_number_of_images_that_would_suffice_does(loss):
    for counts in (without_loss(100), LossCounts(1000, 4, 1, 6)):
        needed = images_needed(counts, 0.02, 0.95, loss)
        for images, suffices in ((needed, True), (needed - 1, False)):
            scale = images / counts.images
            scaled = LossCounts(
                images, counts.spoiled * scale, counts.mended * scale, counts.differing * scale
            )
            assert (evidence(scaled, 0.02, loss) >= math.log(20)) is suffices
    assert images_needed(LossCounts(1000, 30, 0, 30), 0.02, 0.95, loss) is None


def test_testing_ends_at_the_first_that_is_not_shown():
    family = [without_loss(2000), LossCounts(2000, 40, 0, 40), without_loss(2000)]
    assert last_promised(family, 0.01, 0.95, "accuracy_gap") == 0
    assert last_promised(family, 0.1, 0.95, "accuracy_gap") == 2
    with pytest.raises(InputError, match=r"100 show no saving .* About \d+ such images"):
        last_promised([without_loss(100)], 0.01, 0.95, "accuracy_gap")
    with pytest.raises(InputError, match="lose 5.00 points on them, so that no number"):
        last_promised([LossCounts(100, 5, 0, 5)], 0.01, 0.95, "accuracy_gap")
    for risk, confidence in ((0, 0.9), (1, 0.9), (0.1, 1.0), (math.nan, 0.9)):
        with pytest.raises(InputError, match="must be above 0 and below 1"):
            last_promised(family, risk, confidence, "accuracy_gap")


def test_words():
    words = Promise(0.01, 0.95, "accuracy_gap", 5000).words()
    assert "loses at most 1 points of accuracy against the last exit, with 95 %" in words


def recorded_logits(samples, seed):
    """Two exits, the first of which errs where it is not sure."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, samples)
    hardness = random.uniform(0.2, 4, samples)
    logits = random.normal(size=(3, samples, 4)).astype("float32")
    logits[:, np.arange(samples), labels] += np.array([[2], [3], [4]]) / hardness
    return logits, labels


@pytest.mark.parametrize("risk", [0.01, 0.02, 0.05])
def test_the_promise_is_kept_over_random_splits(risk):
    """Of 1,000 splits of recorded logits, the share that breaks the promise on the others."""
    logits, labels = recorded_logits(8_000, seed=0)
    family = nested_from_safest(sweep(recorded_logits(2_000, seed=1)[0]))
    # For each member, what each image loses, so that a split is a sum.
    spoiled, mended, differing = (np.zeros((len(family), 8_000), bool) for _ in range(3))
    last = logits[-1].argmax(-1)
    for place, (_, thresholds) in enumerate(family):
        answer = answers(logits, thresholds)
        spoiled[place] = (answer != labels) & (last == labels)
        mended[place] = (answer == labels) & (last != labels)
        differing[place] = answer != last
    assert loss_counts(logits, labels, [thresholds for _, thresholds in family]) == [
        LossCounts(8_000, *map(int, each))
        for each in zip(
            *(each.sum(axis=1) for each in (spoiled, mended, differing)),
            strict=True,
        )
    ]
    random = np.random.default_rng(2)
    broken = promised = 0
    for _ in range(1_000):
        calibration = np.zeros(8_000, bool)
        calibration[random.choice(8_000, 3_000, replace=False)] = True
        counts = [
            LossCounts(3_000, *map(int, each))
            for each in zip(
                *(each[:, calibration].sum(axis=1) for each in (spoiled, mended, differing)),
                strict=True,
            )
        ]
        try:
            place = last_promised(counts, risk, 0.95, "accuracy_gap")
        except InputError:
            continue
        promised += 1
        gap = spoiled[place, ~calibration].mean() - mended[place, ~calibration].mean()
        broken += gap > risk
    assert promised > 500
    # Three deviations of 1,000 trials at 5 %.
    assert broken <= 1_000 * 0.05 + 3 * math.sqrt(1_000 * 0.05 * 0.95)


def answers(logits, thresholds):
    return of_exits(logits.argmax(-1), choose_exits(confidences_of_exits(logits), thresholds))
