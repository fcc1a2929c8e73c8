"""Packages that only parts of this one need, imported where they are first used.

An extra is what `pip install 'tf_adaptive[NAME]'` adds; pyproject.toml lists them.
"""

import importlib
import importlib.util

from tf_adaptive.errors import InputError

# What says whether an extra is there.
_MODULES = {
    "data": ("sklearn", "tensorflow_datasets"),
    "report": ("matplotlib",),
    "programs": ("absl", "tensorboard"),
    "tune": ("keras_tuner", "sklearn", "tensorboard"),
    "prune": ("tensorflow_model_optimization", "tf_keras"),
    "tflite": ("ai_edge_litert", "PIL"),
    "serving": ("tensorflow_serving", "grpc", "prometheus_client"),
    "parquet": ("pyarrow",),
    "beam": ("apache_beam", "pyarrow"),
    "benchmark": ("openvino", "onnxruntime", "tf2onnx"),
}


def check_extra(extra):
    """Refuses to begin what needs packages that are not installed.

    Args:
        extra: name of the extra.

    Raises:
        InputError: a package of it is missing; the line names it and the extra.
    """
    for name in _MODULES[extra]:
        if not _is_there(name):
            raise _missing(name, extra)


def lazily(module, *, extra):
    """A module of an extra's package, which is imported when something of it is first used.

    Args:
        module: its full name.
        extra: name of the extra.

    Returns:
        What has the module's attributes; where the package is missing, asking for one raises an
        `InputError` that names the extra.

    Example:
        >>> grpc = lazily("grpc", extra="serving")
        >>> grpc.__name__
        'grpc'
    """
    return _Lazily(module, extra)


class _Lazily:
    def __init__(self, module, extra):
        self._module, self._extra = module, extra

    def __getattr__(self, name):
        try:
            module = importlib.import_module(self._module)
        except ModuleNotFoundError as error:
            raise _missing(error.name or self._module, self._extra) from error
        return getattr(module, name)


def _is_there(name):
    try:
        return importlib.util.find_spec(name) is not None
    # What `sys.modules` says is missing.
    except ValueError:
        return False


def _missing(name, extra):
    return InputError(
        f"The package {name.partition('.')[0]!r} must be installed for this: "
        f"pip install 'tf_adaptive[{extra}]'. Received: no such package."
    )
