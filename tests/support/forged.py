"""Copies of the embedded bundle with changes, under a manifest that agrees with them."""

import json
import shutil
from dataclasses import asdict

from awares_edge.api import embedded_bundle
from awares_edge.bundle.store import hash_file
from awares_edge.spec import MANIFEST_NAME


def forge(root, files=(), change=lambda body: None):
    """A copy of the nano bundle at `root`.

    Args:
        files: new contents by file name; their sizes and hashes are put into the manifest.
        change: edits the manifest, as parsed JSON.
    """
    shutil.copytree(embedded_bundle(), root)
    path = root / MANIFEST_NAME
    body = json.loads(path.read_text())
    for name, data in dict(files).items():
        (root / name).write_bytes(data)
        body["files"][name] = asdict(hash_file(root / name))
    change(body)
    path.write_text(json.dumps(body))
    return root
