import pytest
from absl import flags
from absl.testing import flagsaver

from tf_adaptive.errors import InputError
from tf_adaptive.models.from_preset import NETWORKS, classes_by_preset
from tf_adaptive.training.recipes import published_phase_2_recipe, published_recipe
from trainers.flags.network import PRESET, fill_preset


def test_every_network_has_a_default_preset_of_its_own():
    flags.FLAGS.mark_as_parsed()
    for model, network in NETWORKS.items():
        with flagsaver.flagsaver(model=model, preset=None):
            fill_preset()
            assert PRESET.value in network.presets
    with (
        flagsaver.flagsaver(model="rannet"),
        pytest.raises(InputError, match="Did you mean 'ranet'?"),
    ):
        fill_preset()


@pytest.mark.parametrize(
    ("model", "preset", "epochs", "batch_size", "drops", "nesterov"),
    [
        ("msdnet", "msdnet_cifar_lingrow7", 300, 64, [150, 225], True),
        ("msdnet", "msdnet_imagenet_step4", 90, 256, [30, 60], True),
        ("ranet", "ranet_cifar_even4", 300, 64, [150, 225], False),
        ("ranet", "ranet_imagenet_4221", 90, 256, [30, 60], False),
        ("resnet", "resnet_mc_cifar", 300, 64, [150, 225], True),
        ("ensemble", "ensemble_resnet_imagenet", 90, 256, [30, 60], True),
    ],
)
def test_recipes_are_the_papers(model, preset, epochs, batch_size, drops, nesterov):
    recipe = published_recipe(model, preset)
    assert (recipe["epochs"], recipe["batch_size"]) == (epochs, batch_size)
    assert recipe["nesterov"] is nesterov
    assert [share * epochs for share in recipe["drop_shares"]] == drops


def test_a_preset_of_the_other_network_is_refused():
    with pytest.raises(InputError, match="`preset` must be one of ranet_cifar_lg3"):
        published_recipe("ranet", "msdnet_cifar_lingrow5")


def test_a_preset_with_one_exit_is_a_backbone_and_one_with_several_is_none():
    with pytest.raises(InputError, match="`preset` must be one of resnet_mc_cifar. Received"):
        published_recipe("resnet", "resnet_cifar_20")
    backbones = classes_by_preset()
    assert {"resnet_cifar_20", "wideresnet_28_10", "googlenet", "efficientnet_lite0"} < {*backbones}
    assert not {"resnet_mc_cifar", "densenet_mc_cifar", "msdnet_cifar_lingrow4"} & {*backbones}


@pytest.mark.parametrize(
    ("preset", "recipe"),
    [
        ("msdnet_cifar_lingrow5", (180, 64, 90, 135, 0.1, 3.0)),
        ("ranet_imagenet_step8", (90, 256, 30, 60, 0.9, 1.0)),
    ],
)
def test_recipe_of_phase_2(preset, recipe):
    found = published_phase_2_recipe(preset)
    drops = [share * found["epochs"] for share in found["drop_shares"]]
    alone = (found["alpha"], found["temperature"])
    assert (found["epochs"], found["batch_size"], *drops, *alone) == pytest.approx(recipe)
