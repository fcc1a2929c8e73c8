import json

import pytest

from savedmodels.description import write_description
from savedmodels.tflite.exit_runner import StagedRunner
from savedmodels.tflite.load_runner import load_runner
from savedmodels.tflite.resolution_runner import ResolutionRunner
from tf_adaptive import InputError


def test_the_runner_of_each_network(float32, drnet_float32, network, drnet):
    staged, routed = load_runner(float32), load_runner(drnet_float32, threads=2)
    assert isinstance(staged, StagedRunner)
    assert isinstance(routed, ResolutionRunner)
    assert staged(network.pictures[0]).exit is not None
    _, _, pictures = drnet
    assert routed(pictures[0]).resolution is not None


def test_refuses_a_folder_that_is_not_ours(tmp_path):
    with pytest.raises(InputError, match="convert_tflite wrote. Received: .*, which has no desc"):
        load_runner(tmp_path)
    with pytest.raises(InputError, match="convert_tflite wrote. Received: .*, which has no desc"):
        load_runner(tmp_path / "missing")


def test_refuses_the_description_of_an_exported_model(float32, tmp_path):
    description = json.loads((float32 / "description.json").read_text())
    del description["stages"]
    write_description(tmp_path, description)
    with pytest.raises(InputError, match="which has no 'stages'"):
        load_runner(tmp_path)


def test_refuses_bad_arguments(float32):
    with pytest.raises(InputError, match="Did you mean 'gpu'"):
        load_runner(float32, accelerator="gpus")
    with pytest.raises(InputError, match="`threads` must be a whole number from 1 on"):
        load_runner(float32, threads=0)
