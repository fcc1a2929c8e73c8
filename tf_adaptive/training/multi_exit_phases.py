"""The two phases that a network with several exits is trained in, as steps for `train`.

Phase II is IMTA's (Li et al. 2019), new exits on a finished, frozen network.
"""

import keras
import tensorflow as tf

from tf_adaptive.errors import InputError, check_whole
from tf_adaptive.exits.collaboration import with_collaboration
from tf_adaptive.exits.gradient_equilibrium import trunk_variables
from tf_adaptive.exits.linear_exits import linear_exits, split_heads, with_own_exits
from tf_adaptive.exits.losses import (
    check_distillation,
    check_exit_weights,
    check_leaving_share,
    leaving_weights,
    multi_exit_cross_entropy,
    one_for_all_distillation,
)
from tf_adaptive.graph.calls import open_nested
from tf_adaptive.graph.weights import weights_in_pairs
from tf_adaptive.training.feature_dataset import (
    FeatureDataset,
    StreamedFeatures,
    collect_features,
)
from tf_adaptive.training.multi_exit_step import TrainStep

FEATURE_BATCH_SIZE = 256
MOST_BYTES_IN_MEMORY = 2 * 10**9


def phase_1_step(
    model,
    descent,
    *,
    exit_weights=None,
    last_exit_epochs=0,
    alpha=1.0,
    temperature=3.0,
    teacher_momentum=None,
    leaving_share=0.0,
    pruning=None,
    updates_of=None,
):
    """The step that trains the whole network on all its exits.

    Args:
        model: functional `keras.Model` with K exits.
        descent: `Descent`.
        exit_weights: see `multi_exit_cross_entropy`.
        last_exit_epochs: epochs at the beginning in which the last exit's loss alone counts, which
            trains the backbone first and all exits with it then.
        alpha, temperature: see `one_for_all_distillation`; the last exit teaches. 1 for none.
        teacher_momentum: with distillation, makes a running average of the network the teacher,
            see `TrainStep`; None for the network itself.
        leaving_share: see `leaving_weights`; 0 for none.
        pruning: see `GradientStep`.
        updates_of: see `TrainStep`.

    Returns:
        `TrainStep`.

    Raises:
        InputError: a number out of range.
    """
    check_distillation(alpha, temperature)
    check_leaving_share(leaving_share)
    check_teacher_momentum(teacher_momentum, alpha)
    check_whole("last_exit_epochs", last_exit_epochs, least=0, most=descent.epochs)
    if leaving_share and tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise InputError(
            "`leaving_share` must be 0 on several replicas, each of which would rank its own part "
            f"of a batch. Received: leaving_share={leaving_share}."
        )
    optimizer = descent.optimizer()
    weights = check_exit_weights(exit_weights, len(model.outputs))
    first_weights = [0.0] * (len(weights) - 1) + [1.0]
    first_steps = last_exit_epochs * descent.steps_per_epoch

    def loss(labels, logits, *teacher_logits):
        settings = {"label_smoothing": descent.label_smoothing}
        if leaving_share:
            settings["sample_weights"] = leaving_weights(logits, leaving_share)
        if alpha == 1:
            _, exit_losses = multi_exit_cross_entropy(labels, logits, **settings)
        else:
            (teacher,) = teacher_logits or logits[-1:]
            _, exit_losses = one_for_all_distillation(
                labels, logits, teacher, alpha=alpha, temperature=temperature, **settings
            )
        now = weights
        if first_steps:
            now = tf.where(optimizer.iterations.value < first_steps, first_weights, weights)
        return sum(now[place] * of_exit for place, of_exit in enumerate(exit_losses))

    return TrainStep(
        model,
        optimizer,
        loss,
        teacher=None if teacher_momentum is None else _copy(model),
        teacher_momentum=teacher_momentum,
        weight_decay=descent.weight_decay,
        pruning=pruning,
        updates_of=updates_of,
    )


def check_teacher_momentum(momentum, alpha):
    """Refuses a `teacher_momentum` outside [0, 1), or one without distillation."""
    if momentum is None:
        return
    if not 0 <= momentum < 1:
        raise InputError(
            "`teacher_momentum` must be at least 0 and below 1. "
            f"Received: teacher_momentum={momentum}."
        )
    if alpha == 1:
        raise InputError(
            "`teacher_momentum` must come with distillation, an alpha below 1. "
            f"Received: teacher_momentum={momentum}, alpha={alpha}."
        )


