"""What is read of the CPU, and when int8 products need the slower, exact way."""

import pytest

from awares_edge.runtimes.onnx import cpu

X86 = "processor\t: 0\nflags\t\t: sse4_2 avx2{more}\n\nprocessor\t: 1\nflags\t\t: sse4_2 avx2 rtm\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp\n"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    def machine(name, info):
        path = tmp_path / "cpuinfo"
        if info is not None:
            path.write_text(info)
        monkeypatch.setattr(cpu, "_INFO", path)
        monkeypatch.setattr(cpu.platform, "machine", lambda: name)
        cpu.features.cache_clear()

    yield machine
    cpu.features.cache_clear()


def test_the_instruction_sets_of_all_cores(machine):
    machine("x86_64", X86.format(more=" fma"))
    assert cpu.features() == {"sse4_2", "avx2", "fma", "rtm"}
    machine("aarch64", ARM)
    assert cpu.features() == {"fp", "asimd", "asimddp"}


@pytest.mark.parametrize(
    ("name", "info", "expected"),
    [
        ("x86_64", X86.format(more=""), True),
        ("x86_64", X86.format(more=" avx_vnni"), False),
        ("x86_64", X86.format(more=" avx512_vnni"), False),
        ("AMD64", None, True),
        ("aarch64", ARM, False),
        ("arm64", None, False),
    ],
)
def test_products_overflow_on_x86_without_vnni(machine, name, info, expected):
    machine(name, info)
    assert cpu.overflows() is expected
