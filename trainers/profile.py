"""Prints what each exit of a network costs.

python -m trainers.profile --model msdnet --preset msdnet_cifar_lingrow7 --num_classes 100
"""

import dataclasses
import json

from absl import flags

from tf_adaptive.profile import profile
from trainers import networks, program

flags.adopt_module_key_flags(networks)
_NUM_CLASSES = flags.DEFINE_integer("num_classes", None, "classes; the preset's if unset")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", None, "pixels a side; the preset's if unset")
_CHANNELS = flags.DEFINE_integer("channels", 3, "channels of the images")
_LATENCY_RUNS = flags.DEFINE_integer("latency_runs", 0, "how often to time each exit; 0 for never")
_JSON = flags.DEFINE_bool("json", False, "print JSON")


def main():
    name = networks.MODEL.value
    program.fill_unset(preset=networks.default_preset(name))
    preset = networks.PRESET.value
    published = networks.network_class(name, preset).presets[preset]
    image_size = _IMAGE_SIZE.value
    if image_size is None:
        image_size = published["input_shape"][0]
    model = networks.build_network(
        name,
        preset,
        input_shape=(image_size, image_size, _CHANNELS.value),
        num_classes=_NUM_CLASSES.value,
    )
    costs = profile(model, latency_runs=_LATENCY_RUNS.value)
    if _JSON.value:
        print(json.dumps([dataclasses.asdict(cost) for cost in costs], indent=2))
        return
    _print_row("million MACs, published", [f"{cost.macs / 1e6:.2f}" for cost in costs])
    _print_row("million MACs, lazy", [f"{cost.lazy_macs / 1e6:.2f}" for cost in costs])
    _print_row("million parameters", [f"{cost.parameters / 1e6:.2f}" for cost in costs])
    _print_row("kilobytes handed on", [f"{cost.state_bytes / 1e3:.1f}" for cost in costs])
    if _LATENCY_RUNS.value:
        _print_row("milliseconds, batch 1", [f"{cost.latency_ms:.2f}" for cost in costs])


def _print_row(title, numbers):
    print(f"{title:<24}", " ".join(numbers))


if __name__ == "__main__":
    program.run(main)
