"""A scripted model that answers whatever is asked."""

import pytest

import awares_edge


@pytest.fixture
def answering():
    """Make a model that answers every question with the same texts in turn."""

    def make(*replies, turns=400):
        return awares_edge.scripted([replies[i % len(replies)] for i in range(turns)])

    return make
