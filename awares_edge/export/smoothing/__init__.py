"""Outlier channels moved from inputs into weights, without changing what the model computes.

SmoothQuant (arXiv:2211.10438) with AWQ's search (arXiv:2306.00978): each input channel of a matrix
is divided by a scale, the matrix's column multiplied by it. The division is folded into what makes
the input: a norm's weight, or rows of the matrix before. Scales are powers of two, which is exact.
"""

from awares_edge.export.smoothing.smooth import Smoothed, smooth

__all__ = ["Smoothed", "smooth"]
