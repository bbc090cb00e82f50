"""A board as one HTML page that needs nothing else: no scripts, no other files, legible in light and dark.

Names of methods and classes come from users and records: the template escapes every text it is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from bench.report.along import courses
from bench.report.board import Board, Section
from bench.report.collect import LEADERBOARDS
from bench.report.embedded import Pictures
from bench.report.grids import Grid, block_grid, legend, pages, section_grids
from bench.report.text import one_line

TEMPLATE = Path(__file__).with_name("page.html.j2")
BADGES = {
    "real": ("good", "real data"),
    "custom": ("plain", "custom data"),
    "phantom": ("bad", "PHANTOM, not real data"),
}


def findings(task: str, folder: Path = LEADERBOARDS / "findings") -> str:
    """The Markdown that people wrote on a task's results; empty where there is none."""
    path = folder / f"{task}.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def board_html(board: Board, written: str = "", pictures: Pictures | None = None) -> str:
    """Header, findings, our sections, courses, reported blocks and pictures: what `md` shows, and pictures.

    Args:
        board: What to show.
        written: Findings in Markdown. HTML in it is shown as text, pictures in it by their words.
        pictures: What `embedded.pictures` found.

    Returns:
        The page; the same for the same input, byte for byte.
    """
    pictures = pictures or Pictures()
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters |= {"coded": _coded, "broken": _broken, "one_line": one_line}
    found = [course.grid() for course in courses(board.sections, board.primary)]
    return page.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        board=board,
        findings=_markdown(written),
        legend=legend(board) if board.sections else ["No finished run yet."],
        sections=[
            {
                "title": section.title,
                "badges": _badges(section),
                "grids": [_shown(grid) for grid in section_grids(section, board.primary, full=True)],
            }
            for section in board.sections
        ],
        courses=[_shown(grid) for grid in found],
        blocks=[_shown(block_grid(block)) for block in board.blocks],
        pictures=pictures.groups(),
        left_out=pictures.note,
    )


def _badges(section: Section) -> list[tuple[str, str]]:
    """Colour and words of what a reader must not overlook."""
    found = [BADGES[section.key.variant]]
    count = len(section.deviations)
    if count:
        found.append(("warn", "1 deviation" if count == 1 else f"{count} deviations"))
    else:
        found.append(("good", "full protocol"))
    if section.leaks:
        found.append(("bad", "leak"))
    return found


def _shown(grid: Grid) -> dict[str, Any]:
    """A grid as tables of cells: text, and whether it is a name rather than a number."""
    return {
        "title": grid.title,
        "terms": grid.terms,
        "notes": grid.notes,
        "tables": [
            {
                "head": [(grid.headers[i], grid.is_text(i)) for i in columns],
                "rows": [[(row[i], grid.is_text(i)) for i in columns] for row in grid.rows],
            }
            for columns in pages(grid)
        ],
    }


def _coded(text: str) -> Markup:
    """Escaped text on one line; what stands between backticks is set as code."""
    parts = one_line(text).split("`")
    if len(parts) % 2 == 0:  # a backtick without its partner is a backtick
        return Markup.escape("`".join(parts))
    return Markup().join(
        Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts)
    )


def _broken(text: str) -> Markup:
    """Escaped text whose soft breaks are line breaks."""
    return Markup("<br>").join(one_line(line) for line in text.split("\n"))


def _markdown(text: str) -> Markup:
    """Markdown as HTML; HTML in it is escaped, and pictures, which would be other files, are their words."""
    if not text.strip():
        return Markup()
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.add_render_rule("image", lambda self, tokens, i, options, env: Markup.escape(tokens[i].content))
    return Markup(reader.render(text))  # noqa: S704 (html is off: what was text in it comes out escaped)
