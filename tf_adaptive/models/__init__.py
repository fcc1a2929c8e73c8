"""Builders of networks and their presets."""

from tf_adaptive.models.drnet import DRNet
from tf_adaptive.models.efficientnet_lite import EfficientNetLite
from tf_adaptive.models.msdnet import MSDNet
from tf_adaptive.models.ranet import RANet
from tf_adaptive.models.resnet import ResNet
from tf_adaptive.models.resolution_branches import resolution_branches

__all__ = ["DRNet", "EfficientNetLite", "MSDNet", "RANet", "ResNet", "resolution_branches"]
