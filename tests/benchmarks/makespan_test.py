import pytest

from benchmarks.makespan import simulated_hours, workers_needed

ALIKE = {"spread": 0.0, "failures_per_hour": 0.0, "restart_hours": 0.0}


@pytest.mark.parametrize(("workers", "rounds"), [(1, 10), (3, 4), (5, 2), (10, 1), (12, 1)])
def test_workers_that_are_alike_work_in_rounds(workers, rounds):
    hours = simulated_hours(workers, shards=10, hours_a_shard=0.5, seed=0, **ALIKE)
    assert hours == pytest.approx(rounds * 0.5)


def test_the_fewest_that_are_done():
    settings = {"shards": 10, "hours_a_shard": 0.5, **ALIKE}
    assert workers_needed(2.0, seeds=[0], **settings) == 3
    assert workers_needed(1.0, seeds=[0], **settings) == 5
    assert workers_needed(0.4, seeds=[0], **settings) is None


def test_a_lost_shard_is_done_again():
    # A failure in every shard would be one in half an hour; these take 8 hours of work.
    settings = {"shards": 16, "hours_a_shard": 0.5, "spread": 0.0, "restart_hours": 0.1}
    hours = [
        simulated_hours(4, failures_per_hour=rate, seed=1, **settings) for rate in (0.0, 0.5, 2.0)
    ]
    assert hours[0] == pytest.approx(2.0)
    assert hours[0] < hours[1] < hours[2]
