"""Phase II of IMTA (Li et al. 2019): new exits on a finished, frozen network.

    python -m trainers.train_collaboration --run_dir runs/digits --output_dir runs/digits_imta

Exits see the prediction of the exit before (Inline Subnetwork Collaboration) and learn from the
run's last exit (One-for-all distillation). Nothing below the exits changes, so it is run once over
the images, or once per augmented pass, and the exits are trained on its features. The defaults are
the paper's for CIFAR; for ImageNet its code has --alpha 0.9 --temperature 1. Where the run is too
short for them they give way: the rate to features so large that exits would not settle, the teacher
to the labels where it is not the run's best exit.
"""

import warnings

import keras
from absl import flags

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.exits.linear_exits import linear_exits
from tf_adaptive.exits.losses import check_distillation
from tf_adaptive.programs import program
from tf_adaptive.programs.progress_bar import with_bar
from tf_adaptive.reports.logits import collect_logits
from tf_adaptive.runs.checks import check_is_preset
from tf_adaptive.runs.directory import load_finished_run
from tf_adaptive.training.multi_exit_phases import (
    FEATURE_BATCH_SIZE,
    feature_passes,
    phase_2_networks,
    phase_2_step,
)
from tf_adaptive.training.phase_2_checks import (
    exit_above_last,
    exits_made_worse,
    largest_stable_rate,
)

from .flags import second_run

flags.adopt_module_key_flags(second_run)
_RUN_DIR = flags.DEFINE_string("run_dir", None, "finished run of phase I", required=True)
_COLLABORATION = flags.DEFINE_bool("collaboration", True, "Inline Subnetwork Collaboration")
_DISTILLATION = flags.DEFINE_bool("distillation", True, "One-for-all distillation")
_ALPHA = flags.DEFINE_float(
    "alpha",
    None,
    "share of the labels beside the teacher, in [0, 1]; if unset 0.1, or 1 where an earlier exit "
    "of the run is better than its last, the teacher",
)
_TEMPERATURE = flags.DEFINE_float("temperature", 3.0, "temperature of the distillation")
_AUGMENTED_PASSES = flags.DEFINE_integer(
    "augmented_passes", 1, "passes over augmented images in turn; 0 for the images as they are"
)
_EPOCHS = flags.DEFINE_integer("epochs", 180, "passes over the features")
_SCHEDULE = flags.DEFINE_string("schedule", "multi_step", "multi_step or cosine")
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", None, "highest learning rate; if unset 0.1, or what the run's features bear"
)
_DROP_EPOCHS = flags.DEFINE_list(
    "drop_epochs", None, "epochs after which multi_step divides by 10; 1/2 and 3/4 if unset"
)

_PUBLISHED_ALPHA = 0.1
_PUBLISHED_LEARNING_RATE = 0.1


def main():
    check_distillation(_set_or(_ALPHA, _PUBLISHED_ALPHA), _TEMPERATURE.value)
    check_whole("augmented_passes", _AUGMENTED_PASSES.value, least=0)
    second_run.check_flags()
    if second_run.is_done():
        return
    if not (_COLLABORATION.value or _DISTILLATION.value):
        raise InputError(
            "Phase II must have collaboration, distillation or both. Received: --nocollaboration "
            "--nodistillation, which changes nothing worth a run."
        )
    config, trained = load_finished_run(_RUN_DIR.value)
    check_is_preset(trained, config)
    dataset = second_run.data_of(config)
    # Now, so that a flag it refuses costs nobody the features.
    _descent(dataset).learning_rate_schedule()

    keras.utils.set_random_seed(second_run.SEED.value)
    model, backbone, heads, teacher = phase_2_networks(trained, collaboration=_COLLABORATION.value)
    features = feature_passes(
        backbone,
        dataset,
        augmented_passes=_AUGMENTED_PASSES.value,
        seed=second_run.SEED.value,
        folder=_RUN_DIR.value,
        shown=with_bar,
    )
    before, labels = collect_logits(heads, features.batches("validation", FEATURE_BATCH_SIZE))
    _choose_unset(features, trained, before, labels)
    step = phase_2_step(
        heads,
        teacher if _DISTILLATION.value else None,
        _descent(dataset),
        alpha=_ALPHA.value,
        temperature=_TEMPERATURE.value,
    )
    second_run.train_to_end(
        step, features, model, epochs=_EPOCHS.value, config=config, dataset=dataset
    )
    _warn_of_exits_made_worse(heads, features, before, labels)


def _warn_of_exits_made_worse(heads, features, before, labels):
    """Warns of exits that answer the validation images worse than their logits `before` did."""
    after, _ = collect_logits(heads, features.batches("validation", FEATURE_BATCH_SIZE))
    worse = [
        f"exit {number} from {was:.2f} to {became:.2f} %"
        for number, was, became in exits_made_worse(before, after, labels)
    ]
    if worse:
        warnings.warn(
            f"phase II made exits worse on the {len(labels)} validation images: "
            f"{', '.join(worse)}. More --epochs, a lower --learning_rate or a higher --alpha may "
            "help; so may a longer phase I.",
            stacklevel=1,
        )


def _set_or(flag, value):
    return value if flag.value is None else flag.value


def _descent(dataset):
    return second_run.descent(
        dataset,
        schedule=_SCHEDULE.value,
        learning_rate=_set_or(_LEARNING_RATE, _PUBLISHED_LEARNING_RATE),
        epochs=_EPOCHS.value,
        drop_epochs=program.numbers(_DROP_EPOCHS),
    )


def _choose_unset(features, trained, logits, labels):
    """Gives --learning_rate and --alpha their values, and says so where they are not the paper's.

    Args:
        features: `FeatureDataset`.
        trained: the run's network.
        logits, labels: of its exits on the validation images.
    """
    if _LEARNING_RATE.value is None:
        stable = largest_stable_rate(
            features.training_features,
            [exit.shape[-1] for _, exit in linear_exits(trained)],
            momentum=second_run.MOMENTUM.value,
            nesterov=second_run.NESTEROV.value,
        )
        if stable < _PUBLISHED_LEARNING_RATE:
            print(
                f"learning_rate {stable:g} instead of {_PUBLISHED_LEARNING_RATE:g}, at which exits "
                "on features as large as this run's may not settle"
            )
        program.fill_unset(learning_rate=min(stable, _PUBLISHED_LEARNING_RATE))
    better = exit_above_last(logits, labels)
    if better and _DISTILLATION.value and _ALPHA.value != 1:
        number, right, right_last = better
        what = (
            "the exits learn from the labels alone, as with --alpha 1"
            if _ALPHA.value is None
            else "it teaches its mistakes too: --alpha 1 learns from the labels alone"
        )
        print(
            f"The run's last exit, the teacher, is right for {right_last} of {len(labels)} "
            f"validation images, exit {number} for {right}: {what}. A longer phase I makes the "
            "last exit the best."
        )
    program.fill_unset(alpha=1.0 if better else _PUBLISHED_ALPHA)


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
