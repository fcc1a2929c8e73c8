import pytest

from tf_adaptive.tuning.objective import accuracy_at_target, price_of_cost
from tf_adaptive.tuning.trials import Point

# By hand: 4 points for 0.02 GFLOPs and 1 for 0.04 are 200 and 25 points per GFLOP.
FIXED = [Point("96", 0.08, 86.0), Point("72", 0.04, 85.0), Point("48", 0.02, 81.0)]


def test_price_is_the_steepest_line():
    assert price_of_cost(FIXED, 0.045) == pytest.approx(200)
    assert price_of_cost(FIXED[:2], 0.045) == pytest.approx(25)


def test_price_where_accuracy_does_not_rise():
    falling = [Point("96", 0.08, 80.0), Point("48", 0.02, 81.0)]
    # 0.01 points for 1 % of 0.05.
    assert price_of_cost(falling, 0.05) == pytest.approx(0.01 / 0.0005)


@pytest.mark.parametrize(
    ("mean_gflops", "expected"), [(0.02, 85.0), (0.045, 85.0), (0.055, 83.0), (0.0475, 84.5)]
)
def test_only_cost_above_the_target_counts(mean_gflops, expected):
    objective = accuracy_at_target(85.0, mean_gflops, target_gflops=0.045, points_per_gflop=200)
    assert objective == pytest.approx(expected)
