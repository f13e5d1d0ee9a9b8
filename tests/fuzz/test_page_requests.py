"""Requests to the camera's page: read to a dataclass within its limits, or refused."""

import json

import pytest

from awares_edge.camera.web import requests
from awares_edge.camera.web.options import MAX_INTERVAL
from awares_edge.protocol.prompt import MAX_QUESTION
from tests.fuzz.mutate import damage
from tests.fuzz.test_requests import mutated

SEEDS = {
    requests.AskBody: {"question": "What?", "follow_up": False, "continuous": True, "every": 0.5},
    requests.SourceBody: {"source": "synthetic"},
    requests.ModelBody: {"model": "nano (embedded)"},
    requests.RecordBody: {"on": True},
    requests.LoginBody: {"token": "0123456789abcdef"},
    requests.NoBody: {},
}


class PageRequests:
    """Bodies: JSON of the right shape with anything in it, and damaged bytes."""

    def __init__(self, folder):
        pass

    def case(self, random):
        kind = random.choice(list(SEEDS))
        body = json.dumps(mutated(random, SEEDS[kind], random.choice((0.0, 0.1, 0.3)))).encode()
        return kind, damage(random, body, [body]) if random.random() < 0.3 else body

    def check(self, case):
        kind, body = case
        read = requests.read_request(body, kind)
        assert type(read) is kind
        if isinstance(read, requests.AskBody):
            assert 1 <= len(read.question) <= MAX_QUESTION
            assert 0 <= read.every <= MAX_INTERVAL
            assert type(read.follow_up) is type(read.continuous) is bool
        return kind.__name__


@pytest.mark.fuzz
def test_page_requests_of_any_content(check):
    check(PageRequests, 5000)
