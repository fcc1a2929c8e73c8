"""Image classifiers that spend less computation on easy pictures."""

import lazy_loader

# Each name is imported when it is first used, so that what runs on small devices needs no
# TensorFlow; `__init__.pyi` lists them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
