"""The two phases that a network with several exits is trained in, as steps for `train`.

Phase II is IMTA's (Li et al. 2019), new exits on a finished, frozen network.
"""

import keras

from tf_adaptive.exits.collaboration import with_collaboration
from tf_adaptive.exits.gradient_equilibrium import trunk_variables
from tf_adaptive.exits.linear_exits import linear_exits, split_heads, with_own_exits
from tf_adaptive.exits.losses import multi_exit_cross_entropy, one_for_all_distillation
from tf_adaptive.graph.calls import open_nested
from tf_adaptive.training.feature_dataset import (
    FeatureDataset,
    StreamedFeatures,
    collect_features,
)
from tf_adaptive.training.multi_exit_step import TrainStep

FEATURE_BATCH_SIZE = 256
MOST_BYTES_IN_MEMORY = 2 * 10**9


def phase_1_step(model, descent, *, exit_weights=None, pruning=None, updates_of=None):
    """The step that trains the whole network on all its exits.

    Args:
        model: functional `keras.Model` with K exits.
        descent: `Descent`.
        exit_weights: see `multi_exit_cross_entropy`.
        pruning: see `GradientStep`.
        updates_of: see `TrainStep`.

    Returns:
        `TrainStep`.

    Raises:
        InputError: a number out of range.
    """

    def loss(labels, logits):
        return multi_exit_cross_entropy(
            labels,
            logits,
            exit_weights=exit_weights,
            label_smoothing=descent.label_smoothing,
        )[0]

    return TrainStep(
        model,
        descent.optimizer(),
        loss,
        weight_decay=descent.weight_decay,
        pruning=pruning,
        updates_of=updates_of,
    )


def kernels_by_stage(model):
    """The kernels of each stage's trunk by "stage_1" to "stage_K", for `updates_of`.

    Args:
        model: see `trunk_variables`.
    """
    return {
        f"stage_{number}": [variable for variable in trunk if len(variable.shape) > 1]
        for number, trunk in enumerate(trunk_variables(model), start=1)
    }


def phase_2_networks(trained, *, collaboration):
    """A trained network with new exits, and its parts for training them on features.

    Args:
        trained: functional `keras.Model` with K exits, as `with_collaboration` takes.
        collaboration: whether the exits see the prediction of the exit before.

    Returns:
        `(model, backbone, heads, teacher)`: the whole network, which answers what `trained` does
        at first; from images to all exits' features `(batch, features)`; from these to the K new
        exits' logits; and from these to the logits of the last exit of `trained`.

    Raises:
        InputError: what `with_collaboration` raises.
    """
    trained = open_nested(trained)
    model = with_collaboration(trained) if collaboration else with_own_exits(trained)
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
