import re

import keras
import numpy as np
import pytest

from tests.trainers.programs import REPOSITORY
from tf_adaptive.graph import keras_internals
from tf_adaptive.graph.keras_internals import (
    CONCATENATE,
    SIGMOID,
    SOFTMAX,
    functional_of,
    is_its_graph,
    layers_within,
    own_trainable_variables,
    producer,
    set_order,
    takes_training,
    under_name,
)
from tf_adaptive.layers import ConvUnit

PRIVATE = re.compile(
    r"keras\.src|_keras_history|_inbound_nodes|_outbound_nodes|_flatten_layers|\._functional\b|"
    r"_call_has_training_arg|\._trainable_variables|\._layers\.|\._operations\b|\"_operations\""
)


def model():
    images = keras.Input((8, 8, 1), name="images")
    features = keras.layers.Conv2D(2, 3, name="convolution")(images)
    features = keras.layers.Dropout(0.5, name="dropout")(features)
    features = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    return keras.Model(images, keras.layers.Dense(3, name="logits")(features))


def test_private_names_are_in_one_file():
    for top in ("tf_adaptive", "trainers", "savedmodels", "benchmarks"):
        for path in (REPOSITORY / top).rglob("*.py"):
            found = PRIVATE.search(path.read_text())
            assert found is None or path.samefile(keras_internals.__file__), (path, found)


def test_the_call_that_gives_a_tensor():
    network = model()
    node = producer(network.outputs[0])
    assert node.operation is network.get_layer("logits")
    assert producer(node.input_tensors[0]).operation is network.get_layer("pool")
    assert producer(network.inputs[0]).is_input


@pytest.mark.parametrize(
    ("operation", "function"),
    [
        (CONCATENATE, lambda x: keras.ops.concatenate([x, x])),
        (SOFTMAX, keras.ops.softmax),
        (SIGMOID, keras.ops.sigmoid),
    ],
)
def test_operations_on_symbolic_tensors(operation, function):
    assert isinstance(producer(function(keras.Input((3,)))).operation, operation)


def test_models_that_only_call_their_layers():
    class Doubled(keras.Model):
        def call(self, inputs):
            return 2 * super().call(inputs)

    network = model()
    sequential = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert is_its_graph(network) and is_its_graph(sequential)
    assert not is_its_graph(Doubled(network.input, network.output))
    assert not is_its_graph(network.get_layer("logits"))
    vector = np.ones((1, 4), "float32")
    np.testing.assert_array_equal(functional_of(sequential)(vector), sequential(vector))


def test_arguments_variables_and_layers_inside():
    network = model()
    assert takes_training(network.get_layer("dropout"))
    assert not takes_training(network.get_layer("pool"))
    unit = ConvUnit(2, 3)
    unit.build((None, 8, 8, 1))
    inside = list(layers_within(unit))
    assert unit in inside and any(
        isinstance(one, keras.layers.BatchNormalization) for one in inside
    )
    convolution = network.get_layer("convolution")
    convolution.trainable = False
    assert own_trainable_variables(convolution) == [convolution.kernel, convolution.bias]


def test_the_same_layer_under_another_name():
    network = model()
    layer = network.get_layer("logits")
    renamed = under_name(layer, "other")
    outputs = renamed(keras.Input((2,)))
    assert (renamed.name, layer.name) == ("other", "logits")
    assert renamed.kernel is layer.kernel
    assert producer(outputs).operation is renamed
    assert producer(network.outputs[0]).operation is layer


def test_the_order_in_which_weights_are_listed():
    network = model()
    names = [layer.name for layer in network.layers]
    set_order(network, lambda operation: -names.index(operation.name))
    assert [layer.name for layer in network.layers] == names[::-1]
    assert [weight.path.partition("/")[0] for weight in network.weights] == [
        *("logits", "logits", "convolution", "convolution")
    ]
    images = np.ones((1, 8, 8, 1), "float32")
    assert network(images).shape == (1, 3)
