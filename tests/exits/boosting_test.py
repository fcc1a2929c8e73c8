import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tiny_networks import tiny_msdnet
from tests.training.tiny_training import tiny_model
from tf_adaptive import EarlyExit, load_model, split_stages, with_boosting, with_collaboration
from tf_adaptive.errors import InputError
from tf_adaptive.exits.gradient_equilibrium import with_gradient_equilibrium


def images(batch=6):
    return np.random.default_rng(0).standard_normal((batch, 16, 16, 3)).astype("float32")


@pytest.fixture(scope="module")
def plain():
    keras.utils.set_random_seed(0)
    return tiny_msdnet()


def test_every_exit_answers_on_top_of_those_before(plain):
    boosted = with_boosting(plain, weight=0.25)
    answer = 0.0
    for own, ours in zip(plain(images()), boosted(images()), strict=True):
        answer = own + 0.25 * answer
        np.testing.assert_allclose(ours, answer, rtol=1e-6, atol=1e-6)
    assert {w.path for w in boosted.weights} == {w.path for w in plain.weights}


def test_no_gradient_flows_into_the_exits_before(plain):
    boosted = with_boosting(plain)
    heads = [plain.get_layer(f"exit_{number}").kernel.value for number in (1, 2, 3)]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(boosted(images())[2]))
    first, second, third = tape.gradient(loss, heads)
    assert first is None and second is None
    assert np.abs(third).max() > 0


def test_stages_hand_on_what_was_answered(plain):
    boosted = with_boosting(plain)
    state, answers = images(), []
    for stage in split_stages(boosted):
        logits, state = stage(state)
        answers.append(logits)
    for ours, expected in zip(answers, boosted(images()), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
    exits = EarlyExit(boosted, [0.25, 0.25])(images())["exit"]
    assert set(exits.numpy()) <= {1, 2, 3}


def test_saved_and_loaded_again_with_gradient_equilibrium_on_top(plain, tmp_path):
    boosted = with_boosting(plain)
    balanced = with_gradient_equilibrium(boosted)
    assert [w.path for w in balanced.weights] == [w.path for w in boosted.weights]
    for model in (boosted, balanced):
        model.save(tmp_path / "model.keras")
        again = load_model(tmp_path / "model.keras")
        for loaded, logits in zip(again(images()), boosted(images()), strict=True):
            np.testing.assert_array_equal(loaded, logits)


def test_refuses(plain):
    with pytest.raises(InputError, match="`weight` must be finite and at least 0"):
        with_boosting(plain, weight=-0.5)
    with pytest.raises(InputError, match="2 outputs or more"):
        with_boosting(keras.Model(plain.input, plain.outputs[:1]))
    with pytest.raises(InputError, match="exit 2 is 'exit_2_boosted', a BoostedSum"):
        with_collaboration(with_boosting(tiny_model()))
