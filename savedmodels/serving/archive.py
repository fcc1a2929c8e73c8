"""Functions as a SavedModel's signatures."""

import keras


def write_saved_model(folder, signatures):
    """Writes a SavedModel.

    Args:
        folder: to write it into.
        signatures: dictionary of name to `(function, input_signature)`, the default one first.
    """
    archive = keras.export.ExportArchive()
    for name, (function, input_signature) in signatures.items():
        archive.add_endpoint(name, function, input_signature=input_signature)
    archive.write_out(str(folder), verbose=False)
