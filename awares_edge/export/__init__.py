"""From a Hugging Face checkpoint to a bundle that a device runs without torch."""

from awares_edge.export.facade import FORMATS, export_checkpoint

__all__ = ["FORMATS", "export_checkpoint"]
