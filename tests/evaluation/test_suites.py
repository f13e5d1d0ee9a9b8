"""Published files, own questions and the synthetic suite become the same kind of question."""

import io
import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow")

import pyarrow as pa

from awares_edge.errors import ImageError, InputError
from awares_edge.evaluation.benchmarks import BENCHMARKS, get_benchmark
from awares_edge.evaluation.question import BadQuestion
from awares_edge.evaluation.suites import OwnSuite, PublishedSuite, Selection, SynthSuite
from awares_edge.evaluation.synthetic import questions
from tests.support import published


def read(suite, **selection):
    return list(suite.read(Selection(**selection)))


def suite_of(folder, name, data, **options):
    return PublishedSuite(get_benchmark(name), published.write(folder, name, data, **options))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_published_files_are_read_row_by_row(name, tmp_path):
    data = published.rows(name, 10)
    suite = suite_of(tmp_path, name, data)
    found = read(suite)
    assert suite.count == 10
    assert [index for index, _ in found] == list(range(10))
    for (index, question), row in zip(found, data, strict=True):
        assert question == get_benchmark(name).question(row, index)
        assert question.image == row["image"]["bytes"]
        assert suite.decode(question).size == (224, 224)
    assert len({question.id for _, question in found}) == 10


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("limit", [None, 1, 7])
def test_shards_are_every_row_once_whatever_the_files(limit, shards, tmp_path):
    suite = suite_of(tmp_path, "pope", published.rows("pope", 11), group=2)
    parts = [read(suite, limit=limit, shard=i + 1, shards=shards) for i in range(shards)]
    indexes = [[index for index, _ in part] for part in parts]
    assert sorted(i for part in indexes for i in part) == list(range(limit or 11))
    for i, part in enumerate(indexes):
        selection = Selection(limit, i + 1, shards)
        assert len(part) == selection.size(11)
        assert part == [selection.nth(n) for n in range(len(part))]


def test_rows_that_were_read_are_not_read_again(tmp_path):
    suite = suite_of(tmp_path, "vstar", published.rows("vstar", 9))
    assert [i for i, _ in read(suite, after=5)] == [6, 7, 8]
    assert [i for i, _ in read(suite, only=frozenset({2, 7}))] == [2, 7]
    assert read(suite, after=8) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": None}, "'answer' must be text, not missing"),
        ({"image": None}, "'image' has no picture"),
        ({"image": {"bytes": b"", "path": "x.png"}}, "'image' has no picture"),
        ({"image": {"bytes": None, "path": "x.png"}}, "'image' has no picture"),
    ],
)
def test_a_malformed_row_is_reported_in_its_place(change, reason, tmp_path):
    data = published.rows("chartqa", 6)
    data[3].update(change)
    found = read(suite_of(tmp_path, "chartqa", data))
    assert [index for index, _ in found] == list(range(6))
    assert found[3] == (3, BadQuestion(reason))
    assert sum(isinstance(row, BadQuestion) for _, row in found) == 1


def test_a_column_of_another_type_is_reported_for_every_row(tmp_path):
    data = [{**row, "answer": i} for i, row in enumerate(published.rows("chartqa", 3))]
    schema = pa.schema(list({**published.SCHEMAS["chartqa"], "answer": pa.int64()}.items()))
    found = read(suite_of(tmp_path, "chartqa", data, schema=schema))
    assert found == [(i, BadQuestion("'answer' must be text, not int")) for i in range(3)]


def test_a_missing_column_is_found_before_the_first_question(tmp_path):
    names = {n: t for n, t in published.SCHEMAS["docvqa"].items() if n != "answers"}
    with pytest.raises(InputError, match="no column 'answers': it is not the published file"):
        suite_of(tmp_path, "docvqa", published.rows("docvqa", 2), schema=pa.schema(names.items()))


def test_ids_may_be_missing(tmp_path):
    names = {n: t for n, t in published.SCHEMAS["vstar"].items() if n != "question_id"}
    data = published.rows("vstar", 2)
    suite = suite_of(tmp_path, "vstar", data, schema=pa.schema(names.items()))
    assert [question.id for _, question in read(suite)] == ["0", "1"]


@pytest.mark.parametrize("keep", [0, 3, 0.5, 0.999])
def test_a_truncated_file_is_refused(keep, tmp_path):
    [path] = published.write(tmp_path, "ocrbench", published.rows("ocrbench", 4))
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(InputError, match="truncated or not a parquet file: download it again"):
        PublishedSuite(get_benchmark("ocrbench"), [path])


def test_damage_inside_a_file_costs_its_row_group_and_no_other_row(tmp_path):
    data = published.rows("chartqa", 9)
    paths = published.write(tmp_path, "chartqa", data, group=3)
    content = bytearray(paths[0].read_bytes())
    # The pages of the second group's first column, which begin after the first group.
    at = pa.parquet.ParquetFile(paths[0]).metadata.row_group(1).column(0).data_page_offset
    content[at : at + 20] = b"\xff" * 20
    paths[0].write_bytes(content)
    found = read(PublishedSuite(get_benchmark("chartqa"), paths))
    assert [index for index, _ in found] == list(range(9))
    bad = [index for index, row in found if isinstance(row, BadQuestion)]
    assert bad == [3, 4, 5]
    assert "is damaged here" in found[3][1].reason


