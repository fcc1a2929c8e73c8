import pytest
import tensorflow as tf

from tf_adaptive.errors import plain_reason


@tf.function(input_signature=[tf.TensorSpec((2,), tf.int32)])
def positive(numbers):
    check = tf.debugging.Assert(
        tf.reduce_all(numbers > 0), ["`numbers` must be positive. Received:", numbers]
    )
    with tf.control_dependencies([check]):
        return tf.identity(numbers)


def test_a_check_of_ours():
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        positive(tf.constant([1, -2]))
    reason = plain_reason(refused.value.message)
    assert reason == "`numbers` must be positive. Received: 1 -2"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "{{function_node __inference_signature_wrapper_1}} Invalid PNG data, size 60\n\t "
            "[[{{function_node body_2}}{{node DecodeImage}}]] [Op:__inference_signature_wrapper_1]",
            "Invalid PNG data, size 60",
        ),
        (
            "Graph execution error:\n\nDetected at node Reshape defined at (most recent call last)"
            ':\n  File "a.py", line 4, in <module>\n\nOnly one input size may be -1, not both 0 '
            "and 1\n\t [[{{node Reshape}}]] [Op:__inference_shaped_8]",
            "Only one input size may be -1, not both 0 and 1",
        ),
        ("Incompatible shapes: [1,3] vs. [1,1]", "Incompatible shapes: [1,3] vs. [1,1]"),
        ("Servable not found\nfor request", "Servable not found for request"),
    ],
)
def test_tensorflow_s_own(message, reason):
    assert plain_reason(message) == reason
