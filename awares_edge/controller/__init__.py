"""The AwaRes loop: low-res view, decision, crops, answer. Knows no runtime."""
