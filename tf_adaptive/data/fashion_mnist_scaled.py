"""Fashion-MNIST objects at many scales on a cluttered canvas: some need resolution, some not."""

import numpy as np
import tensorflow as tf

from tf_adaptive.data.augmentation import random_shift_and_flip
from tf_adaptive.data.image_dataset import ImageDataset
from tf_adaptive.data.splits import split_training
from tf_adaptive.data.tfds_source import prepared_builder, read_arrays
from tf_adaptive.errors import check_whole
from tf_adaptive.parts import WHOLE, positions_of_part, rows_of_part

_DEFAULT_IMAGE_SIZE = 96
_OBJECT_SIZE = 28  # pixels of a Fashion-MNIST image's side
_SCALES = (0.25, 1.0)  # of the canvas's side

_FRAGMENTS = 6
_FRAGMENT_SIZE = 10  # pixels cut from another image
_NOISE_FIELDS = 256
_NOISE_LEVELS = 80
_BACKGROUND_BRIGHTNESS = 0.6  # fragments and noise stay below the brightest objects
_OPAQUE_BRIGHTNESS = 96  # where an object is darker, the background shines through

# One set of images for every run, whatever the seed of its splits and of its training.
_TRAINING_SEED, _TEST_SEED, _NOISE_SEED = 50, 51, 52

# Of the 60,000 training images at the default size, for pixels in [0, 1].
_MEAN = (0.2618,)
_STD = (0.2551,)


