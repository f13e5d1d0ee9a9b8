"""Where tokens are computed: one seam (`base`), one registry, one module or folder a backend."""
