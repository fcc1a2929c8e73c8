"""A network, images and settings small enough to train in a test."""

import keras
import numpy as np

from tf_adaptive.data.array_images import array_dataset
from tf_adaptive.exits.losses import multi_exit_cross_entropy
from tf_adaptive.training import TrainStep, learning_rate_schedule, sgd, train

CLASSES = 3
BATCH_SIZE = 8
# The last of them is half full.
STEPS_PER_EPOCH = 6
EPOCHS = 3
CONFIG = {"batch_size": BATCH_SIZE, "epochs": EPOCHS}


def tiny_dataset():
    """44 training, 12 validation and 12 test images `(8, 8, 1)`, brighter class by class."""
    generator = np.random.default_rng(0)
    labels = np.arange(68) % CLASSES
    images = 80 * labels[:, None, None, None] + generator.integers(0, 90, (68, 8, 8, 1))
    images = images.astype("uint8")
    return array_dataset(
        "tiny",
        class_names=["dark", "grey", "bright"],
        training=(images[:56], labels[:56]),
        test=(images[56:], labels[56:]),
        train_size=44,
        validation_size=12,
        seed=0,
        flip=True,
    )


def tiny_model(width=4, dtype="float32", dropout=0.2):
    """Two exits; with batch norm's statistics and dropout's random state, both to be restored."""
    images = keras.Input((8, 8, 1))
    logits = []
    features = images
    for _ in range(2):
        features = keras.layers.Conv2D(width, 3, strides=2, padding="same", dtype=dtype)(features)
        features = keras.layers.BatchNormalization(dtype=dtype)(features)
        features = keras.layers.ReLU(dtype=dtype)(features)
        pooled = keras.layers.GlobalAveragePooling2D(dtype=dtype)(features)
        pooled = keras.layers.Dropout(dropout, dtype=dtype)(pooled)
        logits.append(keras.layers.Dense(CLASSES, dtype="float32")(pooled))
    return keras.Model(images, logits)


def cross_entropy(labels, logits):
    return multi_exit_cross_entropy(labels, logits)[0]


def tiny_step(model, step_class=TrainStep):
    schedule = learning_rate_schedule(
        "cosine", learning_rate=0.1, epochs=EPOCHS, steps_per_epoch=STEPS_PER_EPOCH
    )
    return step_class(model, sgd(schedule), cross_entropy, weight_decay=1e-4)


def train_tiny(run_dir, *, step_class=TrainStep, **arguments):
    """Trains a new tiny model, always of the same first weights, and returns it."""
    keras.utils.set_random_seed(0)
    model = tiny_model()
    arguments = {
        "epochs": EPOCHS,
        "batch_size": BATCH_SIZE,
        "seed": 1,
        "run_dir": run_dir,
        "config": CONFIG,
        "checkpoint_steps": 2,
    } | arguments
    train(tiny_step(model, step_class), tiny_dataset(), **arguments)
    return model
