"""`awares-edge inspect`: what was verified, and what was not."""

import json

from awares_edge.apps.cli import main
from tests.support.forged import forge


def test_inspect_names_files_that_are_never_read(tmp_path, capsys):
    root = forge(tmp_path / "bundle")
    (root / "note\x1b[2J.txt").write_text("mine")
    assert main(["inspect", str(root)]) == 0
    printed = capsys.readouterr().out
    assert "all 8 listed files verified" in printed
    assert "1 more in the folder are not listed and are never read: 'note\\x1b[2J.txt'" in printed
    assert main(["inspect", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unlisted"] == ["note\x1b[2J.txt"]
