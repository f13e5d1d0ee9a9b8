"""`pytest -m fuzz`: untrusted inputs by the thousand; `--fuzz-times 10` runs ten times as many."""

import pytest

from tests.fuzz.harness import fuzz

REPORTS = []


@pytest.fixture
def check(request):
    """Run a target's cases and fail with what went wrong."""
    times = request.config.getoption("--fuzz-times")
    seed = request.config.getoption("--fuzz-seed")

    def run(target, cases):
        report = fuzz(target, round(cases * times), seed=seed)
        REPORTS.append(report)
        assert report.faults == [], "\n\n".join(report.faults)
        assert report.cases == round(cases * times)

    return run


def pytest_terminal_summary(terminalreporter):
    if REPORTS:
        terminalreporter.section("fuzzed")
        for report in REPORTS:
            terminalreporter.write_line(str(report))
