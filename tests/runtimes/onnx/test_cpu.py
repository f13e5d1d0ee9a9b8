"""What is read of the CPU, and when int8 products need the slower, exact way."""

import numpy as np
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


def test_there_int8_weights_are_converted_and_compute_the_same(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from awares_edge.export import export_checkpoint
    from awares_edge.protocol.profiles import get_profile
    from awares_edge.runtimes.base import TextSegment
    from awares_edge.runtimes.onnx import OnnxRuntime
    from tests.support.checkpoints import make_checkpoint

    checkpoint = make_checkpoint(tmp_path / "model", "untied")
    profile = get_profile("paper")
    bundle = export_checkpoint(checkpoint, tmp_path / "b", precision="int8", profile=profile)
    rows = []
    for overflows in (False, True):
        monkeypatch.setattr(cpu, "overflows", lambda value=overflows: value)
        with OnnxRuntime.load(bundle, threads=1) as runtime:
            options = runtime._text._session.get_session_options()
            if overflows:
                assert options.get_session_config_entry("session.x64quantprecision") == "1"
            rows.append(runtime.open_session().prefill([TextSegment(tuple(range(5, 30)))])[0])
    assert np.abs(rows[0] - rows[1]).max() <= 2e-5 * rows[0].std()
