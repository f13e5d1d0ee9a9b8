"""The embedded model from random weights: a batched training path and its recipe."""
