"""The papers' augmentation, as pure functions of images and a stateless seed."""

import tensorflow as tf

from tf_adaptive.data.decoding import ratio_check


def random_shift_and_flip(images, seed, *, padding, flip):
    """Pads with zeros, crops at a random place, and flips half of the images left to right.

    The augmentation of the CIFAR experiments (He et al. 2016, section 4.2; 4 pixels of
    padding there), for a whole batch in one operation.

    Args:
        images: `(batch, height, width, channels)`, uint8.
        seed: int32 of shape `(2,)`.
        padding: pixels added on each side.
        flip: whether to flip at all; digits and letters must stay as they are.

    Returns:
        Images of the same shape and dtype.
    """
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    shift_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))
    shifts = tf.random.stateless_uniform(
        (2, batch), shift_seed, minval=-padding, maxval=padding + 1, dtype=tf.int32
    )
    down, right = tf.unstack(tf.cast(shifts, tf.float32))
    one, zero = tf.ones_like(right), tf.zeros_like(right)
    direction = one
    if flip:
        flipped = tf.random.stateless_uniform((batch,), flip_seed) < 0.5
        direction = tf.where(flipped, -one, one)
        right += tf.where(flipped, tf.cast(width - 1, tf.float32), zero)
    # Output pixel (x, y) is input pixel (direction * x + right, y + down), or zero outside.
    transforms = tf.stack([direction, zero, right, zero, one, down, zero, zero], axis=1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )


def random_resized_crop(image, seed, *, size):
    """Crops 8 % to 100 % of the area at an aspect ratio from 3:4 to 4:3, resizes, flips half.

    The augmentation of the ImageNet experiments (Szegedy et al. 2015, section 6).

    Args:
        image: `(height, width, channels)`, uint8.
        seed: int32 of shape `(2,)`.
        size: height and width of the result in pixels.

    Returns:
        `(size, size, channels)`, uint8.
    """
    crop_seed, flip_seed = tf.unstack(tf.random.split(seed, 2))
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        bounding_boxes=tf.zeros((1, 0, 4)),
        seed=crop_seed,
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    crop = resize(tf.slice(image, begin, extent), (size, size))
    return tf.image.stateless_random_flip_left_right(crop, flip_seed)


def resized_center_crop(images, *, size):
    """Resizes the short side to `size * 256 / 224` and crops the centre.

    Args:
        images: `(height, width, channels)` or `(batch, height, width, channels)`, uint8.
        size: height and width of the result in pixels.

    Returns:
        `(size, size, channels)` or `(batch, size, size, channels)`, uint8.

    Raises:
        tf.errors.InvalidArgumentError: when run on images that are more than
            `tf_adaptive.pictures.MAX_ASPECT_RATIO` times as long as wide.
    """
    with tf.control_dependencies([ratio_check(images)]):
        images = tf.identity(images)
    short_side = round(size * 256 / 224)
    extent = tf.shape(images)[-3:-1]
    extent = extent * short_side // tf.reduce_min(extent)
    top, left = tf.unstack((extent - size) // 2)
    return resize(images, extent)[..., top : top + size, left : left + size, :]


def resize(images, extent):
    """Bilinear with antialiasing, rounded to uint8 as image libraries do.

    Args:
        images: `(height, width, channels)` or `(batch, height, width, channels)`.
        extent: the new `(height, width)`.
    """
    return tf.saturate_cast(tf.round(tf.image.resize(images, extent, antialias=True)), tf.uint8)