def _copy(model):
    copy = type(model).from_config(model.get_config())
    for weight, original in weights_in_pairs(copy, model):
        weight.assign(original)
    return copy


def kernels_by_stage(model):
    """The kernels of each stage's trunk by "stage_1" to "stage_K", for `updates_of`.

    Args:
        model: see `trunk_variables`.
    """
    return {
        f"stage_{number}": [variable for variable in trunk if len(variable.shape) > 1]
        for number, trunk in enumerate(trunk_variables(model), start=1)
    }


def phase_2_networks(trained, *, collaboration_path):
    """A trained network with new exits, and its parts for training them on features.

    Args:
        trained: functional `keras.Model` with K exits, as `with_collaboration` takes.
        collaboration_path: see `with_collaboration`; None for exits that see nothing of the one
            before.

    Returns:
        `(model, backbone, heads, teacher)`: the whole network, which answers what `trained` does
        at first; from images to all exits' features `(batch, features)`; from these to the K new
        exits' logits; and from these to the logits of the last exit of `trained`.

    Raises:
        InputError: what `with_collaboration` raises.
    """
    trained = open_nested(trained)
    if collaboration_path is None:
        model = with_own_exits(trained)
    else:
        model = with_collaboration(trained, path=collaboration_path)
    features = [feature for _, feature in linear_exits(trained)]
    backbone, heads = split_heads(model, features)
    _, first_heads = split_heads(trained, features)
    return model, backbone, heads, keras.Model(first_heads.input, first_heads.outputs[-1])


def phase_2_step(heads, teacher, descent, *, alpha, temperature):
    """The step that trains new exits on features.

    Args:
        heads, teacher: of `phase_2_networks`; no teacher for cross-entropy alone.
        descent: `Descent`; its `label_smoothing` is not used.
        alpha, temperature: see `one_for_all_distillation`.

    Returns:
        `TrainStep`.

    Raises:
        InputError: a number out of range.
    """

    def cross_entropy(labels, logits):
        return multi_exit_cross_entropy(labels, logits)[0]

    def distillation(labels, logits, teacher_logits):
        return one_for_all_distillation(
            labels, logits, teacher_logits, alpha=alpha, temperature=temperature
        )[0]

    return TrainStep(
        heads,
        descent.optimizer(),
        cross_entropy if teacher is None else distillation,
        teacher=teacher,
        weight_decay=descent.weight_decay,
    )


def frozen_features(backbone, dataset, *, augmented_passes, seed, folder, shown=None):
    """What a frozen backbone makes of the images, for training exits on it.

    Args:
        backbone: of `phase_2_networks` or of `tf_adaptive.exits.frozen.split_frozen`.
        dataset: `ImageDataset`.
        augmented_passes: None to run it in every epoch, on images augmented anew. Else the number
            of passes over augmented images whose features are kept, and that epochs take in turn;
            0 for one pass over them as they are.
        seed: what order and augmentation of the kept passes are drawn from.
        folder: where features of more than `MOST_BYTES_IN_MEMORY` are kept while they are needed.
        shown: None, or a function of batches, the number of their images, of those in a batch, and
            what they are for, which gives the batches again and may show how far they are.

    Returns:
        `FeatureDataset`, or `StreamedFeatures` without kept passes.
    """
    kept = 0 if augmented_passes is None else max(1, augmented_passes)
    images = kept * dataset.sizes["train"] + dataset.sizes["validation"]
    on_disk = 4 * backbone.output_shape[-1] * images > MOST_BYTES_IN_MEMORY

    def collected(batches, split, what):
        count = dataset.sizes[split]
        return collect_features(
            backbone,
            shown(batches, count, FEATURE_BATCH_SIZE, what) if shown else batches,
            on_disk_in=folder if on_disk else None,
            count=count,
        )

    batches = dataset.batches("validation", FEATURE_BATCH_SIZE)
    validation = collected(batches, "validation", "features for validation")
    if augmented_passes is None:
        return StreamedFeatures(backbone, dataset, validation)
    if augmented_passes == 0:
        batches = dataset.batches("train", FEATURE_BATCH_SIZE)
        return FeatureDataset([collected(batches, "train", "features")], validation)
    passes = [
        collected(
            dataset.training_batches(FEATURE_BATCH_SIZE, epoch=number, seed=seed),
            "train",
            f"features, pass {number + 1} of {augmented_passes}",
        )
        for number in range(augmented_passes)
    ]
    return FeatureDataset(passes, validation)
