"""Where time, memory and energy go: by turn and phase, one process a variant."""
