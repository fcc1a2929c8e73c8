"""Stages and resolutions on LiteRT's GPU accelerator, which a Vulkan driver in software can run."""

import ctypes.util
import multiprocessing
import os
import pathlib
import sys

import numpy as np
import pytest

from savedmodels.tflite.exit_runner import StagedRunner
from savedmodels.tflite.resolution_runner import ResolutionRunner
from tests.bounds import ROUNDING, apart
from tf_adaptive import InputError

# Where Debian's chromium has SwiftShader; another driver is named by the variable.
DRIVER = os.environ.get("VK_DRIVER_FILES", "/usr/lib/chromium/vk_swiftshader_icd.json")
REFUSED = 3
HAS_DRIVER = ctypes.util.find_library("vulkan") is not None and pathlib.Path(DRIVER).is_file()

pytestmark = [
    pytest.mark.gpu_delegate,
    pytest.mark.skipif(
        not HAS_DRIVER,
        reason=f"needs a Vulkan driver: apt-get install libvulkan1 chromium (no {DRIVER})",
    ),
]


@pytest.fixture
def driver(monkeypatch, tmp_path):
    monkeypatch.setenv("VK_DRIVER_FILES", DRIVER)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.mark.parametrize("name", ["float32_stages", "float16"])
def test_every_exit_is_that_of_the_cpu(driver, name, request, network):
    folder = request.getfixturevalue(name)
    on_cpu, on_gpu = (StagedRunner(folder, accelerator=each) for each in ("cpu", "gpu"))
    expected, received = (
        np.stack([runner.all_exits(picture) for picture in network.pictures[:5]])
        for runner in (on_cpu, on_gpu)
    )
    # Both compute in float32; weights of float16 are widened.
    assert apart(received, expected) < ROUNDING
    # The same bits would be the CPU's.
    assert not np.array_equal(received, expected)


def test_early_exit_is_that_of_the_cpu(driver, float32_stages, network):
    runners = [StagedRunner(float32_stages, accelerator=each) for each in ("cpu", "gpu")]
    for picture in network.pictures[:20]:
        on_cpu, on_gpu = (runner(picture) for runner in runners)
        assert on_gpu.exit == on_cpu.exit
        np.testing.assert_allclose(on_gpu.probabilities, on_cpu.probabilities, atol=1e-5)


def test_every_resolution_is_that_of_the_cpu(driver, drnet_float32, drnet):
    _, _, pictures = drnet
    on_cpu, on_gpu = (ResolutionRunner(drnet_float32, accelerator=each) for each in ("cpu", "gpu"))
    for run in (ResolutionRunner.all_resolutions, ResolutionRunner.preferences):
        expected, received = (
            np.stack([run(runner, picture) for picture in pictures[:5]])
            for runner in (on_cpu, on_gpu)
        )
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5)
        assert not np.array_equal(received, expected)
    for picture in pictures[:20]:
        ours, reference = on_gpu(picture), on_cpu(picture)
        assert ours.resolution == reference.resolution
        np.testing.assert_allclose(ours.probabilities, reference.probabilities, atol=1e-5)


def test_refuses_a_gpu_without_a_driver(float32_stages):
    # In a process of its own: LiteRT looks for a driver once.
    process = multiprocessing.get_context("forkserver").Process(
        target=_load_without_driver, args=[float32_stages]
    )
    process.start()
    process.join()
    assert process.exitcode == REFUSED


def _load_without_driver(folder):
    os.environ["VK_DRIVER_FILES"] = "/no/driver.json"
    try:
        StagedRunner(folder, accelerator="gpu")
    except InputError as error:
        if "must be one that LiteRT can run on the gpu. Received: " in str(error):
            sys.exit(REFUSED)
        raise
