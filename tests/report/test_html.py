"""The HTML leaderboard: one page that stands alone, shows what the others show, and runs nobody's script."""

from __future__ import annotations

import base64
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bench.card import Card
from bench.files import write_json
from bench.leaderboard import LEADERBOARDS, build, collect
from bench.report import embedded
from bench.report.embedded import Picture, Pictures, pictures
from bench.report.html import TEMPLATE, board_html, findings
from bench.report.text import board_markdown
from bench.reported import ReportedRow, load_rows

NASTY = "<script>alert('x')</script>\"&{{ 7*7 }}"
CARD = Card(title="Toy & <b>bold</b>", metrics=("dice",), primary="dice", datasets=("duke_oct",))
VOID = {"meta", "br", "img", "hr", "link", "input"}


class Page(HTMLParser):
    """What a browser would see: elements, attributes and text; fails on a tag closed out of turn."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag == "br" and self._open[-1] in {"td", "th"}:
            self.rows[-1][-1] += "\n"
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data
        self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return "".join(self.text)


def metric(value: float, **classes: float) -> dict[str, Any]:
    def one(v: float) -> dict[str, Any]:
        return {"value": v, "ci_low": v - 0.1, "ci_high": v + 0.1, "n": 22}

    held = {name: one(v) for name, v in classes.items()}
    return {**one(value), "unit": "fraction", "direction": "higher", "variant": "clean", "per_class": held}


def record(run_id: str, value: float = 0.8, name: str = "unet", **parts: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "schema_version": 1,
        "run_id": run_id,
        "status": "done",
        "ended": "2026-01-01T00:00:00+00:00",
        "task": {"name": "toy", "profile": "clean", "protocol_hash": "a" * 64, "deviations": []},
        "data": {
            "dataset": "duke_oct",
            "variant": "real",
            "fingerprint": "f" * 64,
            "split_sha256": "5" * 64,
            "counts": {"test": 22},
            "unit": "patient",
            "leaks": 0,
        },
        "method": {
            "name": name,
            "source": "builtin",
            "state": "reimplemented",
            "parameters": 1234,
            "config": {},
        },
        "seeds": {"run": 0},
        "metrics": {"dice": metric(value, fluid=value)},
        "compared_to": [],
    }
    for key, found in parts.items():
        section, _, field = key.partition("__")
        made[section][field] = found
    return made


def board(*records: dict[str, Any]) -> Any:
    return build(CARD, "toy", records, [])


def png(size: int = 0) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + zlib.crc32(b"").to_bytes(4, "big") + b"x" * size


# ---- the page


def test_the_page_parses_stands_alone_and_holds_every_row():
    made = board(
        record("a", 0.9), record("b", 0.7, "ynet"), record("c", 0.5, "late", data__variant="phantom")
    )
    text = board_html(made)
    assert text.startswith("<!DOCTYPE html>\n<html lang=")
    page = Page(text)
    rows = [[cell.split("\n")[0] for cell in row] for row in page.rows]
    end = ["1,234", "builtin, reimplemented"]
    assert ["1", "unet", "1", "0.900", *end] in rows
    assert ["2", "ynet", "1", "0.700", *end] in rows
    assert ["1", "late", "1", "0.500", *end] in rows
    assert ["1", "unet", "0.900"] in rows  # by class
    assert "[0.800, 1.000]" in page.words
    names = {name for name, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base"}
    assert not [a for _, held in page.tags for a in held if a.startswith("on") or a == "srcset"]
    assert "url(" not in text
    assert "@import" not in text
    (policy,) = [m["content"] for m in page.named("meta") if m.get("http-equiv")]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "prefers-color-scheme: dark" in text
    assert board_html(made) == text


def test_every_committed_board_shows_what_its_markdown_shows():
    """All tables, cell by cell: the Markdown page and the HTML page are two writings of one board."""
    from bench.registry import card

    tasks = [path.stem for path in sorted((LEADERBOARDS / "findings").glob("*.md"))]
    assert tasks
    for task in tasks:
        made = build(card("task", task), task, collect([], task), load_rows())
        page = Page(board_html(made))
        lines = [line for line in board_markdown(made).splitlines() if line.startswith("| ")]
        wanted = [line for line in lines if not set(line) <= set("|-: ")]
        assert len(page.rows) == len(wanted)
        for row, line in zip(page.rows, wanted, strict=True):
            told = " | ".join(cell.replace("\n", " ") for cell in row).split()
            plain = line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("\\|", "|")
            assert told == plain.replace("\\", "").strip("|").split()


def test_badges_say_what_a_reader_must_not_overlook():
    page = Page(
        board_html(
            board(
                record("a", data__variant="phantom", task__deviations=["epochs: 8 instead of 80", "lr: 1"]),
                record("b"),
                record("c", data__variant="custom", data__leaks=2),
            )
        )
    )
    badges = [held["class"] for held in page.named("span")]
    assert badges == [
        "badge good",
        "badge good",
        "badge plain",
        "badge good",
        "badge bad",
        "badge bad",
        "badge warn",
    ]
    for words in ("PHANTOM, not real data", "2 deviations", "full protocol", "custom data", "leak"):
        assert words in page.text
    assert "epochs: 8 instead of 80; lr: 1" in page.words


def test_an_empty_board_says_so():
    page = Page(board_html(board()))
    assert "No finished run yet." in page.words
    assert page.rows == []


# ---- nothing is obeyed


def test_text_from_records_is_shown_and_never_obeyed():
    made = board(
        record(
            "a",
            0.9,
            NASTY,
            data__dataset=NASTY,
            data__unit=NASTY,
            data__leaks=1,
            task__profile=NASTY,
            task__deviations=[NASTY],
            task__setting={NASTY: NASTY, "k": 1},
            method__source=NASTY,
            metrics__dice=metric(0.9, **{NASTY: 0.5}),
        ),
        record("b", 0.9, NASTY, task__setting={NASTY: NASTY, "k": 2}, metrics__dice=metric(0.5)),
        record("c", metrics__dice=metric(0.5), **dict[str, Any]({f"metrics__{NASTY}": metric(0.25)})),
    )
    shown = Pictures((Picture(NASTY, NASTY, "data:image/png;base64,AAAA"),), 1)
    text = board_html(made, pictures=shown)
    page = Page(text)
    assert "<script" not in text.lower()
    assert not page.named("script")
    assert page.words.count("{{ 7*7 }}") >= 8  # and not 49: templates in names are text
    flat = [cell for row in page.rows for cell in row]
    assert [cell for cell in flat if cell.startswith(NASTY)]  # as the method and as a class
    (image,) = page.named("img")
    assert image == {"alt": NASTY, "src": "data:image/png;base64,AAAA"}


def test_reported_rows_are_escaped():
    from bench.card import Reported

    card = Card(
        title="Toy",
        metrics=("dice",),
        primary="dice",
        datasets=("duke_oct",),
        reported=Reported(
            task="toy",
            datasets={NASTY: "duke_oct"},
            classes={"mean": "mean"},
            methods={},
            variants={},
            profile="clean",
            variant={"dice": "dice"},
        ),
    )
    row = ReportedRow(
        row_id="x:001",
        paper="paper",
        table=NASTY,
        task="toy",
        dataset=NASTY,
        setting={"class": "mean"},
        method=NASTY,
        variant=NASTY,
        metric="dice",
        unit="fraction",
        direction="higher",
        value=0.5,
        printed="0.5",
        std=None,
        n=None,
        note=f"doubtful: {NASTY}",
        measured="authors",
        doubtful=True,
        inferred=False,
    )
    text = board_html(build(card, "toy", [], [row]))
    page = Page(text)
    assert "<script" not in text.lower()
    assert [row for row in page.rows if row[0].startswith(NASTY)]
    assert page.words.count("alert(") >= 3


def test_control_characters_and_marks_of_direction_do_not_reach_the_page():
    text = board_html(board(record("a", name="un\x00e\x1bt\u202e")))
    assert not set("\x00\x1b\u202e") & set(text)


def test_findings_are_markdown_without_html_scripts_or_foreign_pictures():
    written = (
        "## Findings\n\nIt **works** by `x<y`, see [here](https://example.org/a).\n\n"
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n<script>alert(1)</script> <img src=x onerror=alert(1)>\n\n"
        "[click](javascript:alert(1)) ![a <curve>](https://example.org/x.png)\n"
    )
    page = Page(board_html(board(), written))
    assert [held.get("href") for held in page.named("a")] == ["https://example.org/a"]
    assert not page.named("script")
    assert not page.named("img")
    assert page.rows == [["a", "b"], ["1", "2"]]
    assert page.named("strong")
    for words in ("<script>alert(1)</script>", "a <curve>", "x<y", "onerror"):
        assert words in page.words


def test_findings_are_read_from_their_folder(tmp_path):
    (tmp_path / "toy.md").write_text("It works – so far.", encoding="utf-8")
    assert findings("toy", tmp_path) == "It works – so far."
    assert findings("other", tmp_path) == ""


def test_code_between_backticks():
    text = board_html(board(record("a", task__deviations=["`a<b` and a lone ` backtick", "none"])))
    assert "`a&lt;b` and a lone ` backtick" in text
    text = board_html(board(record("a", task__deviations=["now `a<b` is code"])))
    assert "now <code>a&lt;b</code> is code" in text


# ---- pictures


def stored(root: Path, made: dict[str, Any], **files: bytes) -> Path:
    folder = root / "toy" / "duke_oct" / "unet" / made["run_id"]
    write_json(folder / "record.json", made)
    (folder / "gallery").mkdir()
    for name, data in files.items():
        (folder / "gallery" / f"{name}.png").write_bytes(data)
    return folder


def test_pictures_come_from_committed_figures_and_from_runs_as_they_are_ranked(tmp_path):
    (tmp_path / "figures" / "toy" / "more").mkdir(parents=True)
    (tmp_path / "figures" / "toy" / "learning_curves.png").write_bytes(png(1))
    (tmp_path / "figures" / "toy" / "more" / "z.png").write_bytes(png(2))
    (tmp_path / "figures" / "toy" / "notes.txt").write_text("no picture")
    low, high, other = record("low", 0.5), record("high", 0.9, "ynet"), record("other", 0.9, "ynet")
    other["seeds"] = {"run": 1}
    for made in (low, high, other):
        stored(tmp_path / "runs", made, best=png(3), all_of_it=png(4))
    made = board(low, high, other)
    found = pictures(made, [tmp_path / "runs"], tmp_path / "figures")
    where = "duke_oct · real data · profile clean · seed run=0"
    assert [(p.group, p.caption) for p in found.shown] == [
        ("Of this leaderboard", "learning curves"),
        ("Of this leaderboard", "z"),
        (f"ynet · {where}", "all of it"),
        (f"ynet · {where}", "best"),
        (f"unet · {where}", "all of it"),
        (f"unet · {where}", "best"),
    ]
    assert (found.left_out, found.note) == (0, "")
    page = Page(board_html(made, pictures=found))
    sources = [str(held["src"]) for held in page.named("img")]
    assert [base64.b64decode(s.removeprefix("data:image/png;base64,")) for s in sources] == [
        png(n) for n in (1, 2, 4, 3, 4, 3)
    ]
    assert len(page.named("details")) == 3


def test_pictures_of_runs_that_are_not_on_the_board_are_not_shown(tmp_path):
    stored(tmp_path, record("shown"), one=png())
    stored(tmp_path, record("hidden"), two=png())
    found = pictures(board(record("shown")), [tmp_path], tmp_path / "none")
    assert [picture.caption for picture in found.shown] == ["one"]


def test_what_there_is_no_room_for_is_counted(tmp_path, monkeypatch):
    made = record("a")
    stored(tmp_path, made, a=png(90), b=png(200), c=png(90), d=png(90), e=png(1))
    monkeypatch.setattr(embedded, "HEAVIEST", 150)
    monkeypatch.setattr(embedded, "TOGETHER", 250)
    found = pictures(board(made), [tmp_path], tmp_path / "none")
    assert [picture.caption for picture in found.shown] == ["a", "c", "e"]
    assert found.left_out == 2
    page = Page(board_html(board(made), pictures=found))
    assert "2 pictures were left out" in page.words
    monkeypatch.setattr(embedded, "MOST", 1)
    found = pictures(board(made), [tmp_path], tmp_path / "none")
    assert (len(found.shown), found.left_out) == (1, 4)
    everything = board_html(board(made), pictures=Pictures((), 1))
    assert "1 picture was left out" in everything


def test_what_is_no_picture_is_named_and_skipped(tmp_path, capsys):
    made = record("a")
    folder = stored(tmp_path, made, bad=b"<svg onload=alert(1)>", good=png())
    (folder / "gallery" / "gone.png").symlink_to(folder / "gallery" / "nowhere.png")
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(7))
    (folder / "gallery" / "link.png").symlink_to(secret)
    found = pictures(board(made), [tmp_path], tmp_path / "none")
    assert [picture.caption for picture in found.shown] == ["good"]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "bad.png`: it is no PNG picture" in told[0]
    assert "gone.png`: No such file" in told[1]


# ---- the command


def test_the_command_prints_one_page(bench):
    answer = bench("leaderboard", "oct", "--format", "html", "--committed")
    assert answer.code == 0, answer.err
    page = Page(answer.out)
    assert page.named("h1")
    assert len(page.rows) > 20
    assert "Findings" in page.words


def test_the_command_shows_pictures_of_runs(bench, tmp_path):
    made = record("abc", task__name="oct", data__dataset="folder", data__variant="custom")
    folder = tmp_path / "runs" / "oct" / "folder" / "unet" / "abc"
    write_json(folder / "record.json", made)
    (folder / "gallery").mkdir()
    (folder / "gallery" / "best.png").write_bytes(png())
    answer = bench("leaderboard", "oct", "--format", "html", "--runs", tmp_path / "runs")
    assert answer.code == 0, answer.err
    assert [held["alt"] for held in Page(answer.out).named("img")].count("best") == 1


def test_an_unknown_format_lists_html(bench):
    answer = bench("leaderboard", "oct", "--format", "htm")
    assert answer.code == 2
    assert "`--format` takes table, md, csv, json, html, got `htm`" in answer.err
    assert answer.err.count("\n") == 1


def test_the_template_is_shipped_beside_its_module():
    """The wheel packs the folder `bench` whole; the template lies in it and no ignore rule leaves it out."""
    import subprocess

    root = Path(__file__).parents[2]
    assert TEMPLATE.resolve().is_relative_to(root / "bench")
    told = subprocess.run(["git", "check-ignore", "-q", str(TEMPLATE)], cwd=root)
    assert told.returncode != 0


@pytest.mark.parametrize("heavy", ["torch", "matplotlib", "networkx", "h5py"])
def test_the_page_needs_nothing_heavy(heavy):
    from conftest import python

    code = (
        "import sys; from bench.verbs.leaderboard import run; run('oct', 'html', None, None, None, True); "
        f"print({heavy!r} in sys.modules, file=sys.stderr)"
    )
    done = python("-c", code, cwd=Path(__file__).parents[2])
    assert (done.code, done.err.strip()) == (0, "False")
