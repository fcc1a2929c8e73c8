"""Finds and reads the files of pictures."""

import os

from tf_adaptive.errors import InputError
from tf_adaptive.pictures import MAX_PIXELS, PICTURE_SUFFIXES

STANDARD_INPUT = "-"

# As much as the largest picture takes with four channels and no compression.
MAX_FILE_BYTES = 4 * MAX_PIXELS


def find_pictures(arguments):
    """The pictures that arguments of a command line name.

    Args:
        arguments: files, `STANDARD_INPUT`, or folders; those are searched with all folders in
            them for `PICTURE_SUFFIXES`, what is hidden left out.

    Returns:
        `(paths, refused)`: paths of files, which may not be there, in the order of the arguments,
        those of a folder sorted; and a reason in words by path of a folder that has no pictures
        or cannot be read.
    """
    paths, refused = [], {}

    def refuse(error):
        refused[error.filename] = f"{error.strerror}."

    for argument in arguments:
        if not os.path.isdir(argument):
            paths.append(argument)
            continue
        found = []
        for folder, folders, files in os.walk(argument, onerror=refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [os.path.join(folder, name) for name in files if _is_picture(name)]
        if not found and argument not in refused:
            refused[argument] = f"A folder must hold pictures ({', '.join(PICTURE_SUFFIXES)})."
        paths += sorted(found)
    return paths, refused


def read_picture(path):
    """The bytes of a file, or of standard input.

    Raises:
        InputError: it cannot be read, or has more than `MAX_FILE_BYTES`.
    """
    is_standard_input = path == STANDARD_INPUT
    try:
        with open(0 if is_standard_input else path, "rb", closefd=not is_standard_input) as file:
            size = os.fstat(file.fileno()).st_size
            if size <= MAX_FILE_BYTES:
                # What is no regular file says that it is empty.
                content = file.read(MAX_FILE_BYTES + 1)
                size = len(content)
    except OSError as error:
        raise InputError(f"{error.strerror}.") from error
    if size > MAX_FILE_BYTES:
        raise InputError(
            f"A picture must have at most {MAX_FILE_BYTES} bytes. Received: at least {size}."
        )
    return content


def _is_picture(name):
    return name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith(".")
