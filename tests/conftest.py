"""Settings for the whole suite."""

from hypothesis import settings

# Tests never depend on the wall clock, and CI finds the same examples every time.
settings.register_profile("default", deadline=None, derandomize=True)
settings.load_profile("default")
