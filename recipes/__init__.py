"""Training recipes, one package each. They are not part of the wheel; run them from a checkout."""
