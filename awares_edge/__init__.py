"""awares-edge."""
