"""The package is read in small pieces: short files, short functions."""

import ast
from pathlib import Path

import awares_edge

PACKAGE = Path(awares_edge.__file__).parent
MOST_LINES_OF_A_FILE = 300
MOST_LINES_OF_A_FUNCTION = 60


def sources(root):
    return {
        str(path.relative_to(root)): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*.py"))
    }


def long_files(root):
    lengths = {name: len(text.splitlines()) for name, text in sources(root).items()}
    return {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_A_FILE}


def long_functions(root):
    """Functions and methods whose signature, docstring and body together are too long."""
    found = {}
    for name, text in sources(root).items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > MOST_LINES_OF_A_FUNCTION:
                    found[f"{name}:{node.lineno} {node.name}"] = lines
    return found


def test_no_file_is_long():
    assert long_files(PACKAGE) == {}


def test_no_function_is_long():
    assert long_functions(PACKAGE) == {}


def test_one_line_too_many_is_found(tmp_path):
    """A file and functions of exactly the most lines pass; one line more does not."""

    def function(name, lines):
        return f"{name}():\n" + "    x = 1\n" * (lines - 1)

    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "short.py").write_text("x = 1\n" * 300)
    (inner / "long.py").write_text("x = 1\n" * 301)
    (inner / "functions.py").write_text(
        function("def sixty", 60) + function("def more", 61) + function("async def waits", 61)
    )
    (tmp_path / "method.py").write_text("class C:\n    def m(self):\n" + "        x = 1\n" * 60)
    assert long_files(tmp_path) == {"inner/long.py": 301}
    assert long_functions(tmp_path) == {
        "inner/functions.py:61 more": 61,
        "inner/functions.py:122 waits": 61,
        "method.py:2 m": 61,
    }