def test_transparent_pixels_look_as_lmms_eval_shows_them(tmp_path):
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[..., 0], pixels[:20, :, 3] = 200, 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    row = {**published.rows("chartqa", 1)[0], "image": {"bytes": buffer.getvalue(), "path": ""}}
    suite = suite_of(tmp_path, "chartqa", [row])
    [(_, question)] = read(suite)
    expected = Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
    assert suite.decode(question).tobytes() == expected.tobytes()


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "I;16"])
def test_other_modes_become_rgb(mode, tmp_path):
    image = Image.new("L", (40, 30), 128).convert(mode if mode != "I;16" else "L")
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")
    row = {**published.rows("chartqa", 1)[0], "image": {"bytes": buffer.getvalue(), "path": ""}}
    suite = suite_of(tmp_path, "chartqa", [row])
    [(_, question)] = read(suite)
    assert suite.decode(question).mode == "RGB"


@pytest.mark.parametrize("data", [b"not a picture", published.picture(0)[:200]])
def test_a_damaged_picture_is_an_error_of_its_row(data, tmp_path):
    row = {**published.rows("chartqa", 1)[0], "image": {"bytes": data, "path": ""}}
    suite = suite_of(tmp_path, "chartqa", [row])
    [(_, question)] = read(suite)
    with pytest.raises(ImageError):
        suite.decode(question)


# The user's own questions.


def own(tmp_path, *lines):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines))
    return OwnSuite(path)


def test_own_questions_name_pictures_beside_the_file(tmp_path):
    (tmp_path / "a.png").write_bytes(published.picture(0))
    suite = own(
        tmp_path,
        {"image": "a.png", "question": "What?", "answer": "x", "id": "first", "source": "till"},
        "",
        {"image": str(tmp_path / "a.png"), "question": "Which?", "answers": ["x", "y"]},
    )
    (_, first), (_, second) = read(suite)
    assert suite.count == 2
    assert (first.id, first.prompt, first.references) == ("first", "What?", ("x",))
    assert first.facts == {"source": "till"}
    assert (second.id, second.references) == ("1", ("x", "y"))
    assert suite.decode(first).tobytes() == suite.decode(second).tobytes()
    assert suite.rules.score("  X ", ("y", "x"), {}, "0.7.2") == 1
    assert suite.rules.score("xy", ("y", "x"), {}, "0.7.2") == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "the row is not valid JSON"),
        ("[1]", "the row must hold a JSON object"),
        ({"question": "?", "answer": "x"}, "'image' must be text, not missing"),
        ({"image": "a.png", "answer": "x"}, "'question' must be text, not missing"),
        ({"image": "a.png", "question": "?"}, "'answer' must be a list of texts, not missing"),
        ({"image": "a.png", "question": "?", "answers": [1]}, "it holds int"),
        ({"image": "a\0.png", "question": "?", "answer": "x"}, "'image' must be a path"),
        ({"image": "a", "question": "\ud800", "answer": "x"}, "not valid Unicode"),
    ],
)
def test_a_malformed_line_is_reported(line, reason, tmp_path):
    good = {"image": "a.png", "question": "?", "answer": "x"}
    [(_, first), (index, bad), (_, last)] = read(own(tmp_path, good, line, good))
    assert index == 1
    assert isinstance(bad, BadQuestion)
    assert reason in bad.reason
    assert first.prompt == last.prompt == "?"


def test_a_file_without_questions_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no questions"):
        own(tmp_path, "")
    with pytest.raises(InputError, match="cannot read"):
        OwnSuite(tmp_path / "missing.jsonl")


def test_no_file_name_takes_another_suites_folder(tmp_path):
    for name in ("synth.jsonl", "chartqa.jsonl", "a b;c.jsonl", "...jsonl"):
        path = tmp_path / name
        path.write_text('{"image": "a"}')
        assert OwnSuite(path).name.startswith("own-")
        assert "/" not in OwnSuite(path).name


# The synthetic suite.


def test_the_synthetic_suite_asks_what_evaluate_synth_asks():
    drawn = [(family, q) for family, _, chosen in questions("test", 0, 40) for q in chosen]
    suite = SynthSuite(limit=40)
    found = read(suite)
    assert [q.prompt for _, q in found] == [q.text for _, q in drawn]
    assert [q.references for _, q in found] == [(q.answer,) for _, q in drawn]
    assert [q.facts["family"] for _, q in found] == [family for family, _ in drawn]
    for (_, question), (_, q) in zip(found, drawn, strict=True):
        assert json.loads(question.facts["evidence"]) == [list(box) for box in q.evidence]
        assert bool(suite.evidence(question)) == (q.size == "small")


@pytest.mark.parametrize(
    "text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3", "1/", "١/٢"]
)
def test_a_shard_must_be_one_of_several(text):
    with pytest.raises(InputError, match="must have the form 1/4"):
        Selection.parse_shard(text)
