"""Self-contained HTML reports: one file, no script, no request, light and dark, any screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_STYLE = """
:root{color-scheme:light dark;--ink:#1b2530;--quiet:#5a6875;--line:#d9dfe5;--paper:#fff;
--card:#f5f7f9;--good:#1f7a3d;--bad:#b3261e;
--c0:#c2410c;--c1:#1f5f99;--c2:#2e7d4f;--c3:#8250b8;--c4:#a8780f;--c5:#0f7c7c;--c6:#a33a6b;--c7:#66727d}
@media(prefers-color-scheme:dark){:root{--ink:#e4e9ee;--quiet:#9aa7b3;--line:#303a44;--paper:#12171c;
--card:#1b2229;--good:#5fce86;--bad:#ff8a80;
--c0:#f28b54;--c1:#6cb0ea;--c2:#6cc690;--c3:#bd96ea;--c4:#dcb04a;--c5:#4fc3c3;--c6:#e583ae;
--c7:#9aa7b3}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 3rem;max-width:62rem;background:var(--paper);
color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:0}h2{font-size:1.1rem;margin:2.2rem 0 .5rem}
h3{font-size:1rem;margin:1.4rem 0 .3rem}
p{margin:.4rem 0}.quiet,figcaption{color:var(--quiet);font-size:.875rem}
.good{color:var(--good)}.bad{color:var(--bad)}.good,.bad{font-weight:600}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;
margin:1rem 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.7rem .9rem}
.card b{display:block;font-size:1.45rem;line-height:1.3;font-variant-numeric:tabular-nums}
.card span{color:var(--quiet);font-size:.875rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top}
th{color:var(--quiet);font-weight:600}th.n,td.n{text-align:right;white-space:nowrap}
td{overflow-wrap:break-word}td:first-child{min-width:7rem}
.wide td:first-child{min-width:14rem}
figure{margin:1rem 0}svg{display:block;width:100%;min-width:34rem;height:auto}
svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg .q{fill:var(--quiet)}
svg .l{stroke:var(--line)}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.875rem;margin:.4rem 0}
.legend i{display:inline-block;width:.75rem;height:.75rem;border-radius:.15rem;margin-right:.35rem}
details{margin:.6rem 0}summary{cursor:pointer}
"""


class Raw(str):
    """HTML that is inserted as it is; every other text is escaped."""


def text(value: object) -> Raw:
    """A value as HTML; None is blank, as a share of nothing is."""
    if isinstance(value, Raw):
        return value
    return Raw("" if value is None else escape(str(value)))


def page(title: str, subtitle: str, body: Iterable[str]) -> str:
    """A whole document."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{text(title)}</h1>\n<p class="quiet">{text(subtitle)}</p>\n'
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def heading(title: str, level: int = 2) -> Raw:
    return Raw(f"<h{level}>{text(title)}</h{level}>")


def paragraph(value: object, style: str = "") -> Raw:
    return Raw(f'<p class="{style}">{text(value)}</p>' if style else f"<p>{text(value)}</p>")


def verdict(good: bool, value: object) -> Raw:
    """Text in the colour of good or bad; the words must say it too."""
    return Raw(f'<span class="{"good" if good else "bad"}">{text(value)}</span>')


def cards(items: Iterable[tuple[object, str]]) -> Raw:
    """Large figures with a caption each."""
    inner = "".join(
        f'<div class="card"><b>{text(value)}</b><span>{text(caption)}</span></div>'
        for value, caption in items
    )
    return Raw(f'<div class="cards">{inner}</div>')


def table(
    titles: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1, style: str = ""
) -> Raw:
    """A table that scrolls by itself on a narrow screen.

    Args:
        words: number of first columns with words; the others have figures and are right-aligned.
        style: "wide" for a table whose first column must not be squeezed.
    """

    def cells(values: Sequence[object], tag: str) -> str:
        return "".join(
            f"<{tag}>{text(value)}</{tag}>"
            if at < words
            else f'<{tag} class="n">{text(value)}</{tag}>'
            for at, value in enumerate(values)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    head = f"<thead><tr>{cells(titles, 'th')}</tr></thead>"
    opening = f'<table class="{style}">' if style else "<table>"
    return Raw(f'<div class="scroll">{opening}{head}<tbody>{body}</tbody></table></div>')


def facts(items: Iterable[tuple[str, Any]]) -> Raw:
    """Names and values; those without a value are left out."""
    return table(("", ""), [(name, value) for name, value in items if value not in (None, "")], 2)


def figure(svg: str, caption: str, legend: Sequence[str] = ()) -> Raw:
    """A chart; the legend's colours are the chart's, in order."""
    keys = "".join(
        f'<span><i style="background:var(--c{at % 8})"></i>{text(name)}</span>'
        for at, name in enumerate(legend)
    )
    above = f'<div class="legend">{keys}</div>' if legend else ""
    drawn = f'<div class="scroll">{svg}</div>'
    return Raw(f"<figure>{above}{drawn}<figcaption>{text(caption)}</figcaption></figure>")


def details(summary: str, body: Iterable[str], *, unfolded: bool = False) -> Raw:
    """A part that unfolds when its summary is clicked."""
    tag = "<details open>" if unfolded else "<details>"
    return Raw(f"{tag}<summary>{text(summary)}</summary>{''.join(body)}</details>")
