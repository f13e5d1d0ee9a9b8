"""The harness finds what it is there to find."""

import time

import pytest

from awares_edge.errors import InputError
from tests.fuzz.harness import MEMORY, fuzz


class Target:
    def __init__(self, folder):
        self.folder = folder

    def case(self, random):
        return random.randrange(10)

    def check(self, case):
        if case < 5:
            raise InputError("a small number: give a larger one")
        return "accepted"


class Raises(Target):
    def check(self, case):
        return {5: "accepted"}[case]


class Hangs(Target):
    def check(self, case):
        time.sleep(60)


class Grows(Target):
    def check(self, case):
        return str(len(bytearray(MEMORY)))


def test_outcomes_are_counted_and_the_same_every_time():
    first, second = fuzz(Target, 200), fuzz(Target, 200)
    assert first.faults == []
    assert set(first.outcomes) == {"accepted", "refused"}
    assert sum(first.outcomes.values()) == first.cases == 200
    assert first.outcomes == second.outcomes != fuzz(Target, 200, seed=1).outcomes


@pytest.mark.parametrize(("target", "says"), [(Raises, "KeyError"), (Grows, "MemoryError")])
def test_an_exception_that_is_not_ours_is_a_fault(target, says):
    report = fuzz(target, 50)
    assert says in report.faults[0]


@pytest.mark.slow
def test_a_hang_is_a_fault():
    report = fuzz(Hangs, 2)
    assert "Timeout" in report.faults[0]
