"""The page of a comparison."""

from dataclasses import replace

import pytest

from awares_edge.evaluation.parity import Limits, Recording, compare
from awares_edge.evaluation.parity.report import html
from tests.evaluation.pages import check_page, check_rendered


@pytest.fixture(scope="module")
def results(recording):
    first, *rest = recording.rows
    evil = replace(first, answer="<script>alert(1)</script>")
    changed = Recording({**recording.about, "model": "<b>q4"}, (evil, *rest), {})
    return [compare(recording, recording, Limits()), compare(recording, changed, Limits())]


def test_the_page_is_whole_and_says_what_was_found(results, recording):
    text = check_page(html(results))
    assert "nano agrees with the reference" in text
    assert "<b>q4 does not agree with the reference" in text
    assert "Questions that differ (1)" in text
    assert "<script>alert(1)</script>" in text
    assert recording.about["protocol_sha256"][:16] in text


def test_without_numbers_there_is_no_empty_chart(results):
    text = check_page(html(results[1:]))
    assert "Logits by phase" not in text
    assert "Stages" not in text


def test_a_browser_draws_it(results, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(html(results))
    check_rendered(path)
