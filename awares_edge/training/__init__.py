"""Training: curation, SFT, GRPO, and the nano model from scratch (needs the `train` extra)."""
