"""What the published networks have in common: presets, their own description, its checks."""

import math

import keras

from tf_adaptive.errors import InputError, check_choice, check_whole


class PublishedNetwork(keras.Model):
    """A functional model that is built anew from its constructor's arguments.

    A subclass builds the graph, calls `super().__init__(inputs, outputs, config)`, and so is saved
    and loaded by its arguments alone.

    Args:
        inputs: symbolic images.
        outputs: symbolic logits; of several exits a list, cheapest first.
        config: every argument of the subclass's constructor by name, "name" among them.

    Attributes:
        presets: arguments of the published configurations, by name.
    """

    presets = {}

    def __init__(self, inputs, outputs, config):
        super().__init__(inputs=inputs, outputs=outputs, name=config["name"])
        self._config = {**config, "dtype": keras.dtype_policies.get(config["dtype"]).name}

    @classmethod
    def from_preset(cls, preset, **overrides):
        """A published configuration, its weights random.

        Trained ones: `tf_adaptive.load_weights`, `load_run`, `load_pytorch_weights`.

        Args:
            preset: one of `presets`.
            **overrides: constructor arguments that differ from the preset's, such as
                `num_classes` or `input_shape`.

        Raises:
            InputError: no preset has that name.
        """
        check_choice("preset", preset, cls.presets)
        return cls(**{**cls.presets[preset], **overrides})

    def get_config(self):
        return dict(self._config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def check_any_image_shape(input_shape):
    """Refuses what is no shape of images whose height and width may be None."""
    if len(input_shape) != 3 or input_shape[2] is None:
        raise InputError(
            "`input_shape` must be (height, width, channels), height and width None for any. "
            f"Received: input_shape={input_shape}."
        )
    for side in input_shape:
        if side is not None:
            check_whole("input_shape", side, least=1)


def check_common_arguments(*, input_shape, num_classes, stem, num_channels, growth_rate, reduction):
    """Refuses what no published network can be built from; `reduction` is in [0, 1]."""
    check_choice("stem", stem, ("cifar", "imagenet"))
    if len(input_shape) != 3 or any(not isinstance(side, int) or side < 1 for side in input_shape):
        raise InputError(
            "`input_shape` must be (height, width, channels), each a whole number of 1 or more. "
            f"Received: input_shape={input_shape}."
        )
    check_whole("num_classes", num_classes, least=2)
    check_whole("num_channels", num_channels, least=1)
    check_whole("growth_rate", growth_rate, least=1)
    if not 0 <= reduction <= 1:
        raise InputError(f"`reduction` must be in [0, 1]. Received: reduction={reduction}.")


def check_blocks_and_widths(blocks, widths):
    """Refuses lists of different lengths, empty ones, and entries below 1."""
    if not blocks or len(blocks) != len(widths):
        raise InputError(
            "`blocks` and `widths` must have one entry per group. "
            f"Received: blocks={blocks}, widths={widths}."
        )
    for name, entries in (("blocks", blocks), ("widths", widths)):
        for entry in entries:
            check_whole(name, entry, least=1)


def check_exit_places(name, places, fewest):
    """Refuses places of exits in a group that do not rise from 1, or lie past a group's end."""
    for place in places:
        check_whole(name, place, least=1)
    if list(places) != sorted(set(places)) or (places and places[-1] >= fewest):
        raise InputError(
            f"`{name}` must be rising and below the length of every group, which is {fewest} at "
            f"least. Received: {name}={tuple(places)}."
        )


def check_per_scale(scale_growth, scale_bottleneck):
    """Refuses lists of different lengths, empty ones, and factors below 1."""
    if not scale_growth or len(scale_growth) != len(scale_bottleneck):
        raise InputError(
            "`scale_growth` and `scale_bottleneck` must have one entry of 1 or more per scale. "
            f"Received: scale_growth={scale_growth}, scale_bottleneck={scale_bottleneck}."
        )
    for factor in scale_growth:
        check_whole("scale_growth", factor, least=1)
    for factor in scale_bottleneck:
        check_whole("scale_bottleneck", factor, least=1)


def reduced(channels, reduction):
    """How many of `channels` a transition keeps; refuses to keep none."""
    kept = math.floor(reduction * channels)
    if kept == 0:
        raise InputError(
            f"`reduction` must leave a channel at each transition. Received: reduction={reduction}."
        )
    return kept
