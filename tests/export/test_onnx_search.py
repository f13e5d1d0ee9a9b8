"""The search for the least drift within one budget or two, against every mix there is."""

from itertools import product

import numpy as np
import pytest

from awares_edge.export.onnx.search import Choice, cheapest, least_drift

INFINITE = float("inf")


def random_options(rng, matrices=7):
    """Seven matrices in three formats. int8 is faster than 4 bits or slower, fp16 the slowest."""
    options = {}
    for name in "abcdefg"[:matrices]:
        size, loss = int(rng.integers(1, 100)), float(rng.uniform(0.01, 1))
        ms = size * float(rng.uniform(0.5, 2))
        options[name] = [
            Choice("int4", (size, ms), loss),
            Choice("int8", (2 * size, ms * float(rng.uniform(0.5, 1.5))), loss / 50),
            Choice("fp16", (4 * size, 3 * ms), 0.0),
        ]
    return options


def only(options, place):
    """The same choices with one of their costs."""
    return {
        name: [Choice(way.format, (way.costs[place],), way.drift) for way in ways]
        for name, ways in options.items()
    }


def every_mix(options):
    """[mixes, costs and drift]."""
    mixes = product(*options.values())
    return np.array([totals(mix) for mix in mixes])


def totals(mix):
    mix = list(mix)
    costs = np.sum([choice.costs for choice in mix], axis=0)
    return [*costs, sum(choice.drift for choice in mix)]


@pytest.mark.parametrize("seed", range(20))
def test_one_budget(seed):
    """At most a tenth of what could be saved is missed, and no step that is left fits."""
    options = only(random_options(np.random.default_rng(seed)), 0)
    every = every_mix(options)
    budget = 1.7 * every[:, 0].min()
    mix = least_drift(options, [budget])
    size, drift = totals(mix.values())
    assert size <= budget
    assert drift - every[every[:, 0] <= budget, 1].min() <= 0.1 * every[:, 1].max()
    for name, choice in mix.items():
        for way in options[name]:
            assert way.drift >= choice.drift or size - choice.costs[0] + way.costs[0] > budget


@pytest.mark.parametrize("seed", range(60))
def test_two_budgets(seed):
    """Both hold; nothing is refused that leaves a tenth of both; the drift is near the best."""
    rng = np.random.default_rng(seed)
    options = random_options(rng)
    every = every_mix(options)
    budgets = every[:, :2].min(axis=0) * rng.uniform(1, 2.5, 2)
    mix = least_drift(options, budgets)
    if mix is None:
        assert not (every[:, :2] <= budgets / 1.1).all(axis=1).any()
        return
    *costs, drift = totals(mix.values())
    assert (costs <= budgets).all()
    # As good as the best mix of budgets that are smaller by a matrix's share of them.
    smaller = (every[:, :2] <= 0.85 * budgets).all(axis=1)
    assert drift <= every[smaller, 2].min(initial=INFINITE)


@pytest.mark.parametrize("seed", range(20))
def test_the_cheapest_mix(seed):
    options = random_options(np.random.default_rng(seed))
    every = every_mix(options)
    for place in (0, 1):
        alone = only(options, place)
        least = cheapest(alone, [])
        assert least == pytest.approx(every[:, place].min())
        assert least_drift(alone, [least]) is not None
        assert least_drift(alone, [least * (1 - 1e-9)]) is None
    size = 1.3 * every[:, 0].min()
    fastest = cheapest(options, [size])
    assert fastest >= every[every[:, 0] <= size, 1].min() - 1e-9
    assert fastest <= every[every[:, 0] <= size / 1.1, 1].min(initial=INFINITE)
    found = least_drift(options, [size, fastest])
    assert totals(found.values())[1] <= fastest
    assert cheapest(options, [0.5 * every[:, 0].min()]) == INFINITE


def test_a_budget_that_does_not_matter_changes_nothing():
    options = random_options(np.random.default_rng(0))
    size = 1.5 * sum(ways[0].costs[0] for ways in options.values())
    alone = least_drift(only(options, 0), [size])
    for budget in (1e9, INFINITE):
        both = least_drift(options, [size, budget])
        assert [way.format for way in both.values()] == [way.format for way in alone.values()]


def test_choices_that_are_worse_in_everything_are_not_taken():
    good, bad = Choice("int8", (1.0, 1.0), 0.1), Choice("int4", (2.0, 2.0), 0.2)
    mix = least_drift({"a": [bad, good], "b": [good], "c": [bad, good]}, [100.0, 100.0])
    assert [way.format for way in mix.values()] == ["int8"] * 3


def test_a_matrix_that_takes_most_of_a_budget_is_not_forgotten():
    """One large matrix among hundreds of small ones: the budget goes where it saves most."""
    small = [Choice("int4", (1.0,), 0.1), Choice("fp16", (4.0,), 0.0)]
    large = [Choice("int4", (300.0,), 500.0), Choice("fp16", (1200.0,), 0.0)]
    options = {"large": large, **{str(i): small for i in range(300)}}
    mix = least_drift(options, [1500.0])
    assert mix["large"].format == "fp16"
    assert sum(way.costs[0] for way in mix.values()) == 1500
