import numpy as np
import pytest

from tests.training.tiny_drnet import tiny_drnet
from tf_adaptive.errors import InputError
from tf_adaptive.routing.evaluation import choices_by_scale, compare_choices, routed_collector

RESOLUTIONS = [96, 72, 48]
MACS = [400, 200, 100]


def logits_of(right, labels):
    """Logits of two classes that are right where `right` (resolutions, samples) says so."""
    classes = np.where(right, labels, 1 - labels)
    return np.eye(2, dtype="float32")[classes]


def compare(**changes):
    labels = np.array([0, 1, 1, 0])
    right = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 1]], bool)
    arguments = {
        "logits": logits_of(right, labels),
        "choices": np.array([2, 1, 0, 2]),
        "labels": labels,
        "resolutions": RESOLUTIONS,
        "branch_macs": MACS,
        "predictor_macs": 50,
    }
    return compare_choices(**{**arguments, **changes})


def test_compare_choices_counts_by_hand():
    resolution_rows, (router, *_) = compare()
    assert [row.resolution for row in resolution_rows] == [96, 72, 48]
    assert [row.macs for row in resolution_rows] == [400, 200, 100]
    assert [row.accuracy_percent for row in resolution_rows] == [100.0, 75.0, 50.0]
    assert [row.share for row in resolution_rows] == [0.25, 0.25, 0.5]
    assert router.choice == "router"
    assert router.mean_macs == (400 + 200 + 2 * 100) / 4 + 50
    assert router.accuracy_percent == 100.0
    assert router.deviation_points == 0.0
    assert router.shares == (0.25, 0.25, 0.5)
    # 250 MACs are a quarter of the way from 200 (75 %) to 400 (100 %).
    assert router.line_percent == 75.0 + 25.0 / 4
    assert router.above_line_points == 100.0 - 81.25


def test_the_smallest_resolution_that_is_right_and_the_uniform_choice():
    resolution_rows, (*_, uniform) = compare()
    # All are right for the first image, and for the last but one; none but the largest for others.
    assert [row.smallest_right_share for row in resolution_rows] == [0.0, 0.5, 0.5]
    assert [row.top_5_percent for row in (*resolution_rows, uniform)] == [None] * 4
    assert (uniform.choice, sorted(uniform.shares)) == ("uniform", [0.25, 0.25, 0.5])
    assert uniform.mean_macs == round(np.dot(uniform.shares, MACS))


def test_top_5():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 8, 50)
    logits = generator.normal(size=(3, 50, 8))
    choices = generator.integers(0, 3, 50)
    rows, (router, *_) = compare(logits=logits, labels=labels, choices=choices)
    of_five = np.argsort(-logits, axis=-1)[..., :5]
    right = (of_five == labels[:, None]).any(axis=-1)
    assert [row.top_5_percent for row in rows] == pytest.approx(100 * right.mean(axis=1))
    assert router.top_5_percent == pytest.approx(100 * right[choices, np.arange(50)].mean())


def test_the_line_joins_the_resolutions_in_order_of_cost():
    forwards, (router, *_) = compare(resolutions=RESOLUTIONS)
    labels = np.array([0, 1, 1, 0])
    right = np.array([[1, 0, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1]], bool)
    backwards, (other, *_) = compare(
        logits=logits_of(right, labels),
        choices=np.array([0, 1, 2, 0]),
        resolutions=[48, 72, 96],
        branch_macs=[100, 200, 400],
    )
    assert backwards == forwards[::-1]
    assert other.line_percent == router.line_percent
    assert other.shares == router.shares[::-1]


def test_the_line_ends_at_the_costliest_resolution():
    _, (router, random, _) = compare(choices=np.zeros(4, int), predictor_macs=70)
    assert router.mean_macs == 470
    assert router.line_percent == 100.0
    # Nothing costs more: the random choice cannot spend the predictor's part.
    assert random.mean_macs == 400
    assert random.shares == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("predictor_macs", [0, 10, 50, 100, 150])
def test_the_random_choice_spends_what_the_router_does(predictor_macs):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 10_000)
    right = generator.random((3, 10_000)) < np.array([[0.9], [0.8], [0.6]])
    choices = generator.choice(3, 10_000, p=[0.2, 0.3, 0.5])
    _, (router, random, _) = compare(
        logits=logits_of(right, labels),
        labels=labels,
        choices=choices,
        predictor_macs=predictor_macs,
    )
    assert random.choice == "random"
    assert abs(random.mean_macs - router.mean_macs) <= 1
    assert sum(random.shares) == pytest.approx(1)
    # The two cheaper resolutions keep their proportion.
    assert random.shares[1] / random.shares[2] == pytest.approx(
        router.shares[1] / router.shares[2], rel=1e-3
    )
    # Shares times accuracies are what is to be expected, give or take 0.3 points.
    expected = 100 * np.array(random.shares) @ right.mean(axis=1)
    assert abs(random.accuracy_percent - expected) < 1
    assert 0 < random.deviation_points < 1