class Canvases:
    """What is drawn for each image beside the object itself: its scale, its place, the clutter.

    Args:
        count: number of canvases, and of the images that fragments are cut from.
        seed: int.

    Attributes:
        scales: float32 `(canvases,)`, the object's side as a part of the canvas's.
        places: float32 `(canvases, 2)`, where the object is from top to bottom and from left
            to right; at 0 and 1 it touches the borders.
        fragment_sources: int32 `(canvases, fragments)`, which image each fragment is cut from.
        fragment_corners: int32 `(canvases, fragments, 2)`, its top and left pixel there.
        fragment_scales, fragment_places: as for the object, with one more axis; the scale is
            that of the image which the fragment is cut from.
        noise: int32 `(canvases,)`, which of the noise fields lies under it.
    """

    def __init__(self, count, *, seed):
        generator = np.random.default_rng(seed)

        def uniform(least, most, *shape):
            return _on_cpu(generator.uniform(least, most, (count, *shape)), tf.float32)

        def integers(least, most, *shape):
            values = generator.integers(least, most, (count, *shape), endpoint=True)
            return _on_cpu(values, tf.int32)

        self.scales = uniform(*_SCALES)
        self.places = uniform(0, 1, 2)
        self.fragment_sources = integers(0, count - 1, _FRAGMENTS)
        # Not from the borders of the images, which are mostly black.
        last = _OBJECT_SIZE - _FRAGMENT_SIZE
        self.fragment_corners = integers(last // 4, last - last // 4, _FRAGMENTS, 2)
        self.fragment_scales = uniform(*_SCALES, _FRAGMENTS)
        self.fragment_places = uniform(0, 1, _FRAGMENTS, 2)
        self.noise = integers(0, _NOISE_FIELDS - 1)


class ScaledImages:
    """One split: each object on its own canvas, drawn when it is needed.

    In training each pass puts an object on the canvas of another image of the split, and
    flips half of the images. A shift, as other images in memory get, would push small objects
    over the border.

    Args:
        objects: uint8 tensor `(images, 28, 28)`, also what the fragments are cut from.
        labels: int32 tensor `(images,)`.
        canvases: `Canvases`, one for each object.
        positions: int array, which of the objects are in this split.
        image_size: height and width of the canvas in pixels.

    Attributes:
        object_scales: float32 `(len(positions),)`, the scale of each image in `batches`.
    """

    center_crop = False

    def __init__(self, objects, labels, canvases, positions, *, image_size):
        self.objects = objects
        self.labels = labels
        self.canvases = canvases
        self.positions = _on_cpu(positions, tf.int32)
        self.image_shape = (image_size, image_size, 1)
        self.object_scales = canvases.scales.numpy()[positions]
        generator = np.random.default_rng(_NOISE_SEED)
        noise_shape = (_NOISE_FIELDS, image_size, image_size)
        self._noise = _on_cpu(generator.integers(_NOISE_LEVELS, size=noise_shape), tf.uint8)

    def __len__(self):
        return len(self.positions)

    def shuffled_batches(
        self, batch_size, *, order_seed, augmentation_seed, first_batch, part=WHOLE
    ):
        order = np.random.default_rng(order_seed).permutation(self.positions.numpy())

        def augment(batch, positions):
            canvas_seed, flip_seed = tf.unstack(
                tf.random.split(tf.random.fold_in(augmentation_seed, batch), 2)
            )
            drawn = tf.random.stateless_uniform(
                tf.shape(positions), canvas_seed, maxval=len(self), dtype=tf.int32
            )
            images = self._compose(positions, tf.gather(self.positions, drawn))
            images = random_shift_and_flip(images, flip_seed, padding=0, flip=True)
            # Drawn for the whole batch, of which a worker sees its rows.
            first, last = rows_of_part(tf.size(positions), part)
            return images[first:last], self._labels(positions[first:last])

        return (
            tf.data.Dataset.from_tensor_slices(order[first_batch * batch_size :])
            .batch(batch_size)
            .enumerate(first_batch)
            .map(augment, num_parallel_calls=tf.data.AUTOTUNE)
        )

    def batches(self, batch_size, part=WHOLE):
        own = positions_of_part(len(self), batch_size, first_batch=0, part=part)
        return (
            tf.data.Dataset.from_tensor_slices(tf.gather(self.positions, own))
            .batch(batch_size // part[1])
            .map(
                lambda positions: (self._compose(positions, positions), self._labels(positions)),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        )

    def pictures(self, indices):
        positions = tf.gather(self.positions, indices)
        return list(self._compose(positions, positions).numpy())

    def _labels(self, positions):
        return tf.gather(self.labels, positions)

    def _compose(self, positions, drawn):
        """The objects at `positions` on the canvases `drawn`, uint8 `(batch, side, side, 1)`."""
        canvases, side = self.canvases, self.image_shape[0]
        objects = place(
            tf.gather(self.objects, positions)[:, tf.newaxis],
            tf.gather(canvases.scales, drawn)[:, tf.newaxis],
            tf.gather(canvases.places, drawn)[:, tf.newaxis],
            side=side,
        )
        clutter = place(
            self._fragments(drawn),
            tf.gather(canvases.fragment_scales, drawn),
            tf.gather(canvases.fragment_places, drawn),
            side=side,
        )
        noise = tf.gather(self._noise, tf.gather(canvases.noise, drawn))
        background = tf.minimum(clutter + tf.cast(noise, tf.float32), 255.0)
        transparency = 1 - tf.minimum(objects / _OPAQUE_BRIGHTNESS, 1.0)
        images = objects + transparency * _BACKGROUND_BRIGHTNESS * background
        return tf.saturate_cast(tf.round(images), tf.uint8)[..., tf.newaxis]

    def _fragments(self, drawn):
        """uint8 `(batch, fragments, size, size)`, cut out of the images."""
        corners = tf.gather(self.canvases.fragment_corners, drawn)
        pixels = corners[..., tf.newaxis] + tf.range(_FRAGMENT_SIZE)
        rows, columns = pixels[:, :, 0, :, tf.newaxis], pixels[:, :, 1, tf.newaxis, :]
        sources = tf.gather(self.canvases.fragment_sources, drawn)[..., tf.newaxis, tf.newaxis]
        flat = (sources * _OBJECT_SIZE + rows) * _OBJECT_SIZE + columns
        return tf.gather(tf.reshape(self.objects, [-1]), flat)


def place(patches, scales, places, *, side):
    """Draws small images on an empty canvas, resized bilinearly with antialiasing.

    Args:
        patches: uint8 `(batch, patches, size, size)`; where they overlap they add up.
        scales: float32 `(batch, patches)`, what part of the canvas's side 28 pixels take.
        places: float32 `(batch, patches, 2)`, see `Canvases`.
        side: height and width of the canvas in pixels.

    Returns:
        float32 `(batch, side, side)`.
    """
    patches = tf.cast(patches, tf.float32)
    size = patches.shape[-1]
    pixels = scales * (side / _OBJECT_SIZE)  # of the canvas in one of the patch
    starts = places * (side - pixels * size)[..., tf.newaxis]
    # For both axes at once: where in the patch each row and each column of the canvas is.
    centers = tf.range(side, dtype=tf.float32) + 0.5 - starts[..., tf.newaxis]
    positions = centers / pixels[..., tf.newaxis, tf.newaxis] - 0.5
    distances = tf.abs(positions[..., tf.newaxis] - tf.range(size, dtype=tf.float32))
    width = tf.maximum(1 / pixels, 1.0)[..., tf.newaxis, tf.newaxis, tf.newaxis]
    inside = tf.abs(positions - (size - 1) / 2) <= size / 2
    weights = tf.where(inside[..., tf.newaxis], tf.nn.relu(1 - distances / width), 0.0)
    weights = tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=-1, keepdims=True))
    rows, columns = tf.unstack(weights, axis=2)
    return tf.einsum("bpyi,bpij,bpxj->byx", rows, patches, columns)


def load_fashion_mnist_scaled(
    *, image_size, train_size, validation_size, calibration_size, data_dir, seed
):
    """Each Fashion-MNIST image at a random scale and place on a canvas of `image_size`.

    The canvas is 96 x 96 by default. The object takes 0.25 to 1 of its side, evenly
    distributed; fragments of other images, at scales of the same distribution, and noise lie
    under it. Every seed and every training size has the same images.

    Raises:
        InputError: data that cannot be had, or an argument out of range.
    """
    image_size = image_size or _DEFAULT_IMAGE_SIZE
    check_whole("image_size", image_size, least=_OBJECT_SIZE)
    builder = prepared_builder("fashion_mnist", data_dir)
    return scaled_dataset(
        "fashion_mnist_scaled",
        class_names=builder.info.features["label"].names,
        training=read_arrays(builder, "train"),
        test=read_arrays(builder, "test"),
        image_size=image_size,
        train_size=train_size,
        validation_size=validation_size,
        calibration_size=calibration_size,
        seed=seed,
    )


def scaled_dataset(
    name,
    *,
    class_names,
    training,
    test,
    image_size,
    train_size,
    validation_size,
    seed,
    calibration_size=0,
):
    """An `ImageDataset` of these objects on canvases, a part of the training images held out.

    Args:
        training, test: `(images, labels)`: uint8 `(images, 28, 28, 1)` and int `(images,)`.
        image_size, train_size, validation_size, calibration_size, seed: see
            `tf_adaptive.data.load_dataset`.
    """

    def images_of(arrays, canvas_seed):
        objects, labels = _on_cpu(arrays[0][..., 0], tf.uint8), _on_cpu(arrays[1], tf.int32)
        canvases = Canvases(len(labels), seed=canvas_seed)
        return lambda positions: ScaledImages(
            objects, labels, canvases, positions, image_size=image_size
        )

    positions = split_training(
        training[1],
        train_size=train_size,
        validation_size=validation_size,
        calibration_size=calibration_size,
        seed=seed,
    )
    of_training = images_of(training, _TRAINING_SEED)
    return ImageDataset(
        name=name,
        class_names=class_names,
        mean=_MEAN,
        std=_STD,
        **{split: of_training(chosen) for split, chosen in positions.items()},
        test=images_of(test, _TEST_SEED)(np.arange(len(test[1]))),
    )


def _on_cpu(values, dtype):
    """A tensor that pipelines refer to; an array would be copied into each of their graphs."""
    with tf.device("CPU"):
        return tf.constant(values, dtype)
