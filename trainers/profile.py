"""Prints what each exit of a network costs, or each resolution of a DRNet.

python -m trainers.profile --model msdnet --preset msdnet_cifar_lingrow7 --num_classes 100
python -m trainers.profile --model drnet --preset drnet_resnet50
"""

import dataclasses
import json

from absl import flags

from tf_adaptive.errors import InputError, check_choice
from tf_adaptive.exits.costs import profile
from tf_adaptive.models.drnet import DRNet
from tf_adaptive.models.from_preset import NETWORKS, build_network
from tf_adaptive.programs import program
from tf_adaptive.routing.costs import branch_costs

from .flags import network as network_flags

_DRNET = "drnet"

flags.adopt_module_key_flags(network_flags)
_NUM_CLASSES = flags.DEFINE_integer("num_classes", None, "classes; the preset's if unset")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", None, "pixels a side; the preset's if unset")
_CHANNELS = flags.DEFINE_integer("channels", None, "channels of the images; the preset's if unset")
_LATENCY_RUNS = flags.DEFINE_integer("latency_runs", 0, "how often to time each exit; 0 for never")
_JSON = flags.DEFINE_bool("json", False, "print JSON")


def main():
    name = network_flags.MODEL.value
    check_choice("model", name, (*NETWORKS, _DRNET))
    if name == _DRNET:
        _print_resolutions()
        return
    network_flags.fill_preset()
    preset = network_flags.PRESET.value
    model = build_network(name, preset, num_classes=_NUM_CLASSES.value)
    if _IMAGE_SIZE.value is not None or _CHANNELS.value is not None:
        _, side, channels = model.input_shape[1:]
        side = side if _IMAGE_SIZE.value is None else _IMAGE_SIZE.value
        channels = channels if _CHANNELS.value is None else _CHANNELS.value
        model = build_network(
            name,
            preset,
            input_shape=(side, side, channels),
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


def _print_resolutions():
    for flag in (_IMAGE_SIZE, _LATENCY_RUNS):
        if flag.value:
            raise InputError(
                f"`{flag.name}` must be left out with a DRNet, whose preset has its resolutions "
                "and whose runs benchmarks.resolution_routing times. "
                f"Received: {flag.name}={flag.value}."
            )
    check_choice("preset", network_flags.PRESET.value, DRNet.presets)
    overrides = {"num_classes": _NUM_CLASSES.value, "channels": _CHANNELS.value}
    given = {name: value for name, value in overrides.items() if value is not None}
    costs = branch_costs(DRNet.from_preset(network_flags.PRESET.value, **given))
    if _JSON.value:
        print(json.dumps(dataclasses.asdict(costs), indent=2))
        return
    _print_row("resolution", map(str, costs.resolutions))
    _print_row("million MACs", [f"{macs / 1e6:.2f}" for macs in costs.branch_macs])
    _print_row("of the predictor", [f"{costs.predictor_macs / 1e6:.2f}"])
    _print_row("million parameters", [f"{costs.parameters / 1e6:.2f}"])


def _print_row(title, numbers):
    print(f"{title:<24}", " ".join(numbers))


if __name__ == "__main__":
    program.run(main)
