"""Subclassed Keras layers that the networks are built from."""

from tf_adaptive.layers.batch_normalization import BatchNormalization
from tf_adaptive.layers.bilinear_resize import BilinearResize
from tf_adaptive.layers.conv_unit import ConvUnit

__all__ = ["BatchNormalization", "BilinearResize", "ConvUnit"]
