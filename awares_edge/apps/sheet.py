"""`awares-edge demo --sheet`: pages to print and hold before a camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from awares_edge.apps.console import note, print_json, say
from awares_edge.camera.sheet.pages import Paper, SheetPage, draw_pages, pdf
from awares_edge.files import check_output, whole_file


def print_sheet(path: Path, count: int, seed: int, paper: Paper, *, json: bool) -> None:
    """Write the pages with their key as a PDF file, and print the questions.

    Raises:
        InputError: the file cannot be written.
    """
    check_output(path)
    pages = draw_pages(count, seed)
    with whole_file(path) as file:
        file.write(pdf(pages, seed, paper))
    if json:
        print_json([_row(page) for page in pages])
        return
    for page in pages:
        say(f"page {page.number} ({page.family})", style="bold")
        for question in page.questions:
            say(f"  {question.text}  {question.answer}")
    note(f"{count} pages and the answer key written to {path}: print them at 100%", style=None)


def _row(page: SheetPage) -> dict[str, Any]:
    asked = [{"question": q.text, "answer": q.answer} for q in page.questions]
    return {"page": page.number, "family": page.family, "questions": asked}
