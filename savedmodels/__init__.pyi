# What `savedmodels` has, and where: the package imports a name when it is first used.
from .serving.saved_model import export_model as export_model
from .tflite.conversion import convert_model as convert_model
