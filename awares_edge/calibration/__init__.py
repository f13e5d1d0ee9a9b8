"""Statistics of a checkpoint's inputs, measured on two-turn questions."""
