"""Builders of networks and their presets."""

from tf_adaptive.models.densenet import DenseNet
from tf_adaptive.models.drnet import DRNet
from tf_adaptive.models.efficientnet_lite import EfficientNetLite
from tf_adaptive.models.ensemble import Ensemble
from tf_adaptive.models.googlenet import GoogLeNet
from tf_adaptive.models.msdnet import MSDNet
from tf_adaptive.models.ranet import RANet
from tf_adaptive.models.resnet import ResNet
from tf_adaptive.models.wide_resnet import WideResNet

__all__ = [
    "DRNet",
    "DenseNet",
    "EfficientNetLite",
    "Ensemble",
    "GoogLeNet",
    "MSDNet",
    "RANet",
    "ResNet",
    "WideResNet",
]
