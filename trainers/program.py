"""What every program does around its `main`: flags, and errors in one line."""

import sys
import warnings

from absl import app, flags

from tf_adaptive.errors import InputError

# As shells and absl itself have it: 2 for wrong usage, 130 for Ctrl-C.
_USAGE_STATUS = 2
_INTERRUPTED_STATUS = 130


def run(main, *, takes_arguments=False):
    """Parses the flags and runs `main()`; what the user got wrong is one line and status 2.

    Args:
        main: function of the program.
        takes_arguments: whether it is called with a list of what stands beside the flags, which
            nothing may otherwise.
    """

    def run_main(arguments):
        _, *arguments = arguments
        # As errors are told: what is wrong, and not the line of code that found it.
        warnings.formatwarning = lambda message, *_: f"warning: {' '.join(str(message).split())}\n"
        if arguments and not takes_arguments:
            _stop(f"there are no arguments besides flags. Received: {arguments[0]!r}")
        try:
            main(*([arguments] if takes_arguments else []))
        except InputError as error:
            _stop(error)
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            sys.exit(_INTERRUPTED_STATUS)

    app.run(run_main, flags_parser=_parse_flags)


def flag_values():
    """The program's own flags by name, as parsed."""
    return {flag.name: flag.value for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0])}


def fill_unset(**values):
    """Gives flags that the user left unset a value, as if it had been given."""
    for name, value in values.items():
        if flags.FLAGS[name].value is None:
            flags.FLAGS[name].value = value


def numbers(flag, kind=float):
    """The numbers of a list flag, None when it is unset.

    Args:
        flag: what `flags.DEFINE_list` gave.
        kind: float or int.

    Raises:
        InputError: an entry is no number of that kind.
    """
    if flag.value is None:
        return None
    try:
        return [kind(entry) for entry in flag.value]
    except ValueError:
        raise InputError(
            f"`{flag.name}` must be {'whole ' if kind is int else ''}numbers with commas between. "
            f"Received: --{flag.name}={','.join(flag.value)}"
        ) from None


def _parse_flags(arguments):
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        _stop(error)


def _stop(error):
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(_USAGE_STATUS)
