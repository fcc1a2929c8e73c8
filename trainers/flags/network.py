"""The flags that name a network with several exits."""

from absl import flags

from tf_adaptive.errors import check_choice
from tf_adaptive.models.from_preset import DEFAULT_PRESETS, NETWORKS, presets_with_exits
from tf_adaptive.programs import program

# Programs that build a network adopt these with `flags.adopt_module_key_flags`.
MODEL = flags.DEFINE_string("model", "msdnet", f"network: {' or '.join(NETWORKS)}")
PRESET = flags.DEFINE_string(
    "preset",
    None,
    "published configuration; if unset, "
    + ", ".join(f"{preset} of {model}" for model, preset in DEFAULT_PRESETS.items()),
)


def fill_preset():
    """Gives --preset the one that --model has by default, where none was named.

    Raises:
        InputError: there is no such network or preset.
    """
    check_choice("model", MODEL.value, NETWORKS)
    program.fill_unset(preset=DEFAULT_PRESETS[MODEL.value])
    check_choice("preset", PRESET.value, presets_with_exits(MODEL.value))
