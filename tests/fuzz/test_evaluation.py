"""Data of strangers: every row that a file says it has is asked or reported, once, in its place."""

import json

import pytest

pytest.importorskip("pyarrow")

from awares_edge.errors import InputError
from awares_edge.evaluation.benchmarks import get_benchmark
from awares_edge.evaluation.run.rows import Row, read_rows
from awares_edge.evaluation.suites import OwnSuite, PublishedSuite, Question, Selection
from tests.fuzz.mutate import EXTREMES, damage
from tests.support import published


def check_rows(suite):
    """Read all rows; what they were."""
    seen = []
    for index, question in suite.read(Selection()):
        assert index == len(seen)
        kind = "asked" if isinstance(question, Question) else "bad"
        if kind == "asked":
            assert suite.rules.score("x", question.references, question.facts, "0.7.2") in (0, 1)
            try:
                suite.decode(question)
            except InputError:
                kind = "bad"
        seen.append(kind)
    assert len(seen) == suite.count
    return "all rows" if set(seen) == {"asked"} else "some rows"


class Parquet:
    """Published files with damage anywhere, or in the footer."""

    def __init__(self, folder):
        self.benchmark = get_benchmark("ocrbench")
        data = published.rows("ocrbench", 9)
        [self.path] = published.write(folder, "ocrbench", data, group=3)
        self.data = self.path.read_bytes()

    def case(self, random):
        length = int.from_bytes(self.data[-8:-4], "little")
        kind = random.random()
        if kind < 0.2:
            return damage(random, self.data, [self.data])
        data = bytearray(self.data)
        end = len(data) - 8
        for _ in range(random.choice((1, 1, 1, 2, 5))):
            at = random.randrange(end - length if kind < 0.7 else 0, end)
            at = max(at, end - length) if kind < 0.7 else at
            value = random.choice((*EXTREMES[:9], random.randrange(256)))
            data[at] = value
        return bytes(data)

    def check(self, case):
        self.path.write_bytes(case)
        return check_rows(PublishedSuite(self.benchmark, [self.path]))


class OwnQuestions:
    """A user's file with damage."""

    def __init__(self, folder):
        self.path = folder / "own.jsonl"
        (folder / "a.png").write_bytes(published.picture(0))
        row = {"image": "a.png", "question": "What?", "answers": ["x", "y"], "id": "q", "more": "z"}
        self.data = b"\n".join(json.dumps(row).encode() for _ in range(4))

    def case(self, random):
        return damage(random, self.data, [self.data])

    def check(self, case):
        self.path.write_bytes(case)
        return check_rows(OwnSuite(self.path))


class Rows:
    """Results with damage: read back as they are, or refused."""

    def __init__(self, folder):
        self.path = folder / "rows.jsonl"
        fields = {"prediction": "x", "references": ("x",), "facts": {"dataset": "IIIT5K"}}
        rows = [Row(i, str(i), "ok", **fields) for i in (0, 1)]
        self.data = b"".join(row.to_line() for row in rows)

    def case(self, random):
        return damage(random, self.data, [self.data])

    def check(self, case):
        self.path.write_bytes(case)
        for row in read_rows(self.path):
            assert Row.from_line(row.to_line(), "again") == row
        return "read"


@pytest.mark.fuzz
@pytest.mark.parametrize(("target", "cases"), [(Parquet, 1500), (OwnQuestions, 2000), (Rows, 3000)])
def test_no_row_is_lost_and_nothing_else_is_raised(target, cases, check):
    check(target, cases)
