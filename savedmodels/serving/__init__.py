"""A run as a SavedModel for TF Serving."""

from tf_adaptive.programs import quiet

quiet.import_tensorflow()
