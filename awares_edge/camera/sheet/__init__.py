"""The sheet: pages of the synthetic suite with four ArUco markers, printed and read back.

The embedded nano model reads 224 x 224 pictures as they were drawn, and fails on photographs of
them. Markers around the picture make up for that: `page_in` finds them in a camera's frame, and
gives the picture back square, level and sharp. Printing needs only Pillow; reading needs OpenCV.
"""

from awares_edge.camera.sheet.captured import CapturedSheets
from awares_edge.camera.sheet.pages import SheetPage, draw_pages, pdf
from awares_edge.camera.sheet.rectify import NoPage, Page, check_reader, page_in

__all__ = [
    "CapturedSheets",
    "NoPage",
    "Page",
    "SheetPage",
    "check_reader",
    "draw_pages",
    "page_in",
    "pdf",
]
