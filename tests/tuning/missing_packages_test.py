import importlib
import subprocess
import sys

import pytest

from tf_adaptive.errors import InputError

OPTIONAL = ("keras_tuner", "tensorflow_model_optimization")


@pytest.mark.parametrize("package", ["keras_tuner", "tensorboard", "sklearn"])
def test_plain_error(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "tf_adaptive.tuning.search", raising=False)
    with pytest.raises(InputError, match=f"pip install keras-tuner .* Received: .*{package}"):
        importlib.import_module("tf_adaptive.tuning.search")


def test_nothing_else_imports_them():
    loaded = f"print([name for name in {OPTIONAL} if name in sys.modules])"
    program = f"import sys, tf_adaptive, trainers.train_drnet; {loaded}"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert finished.stdout == "[]\n", finished.stderr
