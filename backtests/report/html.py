"""Small pieces of the page: tables, tiles, sections, words with a footnote."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from backtests.report.glossary import GLOSSARY


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its heading (HTML), whether its cells are numbers, whether a click sorts by it."""

    heading: str
    numeric: bool = False
    sorts: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: cells as HTML, an optional CSS class."""

    cells: Sequence[str]
    css: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of a table under one heading line; an empty heading draws none."""

    heading: str
    rows: Sequence[Row]
    css: str = ""


def term(word: str, shown: str | None = None) -> str:
    """Return a word that links to its footnote; ``word`` must be in the glossary.

    Raises
    ------
    KeyError
        If it is not.
    """
    key = anchor(word)
    text = GLOSSARY[word]
    return f'<a class="term" href="#g-{key}" title="{escape(text)}">{escape(shown or word)}</a>'


def anchor(word: str) -> str:
    """Return a word as part of an HTML id."""
    return "".join(c if c.isalnum() else "-" for c in word.lower()).strip("-")


def table(columns: Sequence[Column], groups: Sequence[Group], css: str = "") -> str:
    """Return a table; each group is a body of its own, so that sorting stays inside it."""
    head = "".join(
        f'<th scope="col" class="{"num" if c.numeric else ""}{" sorts" if c.sorts else ""}">{c.heading}</th>'
        for c in columns
    )
    bodies = []
    for group in groups:
        lines = []
        if group.heading:
            lines.append(f'<tr class="heading"><th colspan="{len(columns)}" scope="colgroup">{group.heading}</th></tr>')
        for row in group.rows:
            cells = "".join(
                f'<td class="num">{cell}</td>' if column.numeric else f"<td>{cell}</td>"
                for column, cell in zip(columns, row.cells, strict=True)
            )
            lines.append(f'<tr class="{row.css}">{cells}</tr>')
        bodies.append(f'<tbody class="{group.css}">{"".join(lines)}</tbody>')
    return f'<div class="scroll"><table class="{css}"><thead><tr>{head}</tr></thead>{"".join(bodies)}</table></div>'


def tile(label: str, value: str, note: str = "", css: str = "") -> str:
    """Return one number with its name above and a note below."""
    below = f'<div class="tile-note">{note}</div>' if note else ""
    name, number = f'<div class="tile-label">{label}</div>', f'<div class="tile-value">{value}</div>'
    return f'<div class="tile {css}">{name}{number}{below}</div>'


def tiles(items: Sequence[str]) -> str:
    """Return a row of tiles."""
    return f'<div class="tiles">{"".join(items)}</div>'


def card(title: str, body: str, note: str = "", css: str = "") -> str:
    """Return a framed block with a title."""
    below = f'<p class="card-note">{note}</p>' if note else ""
    return f'<div class="card {css}"><h3>{title}</h3>{body}{below}</div>'


def section(key: str, title: str, body: str, lead: str = "") -> str:
    """Return a section of the page, empty text when it has no body."""
    if not body:
        return ""
    intro = f'<p class="lead">{lead}</p>' if lead else ""
    return f'<section id="{key}"><h2>{title}</h2>{intro}{body}</section>'


def badge(text: str, css: str) -> str:
    """Return a small coloured label; the text carries the meaning, the colour repeats it."""
    return f'<span class="badge {css}">{escape(text)}</span>'


def tick(met: bool) -> str:
    """Return a mark for "holds" or "does not hold"."""
    return '<span class="mark good">✓</span>' if met else '<span class="mark bad">✗</span>'


def legend(items: Sequence[tuple[str, str]]) -> str:
    """Return a legend of (CSS class, name)."""
    entries = "".join(f'<span class="key"><i class="swatch {css}"></i>{escape(name)}</span>' for css, name in items)
    return f'<div class="legend">{entries}</div>'


def absent(sentence: str) -> str:
    """Return a line that says that a part is not there, and why."""
    return f'<p class="none">{sentence}</p>'
