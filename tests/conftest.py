"""Settings for the whole suite."""

import os

from hypothesis import settings

# A width that the shell exports (pytest-xdist does too) would be fixed when consoles are made.
os.environ.pop("COLUMNS", None)

# Tests never depend on the wall clock, and CI finds the same examples every time.
settings.register_profile("default", deadline=None, derandomize=True)
settings.load_profile("default")


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz-times", type=float, default=1.0, help="run this many times the fuzz tier's cases"
    )
    parser.addoption("--fuzz-seed", type=int, default=0, help="seed of the fuzz tier's cases")
    parser.addoption(
        "--device", default="cpu", help="where the conformance suite computes: cpu, cuda, ..."
    )
