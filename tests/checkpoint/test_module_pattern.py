"""Patterns of module names match as PEFT's regular expressions do, in linear time."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awares_edge.checkpoint.module_pattern import matches

atoms = st.sampled_from(["a", "b", "_", "1", ".", "\\.", "\\d", "[0-9]", "\\_"])
parts = st.tuples(atoms, st.sampled_from(["", "", "", "*", "+"])).map("".join)
alternatives = st.tuples(
    st.sampled_from(["", "", "^"]),
    st.lists(parts, min_size=1, max_size=6).map("".join),
    st.sampled_from(["", "", "$"]),
).map("".join)
patterns = st.lists(alternatives, min_size=1, max_size=2).map("|".join)
modules = st.text("ab_1.", min_size=1, max_size=10)


@given(patterns, modules)
def test_the_same_modules_match(pattern, module):
    assert matches(pattern, module) == bool(re.match(rf"(.*\.)?({pattern})$", module))


@pytest.mark.parametrize(
    "pattern",
    ["q_proj", r"layers\.1\.mlp\.up_proj", "layers.1.mlp.up_proj", r".*\.1\..*", r"mlp\.\w*|up_.*"],
)
def test_patterns_of_real_adapters(pattern):
    module = "model.language_model.layers.1.mlp.up_proj"
    if "\\w" in pattern:
        with pytest.raises(ValueError, match="not supported"):
            matches(pattern, module)
    else:
        assert matches(pattern, module) == (pattern != "q_proj")


@pytest.mark.parametrize("pattern", ["(", "(a+)+", "a{2}", "a**", "[a-z]", "\\", "*a", "(?:a)"])
def test_other_regular_expressions_are_refused(pattern):
    with pytest.raises(ValueError, match="not supported"):
        matches(pattern, "a")


def test_length_is_bounded():
    with pytest.raises(ValueError, match="is over 512 characters"):
        matches("a" * 513, "a")


def test_a_pattern_that_makes_backtracking_explode_ends():
    # Python's `re` would not finish within the age of the universe.
    assert not matches(".*a" * 120 + "b", "a" * 400)
