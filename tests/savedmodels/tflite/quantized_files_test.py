"""Networks with ranges of their own as int8 files, beside those whose ranges are measured."""

import keras
import numpy as np
import pytest

from savedmodels.tflite.compiled import Compiler, Signature
from savedmodels.tflite.exit_signatures import stage_parts, stage_samples, stage_signatures
from savedmodels.tflite.files import write_files
from savedmodels.tflite.flatbuffer_checks import operations, read_flatbuffer
from tests.tiny_networks import tiny_collaborating, tiny_msdnet, tiny_ranet
from tf_adaptive import fold_batch_norm, split_stages, with_quantization
from tf_adaptive.compression.quantization import is_quantized, quantizer_of

IMAGES = 20


def written(directory, stages, samples):
    directory.mkdir()
    write_files(
        directory, stage_signatures(stages), precision="int8", samples=samples, single_file=False
    )
    return directory


def outputs_of_files(directory, stages, images):
    """What every stage gives: (signature, tensor) → array, the first axis the images."""
    compiler, signatures, buffers = Compiler(), [], None
    for stage in stages:
        name = f"stage_{stage.number}"
        signatures.append(Signature(compiler.compiled(directory / f"{name}.tflite"), name, buffers))
        buffers = {**(buffers or signatures[0].inputs), **signatures[-1].outputs}
    outputs = {}
    for image in images:
        signatures[0].inputs[stages[0].takes[0]].write(image[np.newaxis])
        for number, signature in enumerate(signatures, start=1):
            signature.run()
            for tensor in signature.outputs:
                outputs.setdefault((f"stage_{number}", tensor), []).append(signature.read(tensor))
    return {key: np.concatenate(values) for key, values in outputs.items()}


def outputs_of_stages(stages, images):
    """The same of the Keras stages, and the quantizer of each tensor, None if it has none."""
    state, outputs, quantizers = images, {}, {}
    for stage, part in zip(stages, stage_parts(stages), strict=True):
        logits, state = stage(state)
        symbols = {name: stage.state[name] for name in stage.writes}
        symbols[part["logits"]] = stage.model.outputs[0]
        for name, symbol in symbols.items():
            outputs[part["signature"], name] = np.array(state.get(name, logits))
            quantizers[part["signature"], name] = quantizer_of(symbol)
    return outputs, quantizers


@pytest.mark.parametrize("build", [tiny_msdnet, tiny_collaborating, tiny_ranet])
def test_files_compute_what_the_quantized_network_does(build, tmp_path):
    keras.utils.set_random_seed(0)
    model = build()
    shape = model.input_shape[1:]
    calibration, images = np.random.default_rng(0).normal(size=(2, IMAGES, *shape)).astype("f4")
    differences = []
    for network in (with_quantization(model, calibration), fold_batch_norm(model)):
        stages = split_stages(network)
        samples = None if is_quantized(network) else stage_samples(stages, calibration)
        folder = written(tmp_path / f"{samples is None}", stages, samples)
        received = outputs_of_files(folder, stages, images)
        expected, quantizers = outputs_of_stages(stages, images)
        assert received.keys() == expected.keys()
        differences.append([])
        for key, values in expected.items():
            difference = np.abs(received[key] - values)
            differences[-1].append(difference.mean() / np.ptp(values))
            if not is_quantized(network):
                continue
            minimum, maximum = quantizers[key].get_weights()
            steps = difference / ((maximum - minimum) / 255)
            # A whole number of steps, and 0 nearly everywhere: the files round biases to 32 bits,
            # and ties of a pooling's average otherwise, which later layers sum up.
            np.testing.assert_allclose(steps, np.round(steps), atol=0.01)
            assert steps.max() <= 10
            assert values.ndim == 2 or np.mean(steps > 0.5) < 0.2
    # Less than what is lost when ranges are measured after training.
    trained, after = np.array(differences)
    assert np.all(trained < after)
    assert trained.mean() < 0.6 * after.mean()


def test_operations_are_those_of_a_network_quantized_after_training(tmp_path):
    keras.utils.set_random_seed(0)
    model = tiny_ranet()
    images = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:])).astype("f4")
    stages = split_stages(with_quantization(model, images))
    others = split_stages(fold_batch_norm(model))
    found = []
    for name, network, samples in (
        ("trained", stages, None),
        ("after", others, stage_samples(others, images)),
    ):
        folder = written(tmp_path / name, network, samples)
        models = [read_flatbuffer(path.read_bytes()) for path in sorted(folder.glob("*.tflite"))]
        found.append([sorted(operations(each, each.subgraphs[0])) for each in models])
    trained, after = (
        [[name for name in names if "QUANTIZE" not in name] for names in each] for each in found
    )
    assert trained == after
    assert "RESIZE_BILINEAR" in trained[-1] + trained[-2]
    # A conversion of inputs and outputs, and none between: concatenations take what there is.
    for names, stage in zip(found[0], stages, strict=True):
        assert names.count("QUANTIZE") == len(stage.reads)
        assert names.count("DEQUANTIZE") == len(stage.writes) + 1
