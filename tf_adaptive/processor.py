"""What the processor can do that times depend on."""

import os
import pathlib
import platform

_CPUINFO = pathlib.Path("/proc/cpuinfo")
# By the names that Linux gives them.
_FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX512_BF16",
    "amx_bf16": "AMX_BF16",
}
_WITH_BFLOAT16 = {"AVX512_BF16", "AMX_BF16"}
# What oneDNN, which convolves, may be held to below all of these.
_WITHOUT_BFLOAT16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"}


def processor_features(cpuinfo=None):
    """Those of AVX2, AVX-512, AVX512_BF16 and AMX_BF16 that the processor has, a tuple of names.

    Args:
        cpuinfo: what Linux tells of the processor; None to ask it.

    Returns:
        The names; None where Linux does not tell.
    """
    if cpuinfo is None:
        if not _CPUINFO.is_file():
            return None
        cpuinfo = _CPUINFO.read_text()
    lines = [line for line in cpuinfo.splitlines() if line.startswith("flags")]
    if not lines:
        return None
    flags = set(lines[0].split())
    return tuple(name for flag, name in _FEATURES.items() if flag in flags)


def multiplies_bfloat16(cpuinfo=None):
    """Whether the processor multiplies in bfloat16; True also where that is not known.

    Args:
        cpuinfo: see `processor_features`.
    """
    features = processor_features(cpuinfo)
    held_to = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    if features is None:
        return True
    return held_to not in _WITHOUT_BFLOAT16 and not _WITH_BFLOAT16.isdisjoint(features)


def told_processor():
    """The processor's features in a line, for beside measured times."""
    features = processor_features()
    known = "features unknown" if features is None else ", ".join(features) or "no AVX2"
    return f"{os.cpu_count()} cores, {platform.machine()}, {known}"
