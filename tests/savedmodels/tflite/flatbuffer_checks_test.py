"""What the check of a TFLite file must find in files that hold it."""

import pytest
import tensorflow as tf

from savedmodels.tflite.flatbuffer_checks import (
    check_flatbuffer,
    check_int8,
    operations,
    read_flatbuffer,
)
from tf_adaptive import InputError


class OneFunction(tf.Module):
    """A module of one function that keeps something."""

    def __init__(self, function, shape=(1, 4), variable=None):
        super().__init__()
        self.variable = variable
        self.function = tf.function(function, input_signature=[tf.TensorSpec(shape, name="given")])


def tflite(directory, module, *, flex=False, signature="stage_1"):
    """The bytes of a TFLite file with one signature."""
    tf.saved_model.save(module, str(directory), signatures={signature: module.function})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(directory), signature_keys=[signature])
    if flex:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.SELECT_TF_OPS]
    converter.experimental_enable_resource_variables = True
    return converter.convert()


def test_takes_a_straight_line(tmp_path):
    content = tflite(tmp_path, OneFunction(lambda given: {"logits": tf.nn.softmax(given)}))
    check_flatbuffer(content, {"stage_1": 1})
    model = read_flatbuffer(content)
    assert operations(model, model.subgraphs[0]) == ["SOFTMAX"]


def test_refuses_other_signatures(tmp_path):
    content = tflite(tmp_path, OneFunction(lambda given: {"logits": tf.nn.softmax(given)}))
    with pytest.raises(InputError, match="stage_1, stage_2 and no other. Received: 1 graphs"):
        check_flatbuffer(content, {"stage_1": 1, "stage_2": 1})
    with pytest.raises(InputError, match="signatures stage_1"):
        check_flatbuffer(content, {"stage_2": 1})


def test_refuses_tensorflow_s_own_operations(tmp_path):
    content = tflite(tmp_path, OneFunction(lambda given: {"logits": tf.sin(given)}), flex=True)
    with pytest.raises(InputError, match="Received: CUSTOM Flex.* in stage_1"):
        check_flatbuffer(content, {"stage_1": 1})


def test_refuses_control_flow(tmp_path):
    def branch(given):
        logits = tf.cond(tf.reduce_sum(given) > 0, lambda: given * 2, lambda: tf.sin(given))
        return {"logits": logits}

    content = tflite(tmp_path, OneFunction(branch))
    # The branches are graphs besides those of the signatures.
    with pytest.raises(InputError, match="Received: 3 graphs, signatures stage_1"):
        check_flatbuffer(content, {"stage_1": 1})


def test_refuses_variables(tmp_path):
    variable = tf.Variable(tf.zeros((1, 4)))
    module = OneFunction(lambda given: {"logits": variable.assign_add(given)}, variable=variable)
    with pytest.raises(InputError, match="Received: "):
        check_flatbuffer(tflite(tmp_path, module), {"stage_1": 1})


def test_refuses_open_shapes(tmp_path):
    module = OneFunction(lambda given: {"logits": tf.nn.softmax(given)}, shape=(None, 4))
    with pytest.raises(InputError, match=r"must have a fixed shape. Received: \[-1, 4\]"):
        check_flatbuffer(tflite(tmp_path, module), {"stage_1": 1})


def test_refuses_another_batch(tmp_path):
    module = OneFunction(lambda given: {"logits": tf.nn.softmax(given)}, shape=(2, 4))
    with pytest.raises(InputError, match=r"must have a batch of 1. Received: \[2, 4\]"):
        check_flatbuffer(tflite(tmp_path, module), {"stage_1": 1})


@pytest.mark.parametrize(
    "content", [b"", b"TFL3", b"a photograph" * 100, b"1234TFL3" + b"\xff" * 99]
)
def test_refuses_what_is_no_tflite_file(content):
    with pytest.raises(InputError, match=f"Received: {len(content)} bytes that are no TFLite"):
        read_flatbuffer(content)


def test_refuses_floating_point_operations_in_int8(tmp_path):
    content = tflite(tmp_path, OneFunction(lambda given: {"logits": tf.nn.softmax(given)}))
    with pytest.raises(InputError, match="operations that TFLite has for integers.*SOFTMAX"):
        check_int8(content)
