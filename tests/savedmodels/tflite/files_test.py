"""Networks whose stages read what stages long before them wrote."""

import keras
import numpy as np
import pytest

from savedmodels.tflite.compiled import Compiler, Signature
from savedmodels.tflite.exit_signatures import stage_parts, stage_signatures
from savedmodels.tflite.files import write_files
from tests.tiny_networks import ranet_of_two_scales
from tests.training.tiny_training import tiny_model
from tf_adaptive import InputError, split_stages, with_collaboration


def collaborating_msdnet():
    """Exits that take the prediction of the exit before, with weights that tell."""
    model = with_collaboration(tiny_model())
    generator = np.random.default_rng(1)
    for weight in model.get_layer("collaborating_exit_2").weights:
        weight.assign(generator.standard_normal(weight.shape))
    return model


@pytest.mark.parametrize("build", [collaborating_msdnet, ranet_of_two_scales])
def test_stages_on_shared_buffers_are_the_network(build, tmp_path):
    keras.utils.set_random_seed(0)
    model = build()
    stages = split_stages(model)
    images = np.random.default_rng(0).standard_normal((3, *model.input_shape[1:])).astype("float32")
    files = write_files(
        tmp_path, stage_signatures(stages), precision="float32", samples=None, single_file=True
    )
    assert files == {f"stage_{stage.number}": "network.tflite" for stage in stages}
    assert [path.name for path in tmp_path.iterdir()] == ["network.tflite"]
    compiled = Compiler().compiled(tmp_path / "network.tflite")
    first = Signature(compiled, "stage_1")
    signatures, buffers = [first], first.inputs | first.outputs
    for stage in stages[1:]:
        signatures.append(Signature(compiled, f"stage_{stage.number}", buffers))
        buffers |= signatures[-1].outputs
    for image, *expected in zip(images, *model(images, training=False), strict=True):
        first.inputs[stages[0].takes[0]].write(image[np.newaxis])
        for part, signature, logits in zip(stage_parts(stages), signatures, expected, strict=True):
            signature.run()
            received = signature.read(part["logits"])[0]
            np.testing.assert_allclose(received, logits, atol=1e-5)


def test_refuses_images_of_any_size():
    images = keras.Input((None, None, 1), name="images")
    features = keras.layers.Conv2D(2, 3, name="features")(images)
    exits = [
        keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(tensor))
        for tensor in (features, keras.layers.Conv2D(2, 3)(features))
    ]
    stages = split_stages(keras.Model(images, exits))
    with pytest.raises(InputError, match=r"fixed sizes: .* Received: 'images' of shape \(None"):
        stage_signatures(stages)
