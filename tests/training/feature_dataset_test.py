import functools

import keras
import numpy as np
import pytest

from tests.bounds import ROUNDING, apart
from tests.parts import assert_parts_are_the_whole
from tests.training.tiny_training import BATCH_SIZE, tiny_dataset, tiny_model
from tf_adaptive.errors import InputError
from tf_adaptive.exits.collaboration import with_collaboration
from tf_adaptive.exits.linear_exits import linear_exits, split_heads
from tf_adaptive.exits.losses import one_for_all_distillation
from tf_adaptive.training import multi_exit_phases
from tf_adaptive.training.feature_dataset import FeatureDataset, collect_features
from tf_adaptive.training.gradient_step import sgd
from tf_adaptive.training.multi_exit_phases import frozen_features
from tf_adaptive.training.multi_exit_step import TrainStep

EPOCHS = 2


def pairs(count, first=0):
    labels = np.arange(first, first + count, dtype="int32")
    return np.stack([labels, -labels], axis=1).astype("float32"), labels


def collected(batches):
    features, labels = zip(*batches, strict=True)
    return np.concatenate(features), np.concatenate(labels)


def test_every_epoch_is_one_pass_in_an_order_of_its_own():
    dataset = FeatureDataset([pairs(10), pairs(10, first=100)], validation=pairs(4))
    assert dataset.sizes == {"train": 10, "validation": 4}
    orders = []
    for epoch in range(4):
        features, labels = collected(dataset.training_batches(3, epoch=epoch, seed=0))
        np.testing.assert_array_equal(features[:, 0], labels)
        first = 100 * (epoch % 2)
        assert sorted(labels) == list(range(first, first + 10))
        orders.append(labels - first)
    assert len({tuple(order) for order in orders}) == 4
    again = collected(dataset.training_batches(3, epoch=2, seed=0))[1]
    np.testing.assert_array_equal(again, orders[2])
    rest = collected(dataset.training_batches(3, epoch=2, seed=0, first_batch=2))[1]
    np.testing.assert_array_equal(rest, orders[2][6:])
    _, labels = collected(dataset.batches("validation", 3))
    np.testing.assert_array_equal(labels, range(4))


def test_refuses():
    with pytest.raises(InputError, match="one or more passes"):
        FeatureDataset([], validation=pairs(4))
    with pytest.raises(InputError, match="`split` must be one of train, validation"):
        FeatureDataset([pairs(3)], validation=pairs(3)).batches("test", 2)


def test_streamed_features_are_of_each_epochs_own_images():
    model, dataset = tiny_model(), tiny_dataset()
    backbone, _ = split_heads(model, [feature for _, feature in linear_exits(model)])
    streamed = frozen_features(backbone, dataset, augmented_passes=None, seed=0, folder=None)
    assert streamed.sizes == {split: dataset.sizes[split] for split in ("train", "validation")}
    assert streamed.steps_per_epoch(BATCH_SIZE) == dataset.steps_per_epoch(BATCH_SIZE)
    of_epochs = []
    for epoch in range(2):
        order = {"epoch": epoch, "seed": 3}
        images, labels = collected(dataset.training_batches(BATCH_SIZE, **order))
        features, same_labels = collected(streamed.training_batches(BATCH_SIZE, **order))
        np.testing.assert_array_equal(labels, same_labels)
        assert apart(features, backbone(images).numpy()) < ROUNDING
        rest, _ = collected(streamed.training_batches(BATCH_SIZE, first_batch=1, **order))
        np.testing.assert_array_equal(rest, features[BATCH_SIZE:])
        of_epochs.append(features)
    # Shuffled and augmented anew.
    assert not np.isin(of_epochs[0][:, 0], of_epochs[1][:, 0]).all()
    features, labels = collected(streamed.batches("validation", BATCH_SIZE))
    images, same_labels = collected(dataset.batches("validation", BATCH_SIZE))
    np.testing.assert_array_equal(labels, same_labels)
    assert apart(features, backbone(images).numpy()) < ROUNDING
    assert streamed.some_training_features(5).shape == (5, features.shape[1])
    everything = streamed.some_training_features(10**6)
    assert len(everything) == dataset.sizes["train"]
    with pytest.raises(InputError, match="`split` must be one of validation"):
        streamed.batches("train", 2)


