"""What a search may choose from."""

import dataclasses
import math

from tf_adaptive.errors import InputError


@dataclasses.dataclass(frozen=True)
class Range:
    """A number from `least` to `most`; where they are equal, that number.

    Attributes:
        name: of the hyperparameter.
        least, most: its ends.
        default: its value in the first trial; it may lie outside.
        log: whether factors count alike, not differences.
    """

    name: str
    least: float
    most: float
    default: float
    log: bool = False

    @property
    def is_fixed(self):
        return self.least == self.most


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of some texts.

    Attributes:
        name: of the hyperparameter.
        choices: tuple of them; where it is one, that one.
        default: its value in the first trial.
    """

    name: str
    choices: tuple[str, ...]
    default: str

    @property
    def is_fixed(self):
        return len(self.choices) == 1


def fixed_values(space):
    """The hyperparameters that have one value only, a dict.

    Args:
        space: list of `Range` and `Choice`.
    """
    return {
        parameter.name: parameter.least if isinstance(parameter, Range) else parameter.choices[0]
        for parameter in space
        if parameter.is_fixed
    }


def default_values(space):
    """The first trial's value of every hyperparameter, a dict.

    Args:
        space: list of `Range` and `Choice`.
    """
    return {parameter.name: parameter.default for parameter in space} | fixed_values(space)


def check_space(space):
    """Refuses a search space with nothing to choose, or a range that is none.

    Args:
        space: list of `Range` and `Choice`.

    Raises:
        InputError: there is one point in all of it; ends that are not finite, or fall, or are not
            above 0 where factors count.
    """
    for parameter in space:
        if isinstance(parameter, Range):
            _check_range(parameter)
    if all(parameter.is_fixed for parameter in space):
        raise InputError(
            "The search space must have more than one point: give one of its ranges two different "
            f"ends. Received: {_told(fixed_values(space))} and nothing else."
        )


def _check_range(given):
    ends = (given.least, given.most)
    if not all(map(math.isfinite, ends)) or given.least > given.most:
        raise InputError(
            f"The range of `{given.name}` must be finite and rise. "
            f"Received: {ends[0]} to {ends[1]}."
        )
    if given.log and given.least <= 0:
        raise InputError(
            f"The range of `{given.name}` must be above 0. Received: {ends[0]} to {ends[1]}."
        )


def _told(values):
    return ", ".join(f"{name}={value}" for name, value in values.items())
