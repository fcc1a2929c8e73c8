"""What every program does around its `main`: flags, and errors in one line."""

import gc
import os
import re
import sys
import warnings

from absl import app, flags

from tf_adaptive.errors import InputError
from tf_adaptive.extras import check_extra

# What TensorFlow says where another of the processes that train together is gone.
_LOST_WORKER = re.compile("Collective ops|heartbeat|[Cc]oordination service|Connection re|recvmsg")
# What TensorFlow and HDF5 say in the middle of their own words.
_MACHINE_REASONS = re.compile(
    "No space left on device|Disk quota exceeded|File too large|Read-only file system|"
    "Permission denied|Input/output error|Too many open files|OOM when allocating[^\n]*?\\]"
)

# As shells and absl itself have it: 1 where the machine fails, 2 for wrong usage, 130 for Ctrl-C.
_MACHINE_STATUS = 1
_USAGE_STATUS = 2
_INTERRUPTED_STATUS = 130


# The module of the program that runs, whose flags are its own.
_running = {}


def run(main, *, needs=(), takes_arguments=False):
    """Parses the flags and runs `main()`; what the user got wrong is one line and status 2.

    What the machine could not do, for want of space, memory or permission, is one line and status
    1.

    Args:
        main: function of the program.
        needs: the extras without which it would end in an error, sooner or later.
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
            for extra in needs:
                check_extra(extra)
            main(*([arguments] if takes_arguments else []))
        except InputError as error:
            _stop(error)
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            sys.exit(_INTERRUPTED_STATUS)
        except Exception as error:
            reason = _machine_reason(error)
            if reason is None:
                raise
            _stop(reason, _MACHINE_STATUS)

    _running["module"] = sys.modules[main.__module__]
    # What has been imported stays: the garbage collector need not look through it.
    gc.freeze()
    app.run(run_main, flags_parser=_parse_flags)


def flag_values():
    """The program's own flags by name, as parsed."""
    own = flags.FLAGS.get_key_flags_for_module(_running["module"])
    return {flag.name: flag.value for flag in own}


def fill_unset(**values):
    """Gives flags that the user left unset a value, as if it had been given."""
    for name, value in values.items():
        if flags.FLAGS[name].value is None:
            flags.FLAGS[name].value = value


def numbers(flag, kind=float, *, none=None):
    """The numbers of a list flag, None when it is unset.

    Args:
        flag: what `flags.DEFINE_list` gave.
        kind: float or int.
        none: a word among them that stands for None.

    Raises:
        InputError: an entry is no number of that kind.
    """
    if flag.value is None:
        return None
    try:
        return [None if entry == none else kind(entry) for entry in flag.value]
    except ValueError:
        raise InputError(
            f"`{flag.name}` must be {'whole ' if kind is int else ''}numbers with commas between. "
            f"Received: --{flag.name}={','.join(flag.value)}."
        ) from None


def _parse_flags(arguments):
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        _stop(error)


def _machine_reason(error):
    """What the machine lacked, in words; None for an error of another kind."""
    if isinstance(error, MemoryError):
        return f"The memory must suffice. Received: {error or 'none left'}"
    found = _MACHINE_REASONS.search(str(error))
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f": {error.filename}"
        return f"Files must be readable and writable. Received: {error.strerror}{where}"
    # TensorFlow's own errors are imported with it, and not for a program's help.
    is_of_tensorflow = type(error).__module__ == "tensorflow.python.framework.errors_impl"
    if is_of_tensorflow and "TF_CONFIG" in os.environ and _LOST_WORKER.search(str(error)):
        return (
            "All workers of TF_CONFIG must go on to the end. Received: one that stopped or cannot "
            "be reached; start all of them again, with --resume where there is a checkpoint"
        )
    if found is None or not (is_of_tensorflow or isinstance(error, OSError)):
        return None
    if found[0].startswith("OOM"):
        return f"The memory must suffice. Received: {found[0]}"
    path = re.search(r"(/[^\s;:,']+)[;:]? " + re.escape(found[0]), str(error))
    where = f": {path[1]}" if path else ""
    return f"Files must be readable and writable. Received: {found[0]}{where}"


def _stop(error, status=_USAGE_STATUS):
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(status)
