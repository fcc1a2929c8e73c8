import io

import numpy as np
import PIL.ExifTags
import PIL.Image
import pytest
import tensorflow as tf

from tf_adaptive.data import load_dataset
from tf_adaptive.data.preprocessing import Preprocessing
from tf_adaptive.pictures import MAX_ASPECT_RATIO, MAX_PIXELS

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def preprocessing(image_shape=(16, 12, 3), *, center_crop=False):
    channels = image_shape[-1]
    return Preprocessing(
        image_shape=image_shape, mean=MEAN[:channels], std=STD[:channels], center_crop=center_crop
    )


def smooth_images(batch, height, width, channels=3):
    """Photographs have no single bright pixels."""
    noise = np.random.default_rng(0).uniform(0, 255, (batch, 5, 5, channels))
    return tf.image.resize(noise, (height, width)).numpy().round().astype("uint8")


def encoded(image, format="PNG", **options):
    file = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = PIL.Image.fromarray(image)
    image.save(file, format, **options)
    return file.getvalue()


def in_graph(function, dtype, shape):
    return tf.function(function, input_signature=[tf.TensorSpec(shape, dtype)], autograph=False)


def run_images(prepare, images):
    shape = (None, None, None, prepare.image_shape[-1])
    return in_graph(prepare.images, tf.uint8, shape)(images).numpy()


def run_encoded(prepare, files):
    function = in_graph(prepare.encoded, tf.string, (None,))
    return function(tf.constant(files, tf.string)).numpy()


def run_decoded(prepare, files):
    function = in_graph(prepare.decoded, tf.string, (None,))
    return function(tf.constant(files, tf.string)).numpy()


def by_pillow(images, size):
    resized = [
        PIL.Image.fromarray(image).resize(size[::-1], PIL.Image.BILINEAR) for image in images
    ]
    return (np.stack([np.asarray(image) for image in resized]) / 255 - MEAN) / STD


@pytest.mark.parametrize("size", [(40, 50), (16, 12), (7, 9), (100, 6)])
def test_resizes_as_pillow_does(size):
    images = smooth_images(2, *size)
    # A level more or less where rounding falls the other way.
    np.testing.assert_allclose(
        run_images(preprocessing(), images), by_pillow(images, (16, 12)), atol=1.01 / 255 / min(STD)
    )


@pytest.mark.parametrize("center_crop", [False, True])
def test_files_and_pixels_are_the_same(center_crop):
    prepare = preprocessing((16, 16, 3), center_crop=center_crop)
    images = smooth_images(3, 30, 41)
    files = [encoded(image) for image in images]
    np.testing.assert_array_equal(run_encoded(prepare, files), run_images(prepare, images))


def test_files_of_all_sizes_and_kinds():
    colours = smooth_images(1, 33, 20)[0]
    grey = colours.mean(axis=-1).round().astype("uint8")
    files = [
        encoded(colours),
        encoded(colours, "JPEG", quality=100, subsampling=0),
        encoded(colours, "JPEG", quality=100, subsampling=0, progressive=True),
        encoded(np.dstack([colours, np.full((33, 20), 255, np.uint8)])),
        encoded(grey),
        encoded(colours[:5, :4]),
    ]
    prepared = run_encoded(preprocessing(), files)
    assert prepared.shape == (6, 16, 12, 3)
    # JPEG is not exact at any quality.
    np.testing.assert_allclose(prepared[1], prepared[0], atol=10 / 255 / min(STD))
    np.testing.assert_array_equal(prepared[2], prepared[1])
    np.testing.assert_array_equal(prepared[3], prepared[0])
    np.testing.assert_allclose(
        prepared[4:5], by_pillow([np.dstack([grey] * 3)], (16, 12)), atol=0.05
    )
    of_one_channel = run_encoded(preprocessing((16, 12, 1)), files[:1])
    assert of_one_channel.shape == (1, 16, 12, 1)


@pytest.mark.parametrize("center_crop", [False, True])
def test_decoded_files_are_not_normalised(center_crop):
    prepare = preprocessing((16, 16, 3), center_crop=center_crop)
    files = [encoded(image) for image in smooth_images(3, 30, 41)]
    decoded = run_decoded(prepare, files)
    assert decoded.dtype == np.uint8
    normalised = (decoded / 255 - MEAN) / STD
    np.testing.assert_allclose(run_encoded(prepare, files), normalised, atol=1e-5)


def converted(image, mode):
    return PIL.Image.fromarray(image).convert(mode)


def png_of_16_bits(image):
    """A PNG file of `(height, width)` with 16 bits a pixel."""
    return encoded(image.astype("uint16") * 257)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_other_kinds(channels):
    colours = smooth_images(1, 33, 20)[0]
    grey = colours[..., 0]
    prepare = preprocessing((33, 20, channels))
    of_colours, of_grey = run_decoded(prepare, [encoded(colours), encoded(grey)])
    # Nothing is seen through; a picture that moves stands still.
    others = [
        (encoded(converted(colours, "RGBA")), of_colours),
        (
            encoded(colours, save_all=True, append_images=[converted(255 - colours, "RGB")]),
            of_colours,
        ),
        (encoded(converted(grey, "LA")), of_grey),
        (png_of_16_bits(grey), of_grey),
        (encoded(grey) + b"more", of_grey),
    ]
    for file, expected in others:
        np.testing.assert_array_equal(run_decoded(prepare, [file])[0], expected)
    few_colours = converted(colours, "P")
    by_number, in_full = run_decoded(
        prepare, [encoded(few_colours), encoded(few_colours.convert("RGB"))]
    )
    np.testing.assert_array_equal(by_number, in_full)
    cmyk = encoded(converted(colours, "CMYK"), "JPEG")
    np.testing.assert_allclose(run_decoded(prepare, [cmyk])[0], of_colours, atol=20)


