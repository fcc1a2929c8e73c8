"""The two phases that a DRNet is trained in, as steps for `train`: the classifier, then routing."""

import pathlib

from tf_adaptive.errors import InputError
from tf_adaptive.exits.losses import multi_exit_cross_entropy
from tf_adaptive.routing.losses import flops_regularized_cross_entropy
from tf_adaptive.runs.directory import load_finished_run
from tf_adaptive.training.multi_exit_step import TrainStep
from tf_adaptive.training.routed_step import RoutedStep
from tf_adaptive.training.schedules import temperature_schedule

# Where the paper divides the rate by 10: every 20 of 70 epochs and every 30 of 100.
_CLASSIFIER_DROPS = (2 / 7, 4 / 7, 6 / 7)
_ROUTING_DROPS = (0.3, 0.6, 0.9)


def classifier_step(model, descent):
    """The first phase's step, which trains the classifier at all resolutions, their losses summed.

    Args:
        model: `tf_adaptive.DRNet`.
        descent: `Descent`; without `drop_epochs`, "multi_step" drops where the paper does, at its
            shares of the epochs.

    Returns:
        `TrainStep`.

    Raises:
        InputError: a number out of range.
    """

    def loss(labels, logits):
        return multi_exit_cross_entropy(labels, logits, label_smoothing=descent.label_smoothing)[0]

    return TrainStep(
        model.every_resolution(),
        descent.with_drop_shares(_CLASSIFIER_DROPS).optimizer(),
        loss,
        output_names=[f"resolution_{resolution}" for resolution in model.resolutions],
        weight_decay=descent.weight_decay,
    )


def routing_step(
    model,
    costs,
    descent,
    *,
    target_gflops,
    flops_weight,
    temperature,
    final_temperature,
    predictor_learning_rate_factor,
    dense,
    pruning=None,
):
    """The second phase's step, which trains predictor and classifier.

    Each image is seen at the resolution that is drawn for it, and in dense batches at all of them.

    Args:
        model: `tf_adaptive.DRNet`, of `temperature`.
        costs: what `tf_adaptive.branch_costs` gives for it.
        descent: `Descent`, see `classifier_step`; its rate is the classifier's.
        target_gflops, flops_weight: see `flops_regularized_cross_entropy`.
        temperature: of the choice at first.
        final_temperature: of the choice at the end; None for that at first.
        predictor_learning_rate_factor: the predictor's rate beside the classifier's.
        dense: see `RoutedStep`.
        pruning: see `GradientStep`.

    Returns:
        `RoutedStep`.

    Raises:
        InputError: a number out of range.
    """

    def loss(labels, routed):
        return flops_regularized_cross_entropy(
            labels,
            routed["logits"],
            routed["one_hot"],
            branch_gflops=costs.branch_gflops,
            target_gflops=target_gflops,
            flops_weight=flops_weight,
            label_smoothing=descent.label_smoothing,
        )

    dropping = descent.with_drop_shares(_ROUTING_DROPS)
    optimizers = [dropping.optimizer(factor) for factor in (1.0, predictor_learning_rate_factor)]
    temperatures = None
    if final_temperature is not None:
        temperatures = temperature_schedule(temperature, final_temperature, steps=descent.steps)
    return RoutedStep(
        model,
        *optimizers,
        loss,
        costs,
        dense=dense,
        temperature_schedule=temperatures,
        weight_decay=descent.weight_decay,
        pruning=pruning,
    )


def load_classifier_phase(run_dir, *, resolutions, config):
    """The network of another run's finished first phase, refused where it does not fit.

    It fits when it was trained on the same images and classes at these resolutions, others
    smaller than the largest beside them. The validation and test images must be the same; of its
    training images, fewer may be trained on now.

    Args:
        run_dir: directory of the other run, which has the phase in its folder `stage_1`.
        resolutions: the candidates, largest first.
        config: dict with the "preset" and "dataset" of the new run and what
            `ImageDataset.description` gives.

    Returns:
        `tf_adaptive.DRNet`.

    Raises:
        InputError: that phase is not there, unfinished, or was trained on something else.
    """
    stored, model = load_finished_run(pathlib.Path(run_dir) / "stage_1")

    def refuse(name, before, now):
        raise InputError(
            f"`{name}` must be that of the stage 1 in {run_dir}, {before!r}. "
            f"Received: {name}={now!r}."
        )

    for name in ("preset", "dataset", "image_shape", "class_names"):
        if stored.get(name) != config[name]:
            refuse(name, stored.get(name), config[name])
    shared = [settings.get("shared_batch_norm", False) for settings in (stored, config)]
    if shared[0] != shared[1]:
        refuse("shared_batch_norm", *shared)
    if not set(resolutions) <= set(model.resolutions):
        refuse("resolutions", list(model.resolutions), list(resolutions))
    before, now = stored.get("sizes", {}), config["sizes"]
    same = all(before.get(split) == now[split] for split in ("validation", "test"))
    if not same or before.get("train", 0) < now["train"]:
        refuse("sizes", before, now)
    return model


def take_classifier(model, trained):
    """Gives a DRNet the classifier of one that was trained at its resolutions, and maybe at more.

    Its predictor and its choice stay as they are.

    Args:
        model, trained: `tf_adaptive.DRNet` with the same classifier.
    """
    branches = dict(zip(trained.resolutions, trained.branches, strict=True))
    for resolution, branch in zip(model.resolutions, model.branches, strict=True):
        branch.set_weights(branches[resolution].get_weights())
