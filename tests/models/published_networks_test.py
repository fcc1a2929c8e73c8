import numpy as np
import pytest

from tests.reference_networks import (
    REFERENCE_NETWORKS,
    assert_reference_logits,
    read_reference,
    reference_network,
    reference_state_dict,
)
from tf_adaptive import load_pytorch_weights, profile


@pytest.mark.parametrize("name", REFERENCE_NETWORKS)
def test_is_the_published_network(name):
    reference = read_reference(name)
    model = reference_network(name)
    assert model.input_shape == (None, reference["input_size"], reference["input_size"], 3)

    costs = profile(model)
    assert [cost.macs for cost in costs] == reference["exit_macs"]
    assert [cost.parameters for cost in costs] == reference["exit_params"]
    trainable = sum(np.prod(weight.shape) for weight in model.trainable_weights)
    assert trainable == reference["parameters"]

    load_pytorch_weights(model, reference_state_dict(name))
    assert_reference_logits(model, name)
