"""What searched thresholds save beside the papers', and whether promises are kept.

    python -m benchmarks.operating_points --run_dirs runs/seed_0,runs/seed_1,runs/seed_2
    python -m benchmarks.operating_points --run_dirs runs/seed_0 --trials 1000

The first table has, for each run and each drop of accuracy, the mean cost of the thresholds of
"sweep" and of "optimal": both made of the validation images, chosen among on the calibration
images, and told of the test images. With --trials, calibration images are drawn at random from all
that made no thresholds, again and again, and the others judge: the share of trials whose promise is
broken, and what it costs beside choosing by the same images without a promise.
"""

import numpy as np
from absl import flags

from tf_adaptive.errors import check_whole
from tf_adaptive.exits.calibration import fit_temperatures
from tf_adaptive.exits.costs import profile
from tf_adaptive.exits.evaluation import (
    at_thresholds,
    cheapest_budget,
    exits_along,
    losses,
    nested_from_safest,
    searched,
    sweep,
)
from tf_adaptive.exits.promise import LossCounts, evidence
from tf_adaptive.programs import program
from tf_adaptive.programs.progress_bar import with_bar
from tf_adaptive.reports.logits import collect_logits
from tf_adaptive.runs.run import load_run

_RUN_DIRS = flags.DEFINE_list(
    "run_dirs", None, "finished runs of networks with exits", required=True
)
_DROPS = flags.DEFINE_list("drops", ["0.25", "0.5", "1"], "points of accuracy that may be lost")
_TRIALS = flags.DEFINE_integer("trials", 0, "random splits to try promises on")
_RISKS = flags.DEFINE_list("risks", ["0.005", "0.01", "0.02"], "of the promises")
_CONFIDENCE = flags.DEFINE_float("confidence", 0.95, "of the promises")
_IMAGES = flags.DEFINE_integer("images", 5000, "calibration images of a trial")
_BATCH_SIZE = 256


def main():
    check_whole("trials", _TRIALS.value, least=0)
    check_whole("images", _IMAGES.value, least=1)
    drops = program.numbers(_DROPS)
    risks = program.numbers(_RISKS)
    print(
        "| run | points | sweep: M MACs, test points | optimal: M MACs, test points | MACs ratio |"
    )
    print("|---|---|---|---|---|")
    for run_dir in _RUN_DIRS.value:
        run = load_run(run_dir)
        logits, labels = _recorded(run)
        costs = profile(run.model)
        _print_methods(run_dir, logits, labels, costs, drops)
        if _TRIALS.value:
            lost = _losses(logits, labels, costs)
            for risk in risks:
                _print_trials(run_dir, lost, risk)


def _recorded(run):
    """Logits and labels by split; validation images stand in where none are for calibration."""
    dataset = run.dataset()
    logits, labels = {}, {}
    for split in ("validation", "calibration", "test"):
        size = dataset.sizes[split]
        if not size:
            continue
        batches = with_bar(
            dataset.batches(split, _BATCH_SIZE), size, _BATCH_SIZE, f"{split} images"
        )
        logits[split], labels[split] = collect_logits(run.model, batches)
    for each in (logits, labels):
        each.setdefault("calibration", each["validation"])
    return logits, labels


def _print_methods(run_dir, logits, labels, costs, drops):
    settings = {"temperatures": fit_temperatures(logits["validation"], labels["validation"])}
    families = {
        "sweep": list(sweep(logits["validation"], **settings).items()),
        "optimal": [
            (None, thresholds)
            for thresholds in searched(
                logits["validation"], labels["validation"], costs, **settings
            )
        ],
    }
    families["optimal"] += families["sweep"]
    rows = {
        method: at_thresholds(
            family,
            logits["calibration"],
            logits["test"],
            labels["test"],
            costs,
            calibration_labels=labels["calibration"],
            **settings,
        )
        for method, family in families.items()
    }
    last, last_test = (
        100 * np.mean(logits[split][-1].argmax(-1) == labels[split])
        for split in ("calibration", "test")
    )
    for drop in drops:
        chosen = {method: cheapest_budget(each, last - drop) for method, each in rows.items()}
        cells = [
            f"{row.mean_macs / 1e6:.2f}, {row.accuracy_percent - last_test:+.2f}"
            for row in chosen.values()
        ]
        ratio = chosen["optimal"].mean_macs / chosen["sweep"].mean_macs
        print(f"| {run_dir} | {drop:g} | {cells[0]} | {cells[1]} | {ratio:.3f} |", flush=True)


def _losses(logits, labels, costs):
    """Of each member of the family and each image that made none: losses and cost."""
    settings = {"temperatures": fit_temperatures(logits["validation"], labels["validation"])}
    family = nested_from_safest(sweep(logits["validation"], **settings))
    splits = ["test"]
    if logits["calibration"] is not logits["validation"]:
        splits.append("calibration")
    others = np.concatenate([logits[split] for split in splits], axis=1)
    true = np.concatenate([labels[split] for split in splits])
    exits = exits_along(others, [thresholds for _, thresholds in family], **settings)
    macs = np.array([cost.macs for cost in costs])
    return *losses(others, true, exits), macs[exits - 1]


def _print_trials(run_dir, lost, risk):
    """Random splits into calibration images and others, which judge."""
    spoiled, mended, differing, cost = lost
    images = spoiled.shape[1]
    check_whole("images", _IMAGES.value, least=1, most=images - 1)
    enough = -np.log(1 - _CONFIDENCE.value)
    random = np.random.default_rng(0)
    gaps, costs = {"promise": [], "none": []}, {"promise": [], "none": []}
    for _ in range(_TRIALS.value):
        is_calibration = np.zeros(images, bool)
        is_calibration[random.choice(images, _IMAGES.value, replace=False)] = True
        counts = [
            LossCounts(_IMAGES.value, *map(int, each))
            for each in zip(
                *(each[:, is_calibration].sum(axis=1) for each in (spoiled, mended, differing)),
                strict=True,
            )
        ]
        # Where nothing is shown, all images go to the last exit.
        kept = [evidence(each, risk, "accuracy_gap") >= enough for each in counts]
        places = {
            "promise": kept.index(False) - 1 if False in kept else len(kept) - 1,
            "none": max(
                (place for place, each in enumerate(counts) if each.loss("accuracy_gap") <= risk),
                default=-1,
            ),
        }
        for way, place in places.items():
            gap = 0.0
            if place >= 0:
                gap = (spoiled[place, ~is_calibration].mean()) - (
                    mended[place, ~is_calibration].mean()
                )
            gaps[way].append(gap)
            costs[way].append(cost[place].mean() if place >= 0 else cost.max())
    words = [
        f"broken {100 * np.mean(np.array(gaps[way]) > risk):.1f} %, "
        f"{np.mean(costs[way]) / 1e6:.2f} M MACs, {100 * np.mean(gaps[way]):.2f} points lost"
        for way in ("promise", "none")
    ]
    print(
        f"{run_dir}: at most {100 * risk:g} points, {_TRIALS.value:,} trials of {_IMAGES.value:,} "
        f"images: with the promise {words[0]}; without {words[1]}; whole {cost.max() / 1e6:.2f} M.",
        flush=True,
    )


if __name__ == "__main__":
    program.run(main, needs=("data",))
