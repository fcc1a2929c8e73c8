"""Builders of multi-exit networks and their presets."""

from tf_adaptive.models.msdnet import MSDNet
from tf_adaptive.models.ranet import RANet

__all__ = ["MSDNet", "RANet"]
