"""From a finished run to its use: programs, run as `python -m savedmodels.NAME`."""

import lazy_loader

# Each name is imported when it is first used; `__init__.pyi` lists them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