def test_how_the_camera_was_held_is_not_looked_at_by_networks_of_before():
    image = smooth_images(1, 33, 20)[0]
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = 6
    turned, plain = encoded(image, "JPEG", exif=exif), encoded(image, "JPEG")
    assert turned != plain
    prepare = Preprocessing(
        image_shape=(16, 12, 3), mean=MEAN, std=STD, center_crop=False, picture_reading="as_stored"
    )
    first, second = run_decoded(prepare, [turned, plain])
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("center_crop", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, MAX_ASPECT_RATIO), (MAX_ASPECT_RATIO, 1)])
def test_thin_pictures(size, center_crop):
    files = [encoded(np.full((*size, 3), 7, np.uint8))]
    prepare = preprocessing((224, 224, 3), center_crop=center_crop)
    np.testing.assert_array_equal(run_decoded(prepare, files), np.full((1, 224, 224, 3), 7))


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1), (10, 10 * MAX_ASPECT_RATIO + 1)])
def test_the_centre_of_a_thin_picture_is_not_made_huge(size):
    image = np.full((1, *size, 3), 7, np.uint8)
    files = [encoded(image[0])]
    all_of_it = run_decoded(preprocessing((224, 224, 3)), files)
    np.testing.assert_array_equal(all_of_it, np.full((1, 224, 224, 3), 7))
    prepare = preprocessing((224, 224, 3), center_crop=True)
    reason = rf"at most 100 times as long as wide.*width:\] \[{size[0]}\] \[{size[1]}\]"
    for run, given in ((run_decoded, files), (run_images, image)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
            run(prepare, given)


def test_no_files_and_no_images():
    assert run_encoded(preprocessing(), []).shape == (0, 16, 12, 3)
    assert run_images(preprocessing(), np.zeros((0, 9, 9, 3), np.uint8)).shape == (0, 16, 12, 3)


def test_files_are_seen_as_the_evaluation_sees_them(tmp_path):
    rng = np.random.default_rng(0)
    files = []
    for number, (height, width) in enumerate([(60, 45), (33, 70), (50, 50), (41, 40)] * 5):
        folder = tmp_path / f"class_{number % 2}"
        folder.mkdir(exist_ok=True)
        content = encoded(rng.integers(0, 256, (height, width, 3), np.uint8))
        (folder / f"{number}.png").write_bytes(content)
        files.append(content)
    dataset = load_dataset(f"folder:{tmp_path}", image_size=32, validation_size=4)
    assert dataset.description()["center_crop"] is True
    prepare = Preprocessing(
        image_shape=dataset.image_shape, mean=dataset.mean, std=dataset.std, center_crop=True
    )
    prepared = run_encoded(prepare, files)
    evaluated = np.concatenate([images for images, _ in dataset.batches("test", 3)])
    for image in evaluated:
        assert np.abs(prepared - image).max(axis=(1, 2, 3)).min() < 1e-6


def header_of(height, width):
    """A PNG file that says it is that large, and holds a small picture."""
    content = encoded(smooth_images(1, 8, 8)[0])
    return content[:16] + width.to_bytes(4, "big") + height.to_bytes(4, "big") + content[24:]


def wrong_checksum(content):
    """A PNG file, changed where the checksum of its pixels is."""
    data = content.index(b"IDAT")
    checksum = data + 4 + int.from_bytes(content[data - 4 : data], "big")
    return content[:checksum] + bytes([content[checksum] ^ 255]) + content[checksum + 1 :]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (wrong_checksum(encoded(smooth_images(1, 8, 8)[0])), "Invalid PNG data"),
        (encoded(smooth_images(1, 90, 90)[0], "JPEG")[:-2], "Invalid JPEG data"),
        (b"", "must be a BMP, GIF, JPEG, PNG or WebP file"),
        (b"text", "must be a BMP, GIF, JPEG, PNG or WebP file"),
        (encoded(smooth_images(1, 8, 8)[0])[:20], "must be a BMP, GIF, JPEG, PNG or WebP file"),
        (encoded(smooth_images(1, 8, 8)[0])[:60], "Invalid PNG data"),
        (encoded(smooth_images(1, 90, 90)[0], "JPEG")[:400], "Invalid JPEG data"),
        (header_of(2, 2**24 + 1), rf"from 1 to {MAX_PIXELS} pixels"),
        (header_of(2**31, 1), rf"from 1 to {MAX_PIXELS} pixels"),
        (header_of(0, 8), rf"from 1 to {MAX_PIXELS} pixels"),
    ],
)
def test_files_that_are_refused(file, reason):
    good = encoded(smooth_images(1, 8, 8)[0])
    with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
        run_encoded(preprocessing(), [good, file])


def test_a_large_jpeg_is_refused_before_it_is_decoded():
    file = encoded(np.zeros((6000, 6000), np.uint8), "JPEG")
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"height and width:\] \[6000\] \[6000\]"
    ):
        run_encoded(preprocessing(), [file])


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 9, 9, 1), r"must have 3 channels. Received:\] \[1\]"),
        ((2, 0, 9, 3), r"height and width:\] \[0\] \[9\]"),
        ((1, 6000, 6000, 3), r"height and width:\] \[6000\] \[6000\]"),
    ],
)
def test_images_that_are_refused(shape, reason):
    function = in_graph(preprocessing().images, tf.uint8, (None, None, None, None))
    with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
        function(np.zeros(shape, np.uint8))
