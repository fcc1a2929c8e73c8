import importlib
import sys

import pytest

from tf_adaptive.errors import InputError


@pytest.mark.parametrize("package", ["keras_tuner", "tensorboard", "sklearn"])
def test_plain_error(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "tf_adaptive.tuning.search", raising=False)
    with pytest.raises(InputError, match=rf"{package}.*pip install 'tf_adaptive\[tune\]'"):
        importlib.import_module("tf_adaptive.tuning.search")
