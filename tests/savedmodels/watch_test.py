import json
import warnings

import numpy as np
import pytest
import scipy.stats

from savedmodels.serving.saved_model import export_run
from savedmodels.tflite.exit_runner import StagedRunner
from savedmodels.watch import DisagreementInterval, Watch, WatchedClient, WatchedRunner
from tf_adaptive.errors import InputError

FAMILY = [
    (np.float32([0.9, 0.8]), 0.01),
    (np.float32([0.7, 0.6]), 0.02),
    (np.float32([0.5, 0.4]), 0.03),
]


def fed(yes, images, confidence=0.95):
    interval = DisagreementInterval(confidence)
    for place in range(images):
        interval.add(place < yes)
    return interval


@pytest.mark.parametrize(("yes", "images"), [(0, 50), (3, 50), (25, 50), (50, 50), (0, 1)])
def test_intervals_hold_what_was_seen_and_are_wider_than_those_of_one_look(yes, images):
    interval = fed(yes, images)
    one_look = scipy.stats.binomtest(yes, images).proportion_ci(method="exact")
    assert interval.low <= one_look.low <= yes / images <= one_look.high <= interval.high
    assert fed(yes, images, 0.99).high >= interval.high
    for share in (0.001, interval.low - 1e-9, interval.low + 1e-9, 0.999):
        if share > 0:
            assert interval.is_above(share) == (interval.low > share)


def test_intervals_hold_at_all_times():
    random = np.random.default_rng(0)
    broken = 0
    for _ in range(200):
        interval = DisagreementInterval()
        held = True
        for yes in random.random(400) < 0.05:
            interval.add(yes)
            # The ends are where the evidence is enough: nothing else need be looked at.
            held = held and interval._evidence(0.05) < -np.log(0.05)
        assert interval.low <= 0.05 <= interval.high or not held
        broken += not held
    assert broken <= 200 * 0.05 + 3 * np.sqrt(200 * 0.05 * 0.95)


def test_costs_are_kept_and_the_promise_is_not_passed():
    watch = Watch(FAMILY, target=1.0)
    costs = [2.0, 1.5, 0.5]
    places = []
    for _ in range(200):
        watch.took(costs[watch.place])
        places.append(watch.place)
    # Between those of 1.5 and 0.5, about half of the time each.
    assert set(places[50:]) <= {0, 1, 2}
    assert abs(np.mean([costs[place] for place in places[50:]]) - 1.0) < 0.2
    for _ in range(50):
        watch.took(100.0)
    assert watch.place == watch.limit == 2
    np.testing.assert_array_equal(watch.thresholds, FAMILY[2][0])
    still = Watch(FAMILY)
    still.took(100.0)
    assert still.place == 2


def replay(share_before, share_after, images, seed):
    """How many images a stream has when the watch first goes back; None where it does not."""
    random = np.random.default_rng(seed)
    watch = Watch(FAMILY, shadow_share=0.1, seed=seed)
    for place in range(images):
        share = share_before if place < images / 2 else share_after
        if len(watch.shadowed(1)):
            watch.compared(random.random() < share)
        if watch.alarms:
            return place
    return None


def test_streams_that_become_worse_and_streams_that_do_not():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clean = [replay(0.02, 0.02, 5_000, seed) for seed in range(100)]
        assert sum(alarm is not None for alarm in clean) <= 5
        worse = [replay(0.02, 0.3, 10_000, seed) for seed in range(20)]
    assert all(alarm is not None for alarm in worse)
    # Some three hundred images, a tenth of which are looked at.
    assert np.median(worse) - 5_000 < 1_000


def test_it_goes_back_to_safer_thresholds_and_says_so():
    watch = Watch(FAMILY, shadow_share=1.0)
    with pytest.warns(UserWarning, match="early exit differs from the whole network on"):
        while not watch.alarms:
            watch.compared(True)
    assert (watch.place, watch.limit, watch.interval.images) == (1, 1, 0)
    watch.took(1e9)
    assert watch.place == 1
    for _ in range(2):
        with pytest.warns(UserWarning, match="going on with safer thresholds"):
            alarms = watch.alarms
            while watch.alarms == alarms:
                watch.compared(True)
    assert watch.place == watch.limit == 0


def test_refusals():
    for family in (None, ()):
        with pytest.raises(InputError, match="exported with a promise, --risk"):
            Watch(family)
    with pytest.raises(InputError, match="`shadow_share` must be from 0 to 1"):
        Watch(FAMILY, shadow_share=1.5)
    with pytest.raises(InputError, match="`target` must be above 0"):
        Watch(FAMILY, target=0)


class StandIn:
    """A client whose early exit errs on odd pixels, and that notes what it is asked."""

    def __init__(self):
        self.asked = []

    def classify(self, images, *, thresholds=None, enabled_exits=None):
        self.asked.append((len(images), thresholds, enabled_exits))
        whole = np.array([int(image.flat[0]) for image in images])
        return {"class": whole if enabled_exits == [] else whole + whole % 2}


def test_a_client_is_watched():
    images = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    family = [(thresholds, 1.0) for thresholds, _ in FAMILY]
    client, watch = StandIn(), Watch(family, shadow_share=0.5, target=1.0)
    answer = WatchedClient(client, watch).classify(images)
    assert answer["class"].tolist() == [place + place % 2 for place in range(20)]
    (first, second) = client.asked
    assert first[0] == 20 and 0 < second[0] < 20
    np.testing.assert_array_equal(first[1], FAMILY[2][0])
    assert second[2] == []
    assert watch.interval.images == second[0]
    assert watch.interval.yes > 0
    # Fast enough, so that it goes on more safely.
    assert watch.place == 1


def test_a_runner_on_a_device_is_watched(float32_stages, network):
    family = [(np.float32([1, 1, 1]), 1.0), (np.float32([0, 0, 0]), 1.0)]
    runner = StagedRunner(float32_stages)
    watch = Watch(family, shadow_share=1.0)
    watched = WatchedRunner(runner, watch)
    assert {watched(picture).exit for picture in network.pictures} == {1}
    differing = np.count_nonzero(network.logits[0].argmax(-1) != network.logits[-1].argmax(-1))
    assert (watch.interval.yes, watch.interval.images) == (differing, len(network.pictures))


def test_the_family_goes_into_exports(finished_run, tmp_path):
    # Of so barely trained a network nothing better can be promised.
    export_run(finished_run, tmp_path, name="watched", risk=0.9)
    described = json.loads(
        (tmp_path / "watched/1/assets.extra/description.json").read_text(encoding="utf-8")
    )
    assert described["promise"]["risk"] == 0.9
    assert described["family"][-1]["thresholds"] == described["thresholds"]
    assert all(0 < each["disagreement"] <= 1 for each in described["family"])
    card = (tmp_path / "watched/1/model_card.md").read_text(encoding="utf-8")
    assert "Early exit loses at most 90 points of accuracy against the last exit" in card
