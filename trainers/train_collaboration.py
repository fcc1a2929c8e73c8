"""Phase II of IMTA (Li et al. 2019): new exits on a finished, frozen network.

    python -m trainers.train_collaboration --run_dir runs/digits --output_dir runs/digits_imta

Exits see the prediction of the exit before (Inline Subnetwork Collaboration) and learn from the
run's last exit (One-for-all distillation). Nothing below the exits changes, so it is run once over
the images, or once per augmented pass, and the exits are trained on its features. The defaults are
the paper's for CIFAR; for ImageNet its code has --alpha 0.9 --temperature 1.
"""

import keras
from absl import flags

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.losses import check_distillation
from tf_adaptive.training.multi_exit_phases import (
    feature_passes,
    phase_2_networks,
    phase_2_step,
)
from tf_adaptive.training.run_directory import load_finished_run
from tf_adaptive.training.schedules import learning_rate_schedule
from trainers import networks, program, second_run
from trainers.progress_bar import with_bar

flags.adopt_module_key_flags(second_run)
_RUN_DIR = flags.DEFINE_string("run_dir", None, "finished run of phase I", required=True)
_COLLABORATION = flags.DEFINE_bool("collaboration", True, "Inline Subnetwork Collaboration")
_DISTILLATION = flags.DEFINE_bool("distillation", True, "One-for-all distillation")
_ALPHA = flags.DEFINE_float("alpha", 0.1, "share of the labels beside the teacher, in [0, 1]")
_TEMPERATURE = flags.DEFINE_float("temperature", 3.0, "temperature of the distillation")
_AUGMENTED_PASSES = flags.DEFINE_integer(
    "augmented_passes", 1, "passes over augmented images in turn; 0 for the images as they are"
)
_EPOCHS = flags.DEFINE_integer("epochs", 180, "passes over the features")
_SCHEDULE = flags.DEFINE_string("schedule", "multi_step", "multi_step or cosine")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 0.1, "highest learning rate")
_DROP_EPOCHS = flags.DEFINE_list(
    "drop_epochs", None, "epochs after which multi_step divides by 10; 1/2 and 3/4 if unset"
)


def main():
    check_distillation(_ALPHA.value, _TEMPERATURE.value)
    check_whole("augmented_passes", _AUGMENTED_PASSES.value, least=0)
    second_run.check_flags()
    if not (_COLLABORATION.value or _DISTILLATION.value):
        raise InputError(
            "Phase II must have collaboration, distillation or both. Received: --nocollaboration "
            "--nodistillation, which changes nothing worth a run."
        )
    config, trained = load_finished_run(_RUN_DIR.value)
    networks.check_is_preset(trained, config)
    dataset = second_run.data_of(config)
    schedule = learning_rate_schedule(
        _SCHEDULE.value,
        learning_rate=_LEARNING_RATE.value,
        epochs=_EPOCHS.value,
        steps_per_epoch=dataset.steps_per_epoch(second_run.BATCH_SIZE.value),
        drop_epochs=program.numbers(_DROP_EPOCHS),
    )

    keras.utils.set_random_seed(second_run.SEED.value)
    model, backbone, heads, teacher = phase_2_networks(trained, collaboration=_COLLABORATION.value)
    step = phase_2_step(
        heads,
        teacher if _DISTILLATION.value else None,
        schedule,
        alpha=_ALPHA.value,
        temperature=_TEMPERATURE.value,
        momentum=second_run.MOMENTUM.value,
        nesterov=second_run.NESTEROV.value,
        weight_decay=second_run.WEIGHT_DECAY.value,
    )

    features = feature_passes(
        backbone,
        dataset,
        augmented_passes=_AUGMENTED_PASSES.value,
        seed=second_run.SEED.value,
        folder=_RUN_DIR.value,
        shown=with_bar,
    )
    second_run.train_to_end(
        step, features, model, epochs=_EPOCHS.value, config=config, dataset=dataset
    )


if __name__ == "__main__":
    program.run(main)
