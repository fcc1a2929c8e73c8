"""How long a job takes on many workers, simulated."""

import heapq

import numpy as np


def simulated_hours(
    workers, *, shards, hours_a_shard, spread, failures_per_hour, restart_hours, seed
):
    """When the last of a job's shards is done, in hours.

    Whoever is free takes the next shard. Workers differ in speed, and fail at random: a worker that
    fails loses the shard that it is at, which another one does, and is back after a while.

    Args:
        workers: number of them.
        shards: parts of the job, all of one size.
        hours_a_shard: of a worker of the usual speed.
        spread: standard deviation of the logarithm of the workers' speeds.
        failures_per_hour: of a worker.
        restart_hours: until a worker that failed is back.
        seed: of all that is drawn.
    """
    generator = np.random.default_rng(seed)
    hours = hours_a_shard * np.exp(spread * generator.standard_normal(workers))
    free = [(0.0, worker) for worker in range(workers)]
    left, end = shards, 0.0
    # Shards that a worker failed at, by the hour at which that is known.
    lost = []
    while left or lost:
        now, worker = heapq.heappop(free)
        if not left and lost[0] > now:
            # Nobody knows of it yet.
            heapq.heappush(free, (lost[0], worker))
            continue
        if left:
            left -= 1
        else:
            heapq.heappop(lost)
        fails_after = np.inf
        if failures_per_hour:
            fails_after = generator.exponential(1 / failures_per_hour)
        if fails_after < hours[worker]:
            heapq.heappush(lost, now + fails_after)
            heapq.heappush(free, (now + fails_after + restart_hours, worker))
        else:
            end = max(end, now + hours[worker])
            heapq.heappush(free, (now + hours[worker], worker))
    return end


def workers_needed(deadline_hours, *, seeds, shards, **settings):
    """The fewest workers that are done by a deadline with every seed; None where none are enough.

    Args:
        deadline_hours: of the whole job.
        seeds: of the simulations.
        shards, **settings: see `simulated_hours`.
    """

    def are_enough(workers):
        hours = (simulated_hours(workers, shards=shards, seed=s, **settings) for s in seeds)
        return all(taken <= deadline_hours for taken in hours)

    # No more than one shard each.
    low, high = 0, 1
    while not are_enough(high):
        if high >= shards:
            return None
        low, high = high, min(2 * high, shards)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if are_enough(middle) else (middle, high)
    return high
