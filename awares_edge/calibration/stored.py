"""Puts a calibration into a bundle's manifest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from awares_edge.bundle.store import Bundle
from awares_edge.files import check_output, whole_file
from awares_edge.protocol.calibration import Calibration
from awares_edge.spec import MANIFEST_NAME


def check_storable(bundle: Bundle) -> None:
    """Find out before the work whether the manifest can be written; leaves no trace.

    Raises:
        InputError: it cannot.
    """
    check_output(bundle.root / MANIFEST_NAME)


def store(bundle: Bundle, **fitted: Any) -> Bundle:
    """Rewrite the manifest with these fields of `Calibration`; those fitted before stay.

    The manifest is replaced whole; no other file is touched, and their hashes stay.

    Returns:
        the bundle as it is now.

    Raises:
        BundleError: a value is out of range; nothing is written then.
        OSError: the manifest cannot be written.
    """
    manifest = bundle.manifest
    before = manifest.calibration or Calibration(manifest.protocol_sha256, manifest.files_sha256)
    complete = replace(manifest, calibration=replace(before, **fitted))
    text = complete.to_json()
    with whole_file(bundle.root / MANIFEST_NAME) as file:
        file.write(text.encode())
    return Bundle(bundle.root, complete)
