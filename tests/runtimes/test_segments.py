"""How an append is cut into the calls that a backend takes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from awares_edge.runtimes.segments import (
    CallLimits,
    EncodedImage,
    ImageSegment,
    Mark,
    TextSegment,
    cut,
)
from awares_edge.vision.geometry import Grid


def picture(height, width):
    """A picture whose features are 0, 1, 2, ..."""
    grid = Grid(height, width)
    return ImageSegment(EncodedImage(np.arange(grid.tokens), grid))


def text(count, first=100):
    return TextSegment(tuple(range(first, first + count)))


segments = st.lists(
    st.one_of(
        st.integers(1, 60).map(text),
        st.tuples(st.integers(1, 5), st.integers(1, 5)).map(lambda s: picture(2 * s[0], 2 * s[1])),
    ),
    min_size=1,
    max_size=5,
)
limits = st.builds(
    CallLimits,
    st.none() | st.integers(1, 40),
    st.none() | st.integers(1, 12),
    st.booleans(),
)


def contents(parts):
    return [x for p in parts for x in (p.ids if isinstance(p, TextSegment) else p.features)]


@given(segments, limits, st.integers(1, 300))
def test_pieces_cover_the_append_within_the_limits(segments, limits, wanted):
    at = Mark(7, 5)
    total = sum(segment.cells for segment in segments)
    keep = min(total, wanted)
    pieces = list(cut(segments, at, keep, limits))

    assert [piece.start for piece in pieces] == [7, *(piece.stop for piece in pieces[:-1])]
    assert pieces[-1].stop == at.after(segments).cells == 7 + total
    for piece in pieces:
        assert 1 <= piece.cells <= (limits.tokens or total)
        assert sum(part.cells for part in piece.parts) == piece.cells
        assert piece.keep <= min(limits.rows or keep, piece.cells)
        assert limits.mixed or len(piece.parts) == 1

    whole = [part for piece in cut(segments, at, keep, CallLimits()) for part in piece.parts]
    assert contents(part for piece in pieces for part in piece.parts) == contents(whole)
    rows = [i for piece in pieces for i in range(piece.stop - piece.keep, piece.stop)]
    assert rows == list(range(7 + total - keep, 7 + total))


@given(segments, limits)
def test_positions_do_not_depend_on_the_pieces(segments, limits):
    pieces = list(cut(segments, Mark(7, 5), 1, limits))
    (whole,) = cut(segments, Mark(7, 5), 1, CallLimits())
    assert np.array_equal(np.concatenate([p.positions for p in pieces], axis=1), whole.positions)


def test_a_picture_moves_the_position_by_its_longer_side():
    (piece,) = cut([text(2), picture(4, 6), text(1)], Mark(0, 0), 1, CallLimits())
    assert piece.cells == 2 + 2 * 3 + 1
    assert piece.positions[:, -1].tolist() == [2 + 3] * 3
    assert Mark(0, 0).after([text(2), picture(4, 6), text(1)]) == Mark(9, 6)


def test_one_call_where_it_fits():
    limits = CallLimits(tokens=64, rows=4)
    assert len(list(cut([text(64)], Mark(0, 0), 4, limits))) == 1
    assert [p.stop for p in cut([text(130)], Mark(0, 0), 1, limits)] == [64, 128, 130]


def test_whole_pictures_are_handed_on_as_they_are():
    image = picture(4, 4)
    (piece,) = cut([image], Mark(0, 0), 1, CallLimits())
    assert piece.parts[0].features is image.image.features


def test_a_pruned_picture_has_fewer_cells_and_moves_the_position_as_the_whole_one():
    grid = Grid(4, 6)
    kept = np.array([1, 2, 5])
    segment = ImageSegment(EncodedImage(np.array([10, 20, 50]), grid, kept))
    whole = ImageSegment(EncodedImage(np.arange(grid.tokens), grid))
    assert (segment.cells, segment.advance) == (3, whole.advance)
    assert np.array_equal(segment.positions(4), whole.positions(4)[:, kept])
    pieces = list(cut([segment], Mark(0, 4), 1, CallLimits(tokens=2)))
    assert [contents(piece.parts) for piece in pieces] == [[10, 20], [50]]
