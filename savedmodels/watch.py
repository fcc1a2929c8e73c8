"""Watches a deployed network with exits: keeps a cost, and notices when a promise no longer holds.

    point = OperatingPoint.from_description(read_description("served/mine/1/assets.extra", {}), 5)
    watched = WatchedClient(client, Watch(point.family, target=0.004))
    answer = watched.classify(images)

Networks that were exported with a promise, --risk, have a family.
"""

import math
import time
import warnings

import numpy as np

from tf_adaptive.errors import InputError

# Of the mean cost, that of the newest batch.
_NEWEST = 0.1


class DisagreementInterval:
    """Between what a share of yes and no lies, whenever one looks.

    A confidence sequence: with probability `confidence` all its intervals hold, however long one
    goes on and whatever one stops at (Robbins 1970: the mixture of a likelihood ratio over a Beta
    distribution, here of 1/2 and 1/2; Ville's inequality).

    Args:
        confidence: in (0, 1).

    Attributes:
        yes, images: counts so far.
    """

    def __init__(self, confidence=0.95):
        self._enough = -math.log(1 - confidence)
        self.yes = self.images = 0

    def add(self, yes):
        self.yes += bool(yes)
        self.images += 1

    def is_above(self, share):
        """Whether all of the interval is above a share, without looking for its end."""
        return self.yes > share * self.images and self._evidence(share) >= self._enough

    @property
    def low(self):
        """The lower end, in [0, 1]."""
        if not self.yes:
            return 0.0
        return _where(self._evidence, 0.0, self.yes / self.images, self._enough)

    @property
    def high(self):
        """The upper end, in [0, 1]."""
        if self.yes == self.images:
            return 1.0
        return _where(self._evidence, 1.0, self.yes / self.images, self._enough)

    def _evidence(self, share):
        """Logarithm of the likelihood of the mixture by that of a share."""
        no = self.images - self.yes
        mixture = _log_beta(self.yes + 0.5, no + 0.5) - _log_beta(0.5, 0.5)
        with np.errstate(divide="ignore", invalid="ignore"):
            counted = ((self.yes, share), (no, 1 - share))
            single = sum(count * np.log(each) for count, each in counted if count)
        return mixture - single


class Watch:
    """Chooses among promised thresholds while a network is in use.

    It keeps a mean cost near a target by moving along the family, never past the promise's
    thresholds. Of a share of the images the whole network is asked too; where their disagreement
    is, beyond doubt, larger than on the calibration images, it warns and goes back to safer
    thresholds.

    Args:
        family: of an `OperatingPoint` with a promise.
        target: mean cost per image that is wanted, in the unit that `took` is told; None to stay
            at the promise's thresholds.
        shadow_share: of the images, that the whole network is asked for too.
        confidence: of what is beyond doubt.
        seed: of the choice of these images.

    Attributes:
        place: of the thresholds in the family, from 0, the safest.
        limit: the cheapest place that is still allowed.
        interval: `DisagreementInterval` since the last step back.
        alarms: how often it went back.

    Raises:
        InputError: no family, a share outside [0, 1] or a target that is not above 0.
    """

    def __init__(self, family, *, target=None, shadow_share=0.01, confidence=0.95, seed=0):
        if not family:
            raise InputError(
                "A network to watch must have been exported with a promise, --risk. "
                "Received: one without a family of thresholds."
            )
        if not 0 <= shadow_share <= 1:
            raise InputError(
                f"`shadow_share` must be from 0 to 1. Received: shadow_share={shadow_share}."
            )
        if target is not None and not target > 0:
            raise InputError(f"`target` must be above 0. Received: target={target}.")
        self._family = family
        self._target = target
        self._shadow_share = shadow_share
        self._confidence = confidence
        self._random = np.random.default_rng(seed)
        self._mean_cost = None
        self.limit = self.place = len(family) - 1
        self.interval = DisagreementInterval(confidence)
        self.alarms = 0

    @property
    def thresholds(self):
        """Those to be used now, float32 `(K − 1,)`."""
        return self._family[self.place][0]

    def shadowed(self, images):
        """Positions of those of so many images that the whole network is to be asked for too."""
        return np.flatnonzero(self._random.random(images) < self._shadow_share)

    def took(self, cost):
        """Tells it what images cost on average, and moves towards the target."""
        if self._target is None:
            return
        last = cost if self._mean_cost is None else self._mean_cost
        self._mean_cost = (1 - _NEWEST) * last + _NEWEST * cost
        step = 1 if self._mean_cost > self._target else -1
        self.place = min(max(self.place + step, 0), self.limit)

    def compared(self, differs):
        """Tells it whether early exit and the whole network differed on a shadowed image."""
        self.interval.add(differs)
        _, expected = self._family[self.place]
        if not self.interval.is_above(expected):
            return
        self.alarms += 1
        warnings.warn(
            f"early exit differs from the whole network on {100 * self.interval.low:.1f} % of the "
            f"images at least, on {100 * expected:.1f} % at most of those it was calibrated on: "
            "its promise may not hold for these images; going on with safer thresholds",
            stacklevel=2,
        )
        self.limit = max(self.limit - 1, 0)
        self.place = min(self.place, self.limit)
        self.interval = DisagreementInterval(self._confidence)


class WatchedClient:
    """A client of a served network whose thresholds a `Watch` chooses.

    Args:
        client: `GrpcClient` or `RestClient`.
        watch: `Watch`, whose costs are seconds per image.
    """

    def __init__(self, client, watch):
        self._client, self._watch = client, watch

    def classify(self, images):
        """Classifies images, see `GrpcClient.classify`."""
        start = time.perf_counter()
        answer = self._client.classify(images, thresholds=self._watch.thresholds)
        self._watch.took((time.perf_counter() - start) / max(len(images), 1))
        chosen = self._watch.shadowed(len(images))
        if len(chosen):
            some = [images[place] for place in chosen]
            if not isinstance(images, list | tuple):
                some = np.stack(some)
            whole = self._client.classify(some, enabled_exits=[])
            for place, expected in zip(chosen, whole["class"], strict=True):
                self._watch.compared(answer["class"][place] != expected)
        return answer


class WatchedRunner:
    """A runner on a device whose thresholds a `Watch` chooses.

    Args:
        runner: `savedmodels.tflite.exit_runner.StagedRunner`.
        watch: `Watch`, whose costs are seconds per image.
    """

    def __init__(self, runner, watch):
        self._runner, self._watch = runner, watch

    def __call__(self, image):
        """Classifies an image, see `StagedRunner`."""
        self._runner.thresholds = self._watch.thresholds
        answer = self._runner(image)
        self._watch.took(answer.seconds)
        if len(self._watch.shadowed(1)):
            whole = self._runner.all_exits(image)[-1].argmax()
            self._watch.compared(answer.class_number != whole)
        return answer


def _log_beta(first, second):
    return math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)


def _where(evidence, outside, inside, enough):
    """The share between two at which the evidence against it is just enough."""
    for _ in range(60):
        middle = (outside + inside) / 2
        if evidence(middle) >= enough:
            outside = middle
        else:
            inside = middle
    return outside