def test_features_on_disk_are_those_in_memory(tmp_path):
    model = tiny_model()
    backbone, _ = split_heads(model, [feature for _, feature in linear_exits(model)])
    batches = list(tiny_dataset().batches("train", BATCH_SIZE))
    count = sum(len(labels) for _, labels in batches)
    in_memory, labels = collect_features(backbone, batches)
    on_disk, same_labels = collect_features(backbone, batches, on_disk_in=tmp_path, count=count)
    np.testing.assert_array_equal(on_disk, in_memory)
    np.testing.assert_array_equal(same_labels, labels)
    # The file has no name: nothing is left where a training is killed.
    assert isinstance(on_disk, np.memmap)
    assert not list(tmp_path.iterdir())
    epochs = [
        collected(dataset.training_batches(BATCH_SIZE, epoch=0, seed=1))
        for dataset in (
            FeatureDataset([(features, labels)], validation=pairs(4))
            for features in (in_memory, on_disk)
        )
    ]
    np.testing.assert_array_equal(epochs[0][0], epochs[1][0])
    with pytest.raises(InputError, match="must fit on the disk"):
        collect_features(backbone, batches, on_disk_in=tmp_path / "nowhere", count=count)


def test_features_that_are_too_many_go_to_the_disk(tmp_path, monkeypatch):
    model = tiny_model()
    backbone, _ = split_heads(model, [feature for _, feature in linear_exits(model)])
    monkeypatch.setattr(multi_exit_phases, "MOST_BYTES_IN_MEMORY", 0)
    kept = []

    def collect(*arguments, **named):
        kept.append(named["on_disk_in"])
        return collect_features(*arguments, **named)

    monkeypatch.setattr(multi_exit_phases, "collect_features", collect)
    multi_exit_phases.frozen_features(
        backbone, tiny_dataset(), augmented_passes=1, seed=0, folder=tmp_path
    )
    assert kept == [tmp_path, tmp_path]


def collaborating_network():
    keras.utils.set_random_seed(0)
    phase_one = tiny_model()
    # Statistics that are not those of a new layer.
    for images, _ in tiny_dataset().training_batches(BATCH_SIZE, epoch=0, seed=0):
        phase_one(images, training=True)
    return phase_one, with_collaboration(phase_one)


def step_on(model, teacher):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1000], [0.1, 0.1])

    def loss(labels, logits, teacher_logits):
        return one_for_all_distillation(labels, logits, teacher_logits, alpha=0.3, temperature=2)[0]

    return TrainStep(model, sgd(schedule), loss, teacher=teacher, weight_decay=1e-4)


def test_training_on_features_is_training_on_images_over_a_frozen_network():
    images, labels = collected(tiny_dataset().batches("train", BATCH_SIZE))

    phase_one, on_features = collaborating_network()
    features = [feature for _, feature in linear_exits(phase_one)]
    backbone, heads = split_heads(on_features, features)
    _, first_heads = split_heads(phase_one, features)
    dataset = FeatureDataset([collect_features(backbone, [(images, labels)])], (images, labels))
    frozen_before = backbone.get_weights()
    step = step_on(heads, keras.Model(first_heads.input, first_heads.outputs[-1]))
    for epoch in range(EPOCHS):
        for batch in dataset.training_batches(BATCH_SIZE, epoch=epoch, seed=3):
            step(*batch)
    for before, after in zip(frozen_before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)

    phase_one, on_images = collaborating_network()
    for layer in phase_one.layers:
        layer.trainable = False
    # Frozen layers run as in inference, dropout apart, which only works on features here.
    dropouts = [layer for layer in on_images.layers if isinstance(layer, keras.layers.Dropout)]
    for layer in dropouts:
        layer.rate = 0.0
    step = step_on(on_images, keras.Model(phase_one.input, phase_one.outputs[-1]))
    for epoch in range(EPOCHS):
        order = np.random.default_rng((3, epoch)).permutation(len(labels))
        for start in range(0, len(labels), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            step(images[rows], labels[rows])

    for ours, theirs in zip(on_features.get_weights(), on_images.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_workers_see_their_part_of_every_batch():
    dataset = FeatureDataset([pairs(10)], validation=pairs(5))
    training = functools.partial(dataset.training_batches, 4, epoch=1, seed=3, first_batch=1)
    for batches_of in (training, functools.partial(dataset.batches, "validation", 4)):
        assert_parts_are_the_whole(batches_of, parts=2)
