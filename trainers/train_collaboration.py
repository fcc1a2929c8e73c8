"""Phase II of IMTA (Li et al. 2019): new exits on a finished, frozen network.

    python -m trainers.train_collaboration --run_dir runs/digits --output_dir runs/digits_imta

Exits see the prediction of the exit before (Inline Subnetwork Collaboration) and learn from the
run's last exit (One-for-all distillation); without either (--nocollaboration --nodistillation) the
run's own exits are trained on, the control of equal epochs. What is unset is the paper's for the
run's preset. Every epoch augments its images anew and runs the frozen network on them; the
features of a few passes can be kept instead (--augmented_passes), which is many times as fast and
trains the exits on fewer different images. Where the run is too short for the paper's settings
they give way: the rate to features so large that exits would not settle, the teacher to the labels
where it is not the run's best exit.
"""

import warnings

import keras
from absl import flags

from tf_adaptive.errors import check_choice, check_whole
from tf_adaptive.exits.collaboration import PATHS
from tf_adaptive.exits.linear_exits import linear_exits
from tf_adaptive.exits.losses import check_distillation
from tf_adaptive.programs import program
from tf_adaptive.programs.progress_bar import with_bar
from tf_adaptive.reports.logits import logits_collector
from tf_adaptive.runs.checks import check_is_preset
from tf_adaptive.runs.directory import load_finished_run
from tf_adaptive.training.multi_exit_phases import (
    FEATURE_BATCH_SIZE,
    frozen_features,
    phase_2_networks,
    phase_2_step,
)
from tf_adaptive.training.phase_2_checks import (
    MOMENTS_IMAGES,
    exit_above_last,
    exits_made_worse,
    largest_stable_rate,
)
from tf_adaptive.training.recipes import published_phase_2_recipe
from tf_adaptive.training.strategy import check_batch_size

from .flags import second_run
from .flags import strategy as strategy_flags

flags.adopt_module_key_flags(second_run)
flags.adopt_module_key_flags(strategy_flags)
_RUN_DIR = flags.DEFINE_string("run_dir", None, "finished run of phase I", required=True)
_COLLABORATION = flags.DEFINE_bool("collaboration", True, "Inline Subnetwork Collaboration")
_COLLABORATION_PATH = flags.DEFINE_string(
    "collaboration_path",
    "prediction",
    "what an exit sees of the one before: prediction, as published; features; identity, the logits",
)
_DISTILLATION = flags.DEFINE_bool("distillation", True, "One-for-all distillation")
_ALPHA = flags.DEFINE_float(
    "alpha",
    None,
    "share of the labels beside the teacher, in [0, 1]; if unset the published one, or 1 where an "
    "earlier exit of the run is better than its last, the teacher",
)
_TEMPERATURE = flags.DEFINE_float(
    "temperature", None, "temperature of the distillation; the published one if unset"
)
_AUGMENTED_PASSES = flags.DEFINE_integer(
    "augmented_passes",
    None,
    "passes over augmented images whose features are kept, for epochs in turn; 0 for the images as "
    "they are; if unset every epoch augments anew and nothing is kept",
)
_EPOCHS = flags.DEFINE_integer(
    "epochs", None, "passes over the images; the published ones if unset"
)
_SCHEDULE = flags.DEFINE_string("schedule", "multi_step", "multi_step or cosine")
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", None, "highest learning rate; if unset 0.1, or what the run's features bear"
)
_DROP_EPOCHS = flags.DEFINE_list(
    "drop_epochs", None, "epochs after which multi_step divides by 10; the published if unset"
)

_PUBLISHED_LEARNING_RATE = 0.1


def main():
    check_distillation(_set_or(_ALPHA, 1.0), _set_or(_TEMPERATURE, 1.0))
    if _AUGMENTED_PASSES.value is not None:
        check_whole("augmented_passes", _AUGMENTED_PASSES.value, least=0)
    check_choice("collaboration_path", _COLLABORATION_PATH.value, PATHS)
    second_run.check_flags()
    devices = strategy_flags.chosen()
    if second_run.is_done(devices):
        return
    with devices.scope():
        config, trained = load_finished_run(_RUN_DIR.value)
    check_is_preset(trained, config)
    recipe = published_phase_2_recipe(config["preset"])
    program.fill_unset(**{name: recipe[name] for name in ("epochs", "batch_size", "temperature")})
    check_batch_size(second_run.BATCH_SIZE.value, devices.replicas)
    dataset = second_run.data_of(config)
    # Now, so that a flag it refuses costs nobody the features.
    _descent(dataset, recipe).learning_rate_schedule()

    keras.utils.set_random_seed(second_run.SEED.value)
    with devices.scope():
        model, backbone, heads, teacher = phase_2_networks(
            trained,
            collaboration_path=_COLLABORATION_PATH.value if _COLLABORATION.value else None,
        )
    features = frozen_features(
        backbone,
        dataset,
        augmented_passes=_AUGMENTED_PASSES.value,
        seed=second_run.SEED.value,
        folder=_RUN_DIR.value,
        shown=with_bar,
    )
    answers = logits_collector(heads)
    before, labels = answers(features.batches("validation", FEATURE_BATCH_SIZE))
    _choose_unset(features, trained, before, labels, recipe["alpha"])
    with devices.scope():
        step = phase_2_step(
            heads,
            teacher if _DISTILLATION.value else None,
            _descent(dataset, recipe),
            alpha=_ALPHA.value,
            temperature=_TEMPERATURE.value,
        )
    second_run.train_to_end(
        step,
        features,
        model,
        devices=devices,
        epochs=_EPOCHS.value,
        config=config,
        dataset=dataset,
    )
    after, _ = answers(features.batches("validation", FEATURE_BATCH_SIZE))
    _warn_of_exits_made_worse(before, after, labels)


def _warn_of_exits_made_worse(before, after, labels):
    """Warns of exits that answer validation images worse than before; see `exits_made_worse`."""
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


def _descent(dataset, recipe):
    descent = second_run.descent(
        dataset,
        schedule=_SCHEDULE.value,
        learning_rate=_set_or(_LEARNING_RATE, _PUBLISHED_LEARNING_RATE),
        epochs=_EPOCHS.value,
        drop_epochs=program.numbers(_DROP_EPOCHS),
    )
    return descent.with_drop_shares(recipe["drop_shares"])


def _choose_unset(features, trained, logits, labels, published_alpha):
    """Gives --learning_rate and --alpha their values, and says so where they are not the paper's.

    Args:
        features: of `frozen_features`.
        trained: the run's network.
        logits, labels: of its exits on the validation images.
        published_alpha: the paper's --alpha.
    """
    if _LEARNING_RATE.value is None:
        stable = largest_stable_rate(
            features.some_training_features(MOMENTS_IMAGES),
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
    program.fill_unset(alpha=1.0 if better else published_alpha)


if __name__ == "__main__":
    program.run(main, needs=("data", "report", "programs"))
