"""What the documents promise exists."""

import ast
import re
from pathlib import Path

import pytest
import typer

from awares_edge.apps.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "checkpoints/*/*.md", "recipes/*/*.md")
    for page in ROOT.glob(pattern)
)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_examples_are_python(page):
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        ast.parse(code)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_options_exist(page):
    root = typer.main.get_command(app)
    known = {"awares-edge": root}
    for line in re.findall(r"^ *awares-edge (.*)$", page.read_text(encoding="utf-8"), re.M):
        words = line.split("#")[0].split("|")[0].split()
        command = known["awares-edge"]
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        if command is root:
            # `awares-edge: message` and option lists of the program itself.
            continue
        options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        options |= {"--help", "--debug"}
        for word in words:
            if re.fullmatch(r"-{1,2}[a-z][a-z-]*", word):
                assert word in options, line


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_blocks_of_shell_exist(page):
    known = typer.main.get_command(app).commands
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        named = set(re.findall(r"^(?:.* )?awares-edge ([a-z][a-z-]*)", block, re.M))
        assert named <= known.keys()


def test_the_package_names_no_machine_and_no_private_tool():
    for path in [
        *PAGES,
        *ROOT.glob("awares_edge/**/*.py"),
        *ROOT.glob("recipes/**/*.py"),
        *filter(Path.is_file, ROOT.glob("scripts/*")),
        *ROOT.glob("scripts/*/*.py"),
    ]:
        text = path.read_text(encoding="utf-8")
        assert "/work/" not in text, path
        assert "/root/" not in text, path
