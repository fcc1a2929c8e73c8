import math

import pytest

from tf_adaptive.errors import InputError
from tf_adaptive.tuning.space import Choice, Range, check_space, default_values, fixed_values

FREE = Range("rate", 0.1, 1.0, default=0.2, log=True)
FIXED = Range("factor", 0.5, 0.5, default=1.0)


def test_values():
    space = [FREE, FIXED, Choice("kind", ("a", "b"), "b"), Choice("only", ("c",), "c")]
    assert fixed_values(space) == {"factor": 0.5, "only": "c"}
    # What is fixed is so in the first trial too.
    assert default_values(space) == {"rate": 0.2, "factor": 0.5, "kind": "b", "only": "c"}
    check_space(space)


def test_one_point():
    with pytest.raises(InputError, match="more than one point.* Received: factor=0.5, only=c and"):
        check_space([FIXED, Choice("only", ("c",), "c")])


@pytest.mark.parametrize(
    ("ends", "log", "message"),
    [
        ((2.0, 1.0), False, "`x` must be finite and rise. Received: 2.0 to 1.0"),
        ((0.0, math.nan), False, "`x` must be finite and rise"),
        ((0.0, math.inf), False, "`x` must be finite and rise"),
        ((0.0, 1.0), True, "`x` must be above 0. Received: 0.0 to 1.0"),
    ],
)
def test_ends(ends, log, message):
    with pytest.raises(InputError, match=message):
        check_space([Range("x", *ends, default=1.0, log=log)])
