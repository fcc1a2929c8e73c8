import pytest

from tf_adaptive.processor import multiplies_bfloat16, processor_features, told_processor

HASWELL = "processor: 0\nflags\t\t: fpu sse2 avx avx2 fma\n"
SKYLAKE = "flags\t\t: fpu avx avx2 avx512f avx512bw\nflags\t\t: fpu avx avx2 avx512f avx512bw\n"
COOPER_LAKE = "flags\t\t: avx2 avx512f avx512_bf16\n"


@pytest.mark.parametrize(
    ("cpuinfo", "features", "in_bfloat16"),
    [
        (HASWELL, ("AVX2",), False),
        (SKYLAKE, ("AVX2", "AVX-512"), False),
        (COOPER_LAKE, ("AVX2", "AVX-512", "AVX512_BF16"), True),
        ("flags: avx2 avx512f amx_bf16\n", ("AVX2", "AVX-512", "AMX_BF16"), True),
        ("Features: asimd bf16\n", None, True),
    ],
)
def test_features(monkeypatch, cpuinfo, features, in_bfloat16):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert processor_features(cpuinfo) == features
    assert multiplies_bfloat16(cpuinfo) == in_bfloat16


def test_one_dnn_may_be_held_back(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    assert not multiplies_bfloat16(COOPER_LAKE)


def test_tells_it_in_a_line():
    assert " cores, " in told_processor()