def test_the_random_choice_deals_the_routers_shares_when_the_predictor_is_free():
    labels = np.zeros(60, int)
    # Right at one resolution only: accuracy counts how often both choices meet.
    choices = np.repeat([0, 1, 2], [10, 20, 30])
    right = choices == np.arange(3)[:, np.newaxis]
    _, (router, random, _) = compare(
        logits=logits_of(right, labels), labels=labels, choices=choices, predictor_macs=0
    )
    assert router.accuracy_percent == 100.0
    assert random.shares == router.shares == (10 / 60, 20 / 60, 30 / 60)
    assert random.mean_macs == router.mean_macs
    dealt = [np.random.default_rng(seed).permutation(choices) for seed in (0, 1, 2)]
    accuracies = [100 * np.mean(one == choices) for one in dealt]
    assert random.accuracy_percent == pytest.approx(np.mean(accuracies))
    assert random.deviation_points == pytest.approx(np.std(accuracies, ddof=1))


def test_choices_by_scale_counts_by_hand():
    scales = np.array([0.25, 0.29, 0.3, 0.95, 1.0, 0.91], "float32")
    rows = choices_by_scale(np.array([0, 1, 0, 2, 2, 1]), scales, RESOLUTIONS)
    assert [(row.least, row.most, row.samples) for row in rows] == [
        (0.2, 0.3, 2),
        (0.3, 0.4, 1),
        (0.9, 1.0, 3),
    ]
    assert rows[0].shares == (0.5, 0.5, 0.0)
    assert rows[0].mean_resolution == 84.0
    assert rows[1].shares == (1.0, 0.0, 0.0)
    assert rows[2].shares == pytest.approx((0, 1 / 3, 2 / 3))
    assert rows[2].mean_resolution == pytest.approx(56)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"logits": np.zeros((1, 4, 2))}, r"`logits` must be \(resolutions, samples, classes\)"),
        ({"logits": np.full((3, 4, 2), np.nan)}, "`logits` must be finite"),
        ({"labels": np.array([0, 1, 2, 0])}, r"Labels must be in \[0, 2\)"),
        ({"labels": np.zeros(3, int)}, "Labels must be 4 integers"),
        ({"choices": np.array([0, 1, 3, 0])}, r"`choices` must be in \[0, 3\).*from 0 to 3"),
        ({"choices": np.array([0, -1, 1, 0])}, r"`choices` must be in \[0, 3\).*from -1 to 1"),
        ({"choices": np.zeros(4)}, "`choices` must be 4 integers.*float64"),
        ({"choices": np.zeros((4, 1), int)}, r"`choices` must be 4 integers.*\(4, 1\)"),
        ({"resolutions": [96, 48]}, r"`resolutions` must be 3 different ones.*\[96, 48\]"),
        ({"resolutions": [96, 48, 48]}, "`resolutions` must be 3 different ones"),
        ({"resolutions": [96, 48, 0]}, "`resolutions` must be a whole number from 1 on.*=0"),
        ({"branch_macs": [400, 200]}, r"`branch_macs` must hold a number for each of the 3"),
        ({"branch_macs": [400, 200, 1.5]}, "`branch_macs` must be a whole number.*=1.5"),
        ({"predictor_macs": -1}, "`predictor_macs` must be a whole number from 0 on.*=-1"),
    ],
)
def test_compare_choices_refuses(changes, message):
    with pytest.raises(InputError, match=message):
        compare(**changes)


@pytest.mark.parametrize("scales", [[0.5, 0.0], [0.5, 1.1], [0.5, np.nan], [[0.5], [0.5]]])
def test_choices_by_scale_refuses_bad_scales(scales):
    with pytest.raises(InputError, match=r"`object_scales` must be one number in \(0, 1\]"):
        choices_by_scale(np.array([0, 1]), scales, RESOLUTIONS)


def test_choices_by_scale_refuses_other_choices():
    with pytest.raises(InputError, match="`choices` must be 3 integers, one per sample"):
        choices_by_scale(np.array([0, 1]), [0.5, 0.5, 0.5], RESOLUTIONS)
    with pytest.raises(InputError, match=r"`choices` must be in \[0, 3\)"):
        choices_by_scale(np.array([0, 3]), [0.5, 0.5], RESOLUTIONS)


def test_collects_every_branch_and_the_choice():
    model, _ = tiny_drnet()
    rng = np.random.default_rng(0)
    images = rng.normal(size=(7, 16, 16, 1)).astype("float32")
    batches = [(images[:4], np.arange(4)), (images[4:], np.arange(4, 7))]
    logits, preferences, labels = routed_collector(model)(batches)
    assert logits.shape == (3, 7, 3) and logits.dtype == np.float32
    for branch, resolution in zip(logits, model.resolutions, strict=True):
        expected = model.branch_logits(images, resolution)
        np.testing.assert_allclose(branch, expected, rtol=1e-4, atol=1e-5)
    assert preferences.shape == (7, 3)
    np.testing.assert_array_equal(preferences.argmax(axis=-1), model.choose(images))
    np.testing.assert_array_equal(labels, np.arange(7))


def test_collects_from_one_batch_or_more():
    with pytest.raises(InputError, match="`batches`"):
        routed_collector(tiny_drnet()[0])([])
