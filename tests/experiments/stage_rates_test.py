import keras
import numpy as np

from experiments.stage_rates import step_of
from tests.bounds import ROUNDING, apart
from tests.tiny_networks import tiny_msdnet
from tf_adaptive.training.descent import Descent


def after_two_steps(what):
    """The weights of a network that is trained in that way, always from the same ones."""
    keras.utils.set_random_seed(0)
    network = tiny_msdnet()
    descent = Descent(
        schedule="multi_step",
        learning_rate=0.1,
        epochs=1,
        steps_per_epoch=10,
        weight_decay=1e-4,
    )
    step = step_of(what, network, descent)
    generator = np.random.default_rng(0)
    for _ in range(2):
        images = generator.normal(size=(4, 16, 16, 3)).astype("float32")
        step(images, generator.integers(0, 5, 4).astype("int32"))
    return network.get_weights()


def test_gradient_equilibrium_is_a_rate_for_each_stage():
    plain, balanced, multipliers, undone = map(
        after_two_steps, ("plain", "GE", "multipliers", "undone")
    )
    pairs = [*zip(balanced, multipliers, strict=True), *zip(plain, undone, strict=True)]
    for weight, same in pairs:
        np.testing.assert_allclose(same, weight, atol=100 * ROUNDING * max(1, np.ptp(weight)))
    spread = [apart(a, b) for a, b in zip(plain, balanced, strict=True) if np.ptp(b)]
    assert max(spread) > 0.01
