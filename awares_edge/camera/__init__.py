"""Live pictures from cameras, and the printed sheet that the embedded model can read from them."""
