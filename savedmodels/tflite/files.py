"""Functions as TFLite files."""

import pathlib

import tensorflow as tf

from tf_adaptive.files import unfinished_folder
from tf_adaptive.programs.quiet import without_notices

from .flatbuffer_checks import check_flatbuffer, check_int8

PRECISIONS = ("float32", "float16", "int8")


def write_files(directory, signatures, *, precision, samples, single_file, batches=None):
    """Writes functions as TFLite files.

    Args:
        directory: folder to write into.
        signatures: dictionary from name to `tf.function`, all over one network's variables.
        precision: "float32"; "float16", weights of half the size, computed with as the hardware
            prefers; or "int8", weights and feature maps in 8 bits, inputs and outputs in float32.
        samples: what the ranges of "int8" are measured on: dictionary from signature to a list of
            dictionaries from input to array, of its batch; None for the other precisions, and
            for a network of `tf_adaptive.with_quantization`, which has ranges.
        single_file: whether all go into `network.tflite`, where equal weights are stored once,
            else each into a file of its own, with those that differ from it in the batch alone.
        batches: of each signature for more than one image, the signature for one image and the
            images in its batch.

    Returns:
        Dictionary from signature to the name of its file.

    Raises:
        InputError: what `check_flatbuffer` and, where it has ranges, `check_int8` raise.
    """
    of_one = {name: (name, 1) for name in signatures} | (batches or {})
    files = {
        name: "network.tflite" if single_file else f"{of_one[name][0]}.tflite"
        for name in signatures
    }
    with unfinished_folder(directory) as saved_model:
        write_saved_model(signatures, saved_model)
        for file in dict.fromkeys(files.values()):
            held = [name for name, its_file in files.items() if its_file == file]
            content = converted(saved_model, held, precision=precision, samples=samples)
            check_flatbuffer(content, {name: of_one[name][1] for name in held})
            if precision == "int8" and samples is None:
                check_int8(content)
            pathlib.Path(directory, file).write_bytes(content)
    return files


def write_saved_model(signatures, directory):
    """Writes functions as a SavedModel.

    Args:
        signatures: dictionary from name to `tf.function` with an input signature.
        directory: folder to write, empty or not there.
    """
    module = tf.Module()
    # The converter finds the values of variables that the saved object holds, and no others.
    module.values = [
        variable
        for function in signatures.values()
        for variable in function.get_concrete_function().variables
    ]
    tf.saved_model.save(module, str(directory), signatures=signatures)


def converted(saved_model, signatures, *, precision, samples=None):
    """The TFLite file of some signatures of a SavedModel, which share their weights.

    Args:
        saved_model: folder of a SavedModel.
        signatures: names of signatures.
        precision, samples: as for `write_files`.

    Returns:
        bytes.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(saved_model), signature_keys=list(signatures)
    )
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    # Ranges in a graph are looked for only where floating-point operations are allowed, so the file
    # has to show that there are none.
    if samples is not None:
        # Without floating-point operations to fall back to.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: (
            (name, sample) for name in signatures for sample in samples[name]
        )
    with without_notices():
        return converter.convert()
