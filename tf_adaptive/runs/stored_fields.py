"""What fields of the JSON files beside networks must be, checked where the files are read."""

import reprlib

from tf_adaptive.errors import InputError, is_whole
from tf_adaptive.pictures import PICTURE_READINGS

# What a user of a network must know of the data it was trained on, and its types.
DATA_SETTINGS = {
    "class_names": list,
    "image_shape": list,
    "mean": list,
    "std": list,
    "center_crop": bool,
}
# Lacking in what former versions wrote.
PICTURE_READING = "picture_reading"

# No number of ours comes near; NaN and infinity are not below it.
_MOST = 1e300


def is_text(value):
    return isinstance(value, str)


def is_number(value):
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST


def is_list_of(fits, value):
    """Whether it is a list whose entries `fits` is true of; there may be none."""
    return isinstance(value, list) and all(map(fits, value))


def is_dict_of(fits, value):
    """Whether it is a dictionary whose values `fits` is true of."""
    return isinstance(value, dict) and all(map(fits, value.values()))


def or_none(fits):
    return lambda value: value is None or fits(value)


# Of each field a function that is true of a value that fits, and the value in words.
DATA_FIELDS = {
    "class_names": (lambda value: value and is_list_of(is_text, value), "a list of names"),
    "image_shape": (
        lambda value: is_list_of(is_whole, value) and len(value) == 3,
        "a list of height, width and channels, whole numbers from 1 on",
    ),
    "mean": (lambda value: is_list_of(is_number, value), "a list of finite numbers"),
    "std": (
        lambda value: is_list_of(lambda each: is_number(each) and each > 0, value),
        "a list of finite numbers above 0",
    ),
    "center_crop": (lambda value: isinstance(value, bool), "true or false"),
    "picture_reading": (
        lambda value: value in PICTURE_READINGS,
        f"one of {', '.join(PICTURE_READINGS)}",
    ),
}


def check_fields(path, held, fields):
    """Refuses a file with a field that does not fit; fields that are missing are left aside.

    Args:
        path: of the file.
        held: dictionary that it holds.
        fields: as `DATA_FIELDS`; those of them in the file must go together as well.

    Raises:
        InputError: a field that does not fit, which is named, or one of "mean" and "std" without
            a number for each channel of "image_shape".
    """
    for name, (fits, words) in fields.items():
        if name in held and not fits(held[name]):
            raise _refused(path, name, words, held[name])
    if "image_shape" not in held or "image_shape" not in fields:
        return
    channels = held["image_shape"][-1]
    for name in ("mean", "std"):
        if name in held and len(held[name]) != channels:
            raise _refused(path, name, f"{channels} numbers, one per channel", held[name])


def _refused(path, name, words, value):
    return InputError(f"`{name}` in {path} must be {words}. Received: {reprlib.repr(value)}.")
