"""Quantization statistics and decision calibration (to come; see the issue tracker)."""
