"""Bundles: a folder that holds what a device needs, pinned by hash, and nothing else."""

from awares_edge.bundle.manifest import FileEntry, Manifest
from awares_edge.bundle.store import Bundle
from awares_edge.bundle.writer import BundleWriter

__all__ = ["Bundle", "BundleWriter", "FileEntry", "Manifest"]
