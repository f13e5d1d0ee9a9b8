"""Command lines of any options and values: done, or refused in one line; nothing left behind."""

import contextlib
import io
import os
import unicodedata
from pathlib import Path
from random import Random

import pytest

import awares_edge
from awares_edge.apps import options
from awares_edge.apps.cli import main

COMMANDS = [
    ["ask", "{picture}", "What?"],
    ["ask", "{picture}"],
    ["inspect"],
    ["evaluate", "synth", "--limit", "1"],
    ["export", "nowhere", "-o", "out"],
    ["export", "{folder}", "-o", "{folder}", "--overwrite"],
    [],
]
OPTIONS = [
    *("--json", "--stream", "--debug", "--help", "--version", "--all-modes", "--overwrite", "--"),
    *("--bundle", "--runtime", "--mode", "--protocol", "--max-crops", "--max-rtr", "--crops"),
    *("--on-invalid-call", "--timeout", "--threads", "--context", "--max-new-tokens"),
    *("--save", "--save-view", "--seed", "--split", "--family", "--control", "--format"),
    *("--precision", "--adapter", "--calibration", "--target", "--cache-length", "--memory"),
    *("--decision-bias", "--abstain-below"),
]
VALUES = [
    *("", " ", "0", "1", "-1", "nan", "inf", "1e999", "9" * 30, "all", "0,5", "all,0", "paper"),
    *("awares", "low", "full", "onnx", "torch", "null", "cpu", "cuda", "gguf", "tensorrt", "fp16"),
    *("out", ".", "..", "{folder}", "{picture}", "{folder}/a/b", "/dev/null", "/proc/x"),
    *("é猫", "\x1b[2J", "[bold red]", "a\nb", "\udcff", "x" * 5000, "-", "--", "\u202e"),
]


class Arguments:
    """One command, and a few options with values that may fit or not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        os.chdir(self.folder)
        self.picture = Path(awares_edge.embedded_bundle()).parent / "samples" / "sign.png"
        options.load = lambda *_, protocol=None, **__: awares_edge.scripted(  # type: ignore[attr-defined]
            ["GET_CROPS: ['3']", "red"] * 50, protocol=protocol or "paper"
        )

    def case(self, random: Random) -> list[str]:
        arguments = list(random.choice(COMMANDS))
        for _ in range(random.randrange(4)):
            arguments.append(random.choice(OPTIONS))
            if random.random() < 0.7:
                arguments.append(random.choice(VALUES))
        if random.random() < 0.2:
            random.shuffle(arguments)
        names = {"{folder}": str(self.folder), "{picture}": str(self.picture)}
        for name, value in names.items():
            arguments = [argument.replace(name, value) for argument in arguments]
        return arguments

    def check(self, case: list[str]) -> str:
        # The traceback that --debug asks for is not a fault.
        case = [argument for argument in case if argument != "--debug"]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(case)
        assert code in (0, 2), (case, code)
        said = err.getvalue()
        assert all(c == "\n" or unicodedata.category(c)[0] != "C" for c in said), (case, said)
        if code == 2 and said:
            assert said.splitlines()[-1].startswith("awares-edge: "), (case, said)
        assert self.picture.exists()
        assert not [p for p in self.folder.rglob("*") if ".awares-edge." in p.name], case
        return "done" if code == 0 else "refused"


@pytest.mark.fuzz
def test_command_lines(check):
    check(Arguments, 500)
