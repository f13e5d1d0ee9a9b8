"""Training: curation, SFT, GRPO and weight averaging (needs the `train` extra)."""
