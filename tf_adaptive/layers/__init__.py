"""Subclassed Keras layers that the networks are built from."""

from tf_adaptive.layers.batch_normalization import BatchNormalization
from tf_adaptive.layers.bilinear_resize import BilinearResize
from tf_adaptive.layers.boosted_sum import BoostedSum
from tf_adaptive.layers.conv_unit import ConvUnit
from tf_adaptive.layers.fake_quantization import (
    FakeQuantize,
    FakeQuantizedConvUnit,
    FakeQuantizedDense,
)
from tf_adaptive.layers.gradient_rescale import GradientRescale
from tf_adaptive.layers.mean_prediction import MeanPrediction
from tf_adaptive.layers.padded_shortcut import PaddedShortcut
from tf_adaptive.layers.reorder_channels import ReorderChannels
from tf_adaptive.layers.stop_gradient import StopGradient
from tf_adaptive.layers.straight_through_gumbel import StraightThroughGumbel

__all__ = [
    "BatchNormalization",
    "BilinearResize",
    "BoostedSum",
    "ConvUnit",
    "FakeQuantize",
    "FakeQuantizedConvUnit",
    "FakeQuantizedDense",
    "GradientRescale",
    "ReorderChannels",
    "MeanPrediction",
    "PaddedShortcut",
    "StopGradient",
    "StraightThroughGumbel",
]
