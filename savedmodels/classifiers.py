"""An exported or converted network as a function from a picture's file to an answer."""

import os
import pathlib

from tf_adaptive.errors import InputError

from .description import DESCRIPTION_FILE


def load_classifier(model_dir, *, thresholds=None):
    """Loads a network, and has it see a blank image: the first one takes longer.

    Args:
        model_dir: folder that `savedmodels.convert_tflite` wrote, which is run without TensorFlow;
            or, of what `savedmodels.export` wrote, that of a version, of a model, whose newest
            version is taken, or of an only model.
        thresholds: for a network with K exits, K − 1 numbers in [0, 1] in place of its own.

    Returns:
        A `SavedModelClassifier` or a `TFLiteClassifier`: called with the bytes of a
        picture's file it gives a dictionary of "class" (from 0), "label", "confidence", and "exit"
        (from 1) or "resolution" (in pixels); and raises InputError for other bytes, a damaged file,
        or a picture that is too large. `many` does so for a list of them, which is refused whole
        where one of them is. `class_names` has the labels, `kind` is "exit" or "resolution",
        `exit_macs` are the multiply-accumulates up to each exit where they are known, else None,
        `threads` is how many threads may use it at once, None for any number, `pictures_at_once` is
        how many pictures `many` is best given by whoever waits for their answers, `directory` is
        the folder of the network itself, of no later version, and `mark` tells it from others.

    Raises:
        InputError: a folder that is neither, or damaged; thresholds of the wrong number, outside
            [0, 1], or for a DRNet.
    """
    directory = pathlib.Path(model_dir)
    # Either needs a runtime that the other does without.
    if os.path.isfile(directory / DESCRIPTION_FILE):
        from .tflite.classifier import TFLiteClassifier

        return TFLiteClassifier(directory, thresholds=thresholds)
    from .serving.classifier import SavedModelClassifier, newest_version

    return SavedModelClassifier(newest_version(directory), thresholds=thresholds)


def answers_or_errors(classify_many, files):
    """What a batch is answered, and what refuses single pictures of it.

    A batch with a picture that cannot be read is refused whole, before the network is run: it is
    halved until that picture is alone.

    Args:
        classify_many: from a list of files' bytes to a list of answers; raises InputError.
        files: list of bytes.

    Returns:
        List of answers and InputErrors.
    """
    if not files:
        return []
    try:
        return classify_many(files)
    except InputError as error:
        if len(files) == 1:
            return [error]
    middle = len(files) // 2
    return [
        answer
        for half in (files[:middle], files[middle:])
        for answer in answers_or_errors(classify_many, half)
    ]
