"""Builders of multi-exit networks and their presets."""

from tf_adaptive.models.msdnet import MSDNet

__all__ = ["MSDNet"]
