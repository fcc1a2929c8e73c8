import pytest

from tf_adaptive.tuning.multi_exit_trainer import exit_weight_ramp


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(1.0, [1.0, 1.0, 1.0]), (3.0, [0.5, 1.0, 1.5]), (1 / 3, [1.5, 1.0, 0.5])],
)
def test_ramp(ratio, expected):
    assert exit_weight_ramp(ratio, 3) == pytest.approx(expected)


def test_ramp_of_many_exits():
    weights = exit_weight_ramp(4.0, 7)
    assert weights[-1] / weights[0] == pytest.approx(4)
    assert sum(weights) / 7 == pytest.approx(1)
