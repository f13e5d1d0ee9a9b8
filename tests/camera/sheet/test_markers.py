"""The sheet's geometry, and markers as OpenCV knows them."""

from __future__ import annotations

import numpy as np
import pytest

from awares_edge.camera.sheet import markers
from awares_edge.camera.sheet.pages import PAPERS_MM


def test_markers_are_those_of_the_dictionary_that_reads_them() -> None:
    cv2 = pytest.importorskip("cv2")
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, markers.DICTIONARY))
    for marker in range(markers.MARKERS):
        expected = cv2.aruco.generateImageMarker(dictionary, marker, 6, borderBits=1)
        assert np.array_equal(markers.cells(marker), expected)


def test_markers_stand_beside_the_picture_and_level_with_its_edges() -> None:
    every = [markers.corners(marker) for marker in range(markers.MARKERS)]
    for corners in every:
        assert np.allclose(corners.max(axis=0) - corners.min(axis=0), markers.MARKER_MM)
        left, right = corners[:, 0].min(), corners[:, 0].max()
        assert right == -markers.GAP_MM or left == markers.PICTURE_MM + markers.GAP_MM
    points = np.concatenate(every)
    assert (*points.min(axis=0), *points.max(axis=0)) == markers.HULL_MM
    assert (points[:, 1].min(), points[:, 1].max()) == (0, markers.PICTURE_MM)


def test_ids_go_clockwise_from_the_top_left() -> None:
    middle = np.array([markers.corners(i).mean(axis=0) for i in range(markers.MARKERS)])
    assert (middle[0] < middle[2]).all()
    assert middle[1][0] > middle[0][0]
    assert middle[1][1] == middle[0][1]
    assert middle[3][0] == middle[0][0]
    assert middle[3][1] == middle[2][1]


@pytest.mark.parametrize("paper", PAPERS_MM)
def test_picture_and_markers_fit_every_paper_with_a_margin_for_printers(paper: str) -> None:
    width, height = PAPERS_MM[paper]  # type: ignore[index]
    left, top, right, bottom = markers.HULL_MM
    assert width - (right - left) >= 2 * 12
    assert height - (bottom - top) >= 2 * 12
