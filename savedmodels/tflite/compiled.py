"""TFLite files compiled by LiteRT, and their signatures on buffers that they share."""

import atexit
import functools
import math
import os

import numpy as np

from tf_adaptive.errors import InputError, check_choice, check_whole
from tf_adaptive.extras import lazily
from tf_adaptive.programs.quiet import drop_notices, without_notices

from .flatbuffer_checks import check_whole_flatbuffer

compiled_model = lazily("ai_edge_litert.compiled_model", extra="tflite")
environment = lazily("ai_edge_litert.environment", extra="tflite")
hardware_accelerator = lazily("ai_edge_litert.hardware_accelerator", extra="tflite")
options = lazily("ai_edge_litert.options", extra="tflite")

ACCELERATORS = ("cpu", "gpu")


class Compiler:
    """Compiles TFLite files for one accelerator.

    Args:
        accelerator: "cpu", or "gpu", which computes in float32 as well.
        threads: of the CPU.

    Raises:
        InputError: an unknown accelerator, or no whole number of threads.
    """

    def __init__(self, *, accelerator="cpu", threads=1):
        check_choice("accelerator", accelerator, ACCELERATORS)
        check_whole("threads", threads, least=1)
        self._accelerator = accelerator
        self._options = options.Options(
            hardware_accelerators=getattr(
                hardware_accelerator.HardwareAccelerator, accelerator.upper()
            ),
            cpu_options=options.CpuOptions(num_threads=threads),
            gpu_options=options.GpuOptions(enforce_f32=True),
        )

    def compiled(self, path):
        """A TFLite file, ready to run.

        Raises:
            InputError: there is no such file, it is no whole TFLite model, or the accelerator will
                not run it.
        """
        if not os.path.isfile(path):
            raise InputError(f"A converted network must have all its files. Missing: {path}.")
        with without_notices():
            check_whole_flatbuffer(path)
        try:
            with without_notices():
                return compiled_model.CompiledModel.from_file(
                    str(path), environment=_environment(), options=self._options
                )
        except RuntimeError as error:
            driver = "; the GPU needs a driver" if self._accelerator == "gpu" else ""
            raise InputError(
                f"A .tflite file must be one that LiteRT can run on the {self._accelerator}. "
                f"Received: {path}{driver}."
            ) from error


@functools.cache
def _environment():
    """LiteRT's environment; buffers pass from one file to the next within one only."""
    # It writes notices again when the process ends.
    atexit.register(drop_notices)
    return environment.Environment.create()


class Signature:
    """One signature of a compiled file, on buffers that it shares with other signatures.

    Args:
        compiled: what `Compiler.compiled` gave.
        name: of the signature.
        buffers: dictionary from tensor name to the buffer that another signature writes, so that
            nothing is copied; None for input buffers of its own.

    Attributes:
        inputs, outputs: dictionaries from tensor name to `TensorBuffer`.

    Raises:
        InputError: the file has no signature of that name, or one that takes other tensors than
            there are.
    """

    def __init__(self, compiled, name, buffers=None):
        signatures = compiled.get_signature_list()
        if name not in signatures:
            raise InputError(
                "A .tflite file must be one that savedmodels.convert_tflite wrote, with the "
                f"signature {name!r}. Received: one with {', '.join(signatures) or 'none'}."
            )
        self._compiled = compiled
        self._name = name
        takes = signatures[name]["inputs"]
        with without_notices():
            self.outputs = {
                tensor: compiled.create_output_buffer_by_name(name, tensor)
                for tensor in signatures[name]["outputs"]
            }
            if buffers is None:
                buffers = {
                    tensor: compiled.create_input_buffer_by_name(name, tensor) for tensor in takes
                }
            shapes = {tensor: shape_of(buffer) for tensor, buffer in buffers.items()}
        for tensor, details in compiled.get_input_tensor_details(name).items():
            if shapes.get(tensor) != details["shape"]:
                raise InputError(
                    "The .tflite files of a folder must be those of one network. Received: "
                    f"{name!r} of another, which takes {tensor!r} of the shape {details['shape']}."
                )
        self.inputs = {tensor: buffers[tensor] for tensor in takes}
        self._shapes = {tensor: shape_of(buffer) for tensor, buffer in self.outputs.items()}

    def run(self):
        """Computes the outputs from what the input buffers hold."""
        self._compiled.run_by_name(self._name, self.inputs, self.outputs)

    def read(self, tensor):
        """A copy of an output, float32, the first axis a batch of 1."""
        shape = self._shapes[tensor]
        return self.outputs[tensor].read(math.prod(shape), np.float32).reshape(shape)


def shape_of(buffer):
    """The shape of what a `TensorBuffer` holds, a list."""
    return buffer.get_tensor_details()["shape"]
