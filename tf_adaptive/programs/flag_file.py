"""Files of flags that the programs take with --flagfile."""

from tf_adaptive.files import replaced_whole


def write_flag_file(path, values):
    """Writes flags, a line each.

    Args:
        path: `pathlib.Path` of the file.
        values: dict of the flags' names to values; those that are None are left out.
    """
    lines = [_line(name, value) for name, value in values.items() if value is not None]
    with replaced_whole(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines))


def _line(name, value):
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    return f"--{name}={value}"
