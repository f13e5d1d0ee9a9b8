"""JSON lines that are not trusted: bounded, numbered, named."""

import io

import pytest

from awares_edge.errors import InputError
from awares_edge.lines import MAX_LINE, bounded_lines, numbered_lines, parse_line, place


def lines(data):
    return list(bounded_lines(io.BytesIO(data)))


def test_empty_lines_are_counted_and_left_out():
    assert lines(b"\n{}\r\n  \n [1] ") == [(2, b"{}"), (4, b"[1]")]
    assert lines(b"") == []


def test_a_byte_order_mark_is_no_part_of_the_first_line():
    assert lines(b"\xef\xbb\xbf{}\n\xef\xbb\xbf") == [(1, b"{}"), (2, b"\xef\xbb\xbf")]


@pytest.mark.parametrize("length", [MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 3 * MAX_LINE + 5])
def test_a_line_that_is_too_long_is_skipped_whole(length):
    """Its end counts: `MAX_LINE` bytes are read at once."""
    long = b"a" * (length - 1) + b"\n"
    kept = None if length > MAX_LINE else long.strip()
    assert lines(long + b"b") == [(1, kept), (2, b"b")]


class _Counting(io.BytesIO):
    most = 0

    def readline(self, size=-1):
        line = super().readline(size)
        self.most = max(self.most, len(line))
        return line


def test_a_long_line_is_never_held_whole():
    stream = _Counting(b"a" * (5 * MAX_LINE))
    assert list(bounded_lines(stream)) == [(1, None)]
    assert stream.most == MAX_LINE + 1


def test_a_file_names_the_line_that_is_too_long(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n" + b"a" * (2 * MAX_LINE))
    with pytest.raises(InputError, match=r"rows\.jsonl, line 2 is over 1,048,576 bytes$"):
        list(numbered_lines(path))


def test_lines_that_are_kept_are_bounded_together(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes((b"a" * (MAX_LINE - 1) + b"\n") * 3)
    assert len(list(numbered_lines(path))) == 3
    with pytest.raises(InputError, match="has over 2 MiB: give fewer lines"):
        list(numbered_lines(path, most_bytes=2 << 20))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=f"cannot read {path}: {reason}"):
            list(numbered_lines(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"\xff", "is not UTF-8 text"),
        (b"{", "is not valid JSON"),
        (b"[]", "must hold a JSON object"),
        (b'{"a": NaN}', "holds NaN, which is not a JSON number"),
    ],
)
def test_what_is_no_object_is_named_by_file_and_line(line, message):
    with pytest.raises(InputError, match=f"^a.jsonl, line 3 {message}$"):
        parse_line(line, place("a.jsonl", 3))


def test_an_object_is_read():
    assert parse_line('{"é": 1}'.encode(), "it") == {"é": 1}
