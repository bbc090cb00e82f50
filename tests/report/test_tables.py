import csv
import io
import json

import pytest
from rich.console import Console

from bench.card import Card, Reported
from bench.leaderboard import FORMATS, build
from bench.report import tables
from bench.report.grids import Grid
from bench.report.tables import Fitted, run_table
from bench.report.text import escape_csv, escape_markdown, one_line
from bench.reported import ReportedRow, load_rows

CARD = Card(
    title="Toy",
    primary="dice",
    metrics=("dice", "dice@official", "absent_clean"),
    datasets=("duke_oct",),
    reported=Reported(
        task="oct_seg",
        datasets={"Duke OCT": "duke_oct"},
        classes={"ILM": "ILM", "Fluid": "fluid", "mean": "mean"},
        methods={"U-Net": "unet", "Y-Net": "ynet"},
        variants={"": ""},
        profile="official",
        variant={"dice": "dice@official"},
    ),
)


def printed(number, method, class_name, value, note="", measured="authors"):
    return ReportedRow(
        row_id=f"paper_tab1:{number:03d}",
        paper="paper",
        table="Tab. 1",
        task="oct_seg",
        dataset="Duke OCT",
        setting={"class": class_name},
        method=method,
        variant="",
        metric="dice",
        unit="fraction",
        direction="higher",
        value=float(value),
        printed=value,
        std=None,
        n=None,
        note=note,
        measured=measured,
        doubtful=bool(note),
        inferred=False,
    )


ROWS = (
    printed(1, "U-Net", "Fluid", "0.80"),
    printed(2, "U-Net", "mean", "0.836"),
    printed(3, "RelayNet", "Fluid", "0.30", measured="copied"),
    printed(4, "RelayNet", "mean", "0.75", "doubtful: the cells say 0.749", measured="copied"),
)


def metric(value, n=22, classes=None, **more):
    def one(v, n):
        return {
            "value": v,
            "ci_low": None if v is None else v - 0.1,
            "ci_high": None if v is None else v + 0.1,
            "n": n,
        }

    return {
        **one(value, n),
        "unit": "fraction",
        "direction": "higher",
        "variant": "clean",
        "intervals": {} if value is None else {"patient": [value - 0.1, value + 0.1], "scan": [0.25, 0.75]},
        "per_class": {name: one(v, n) for name, v in (classes or {}).items()},
        **more,
    }


def record(
    name="unet",
    value=0.5,
    variant="real",
    profile="official",
    deviations=(),
    compared=("paper_tab1:002",),
    **more,
):
    return {
        "schema_version": 1,
        "run_id": f"{name}-{value}",
        "status": "done",
        "ended": None,
        "task": {
            "name": "toy",
            "profile": profile,
            "protocol_hash": "abcdef0123",
            "deviations": list(deviations),
        },
        "data": {
            "dataset": "duke_oct",
            "variant": variant,
            "fingerprint": "0123456789",
            "split_sha256": "9876543210",
            "counts": {"test": 22},
            "unit": "patient",
            "leaks": 0,
        },
        "method": {
            "name": name,
            "source": "builtin",
            "state": "reimplemented",
            "file_sha256": None,
            "parameters": 1234567,
            "config": {},
        },
        "seeds": {"run": 0},
        "metrics": {
            "dice": metric(value, classes={"ILM": value + 0.25, "fluid": value}),
            "dice@official": metric(0.8125, classes={"ILM": 0.75, "fluid": 0.875}),
            "absent_clean": metric(None, n=0),
        },
        "compared_to": [{"row_id": row_id} for row_id in compared],
    } | more


GOLDEN = """\
# Toy

Made by `bench leaderboard toy --format md`; do not edit.

## Runs

Ranked by `dice`, inside a section only: rows of different data, variants, splits, \
profiles or protocols are not comparable.

Values are means over seeds, ± the standard deviation over seeds. Brackets hold the 95 % \
interval over the section's units (of graphs from standard errors, else by bootstrap); for several seeds, \
the mean of the seeds' bounds. \
The 95 % t-interval over seeds has a column of its own: spread over units and spread over seeds are \
never mixed. A seed that was run more than once counts once, by its newest run.

### duke_oct · real data · profile official · protocol abcdef01 · data 01234567 · split 98765432 · test n=22

The task's full protocol, without deviation.

Brackets: 95 % over patients.

| rank | method | seeds | dice | dice@official | absent_clean | parameters | made by |
| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |
| 1 | unet | 1 | 0.500 [0.400, 0.600] | 0.812 [0.713, 0.912] | - | 1,234,567 | builtin, reimplemented |
| 2 | mine | 1 | 0.250 [0.150, 0.350] | 0.812 [0.713, 0.912] | - | 1,234,567 | builtin, reimplemented |

`dice` by class. Brackets: 95 % over patients.

| rank | method | ILM | fluid |
| --- | --- | ---: | ---: |
| 1 | unet | 0.750 [0.650, 0.850] | 0.500 [0.400, 0.600] |
| 2 | mine | 0.500 [0.400, 0.600] | 0.250 [0.150, 0.350] |

### duke_oct · PHANTOM, not real data · profile official · protocol abcdef01 · data 01234567 · \
split 98765432 · test n=22

Deviates from the task's protocol: epochs: 1 instead of 100 (budget=smoke).

Brackets: 95 % over patients.

| rank | method | seeds | dice | dice@official | absent_clean | parameters | made by |
| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |
| 1 | unet | 1 | 0.750 [0.650, 0.850] | 0.812 [0.713, 0.912] | - | 1,234,567 | builtin, reimplemented |

`dice` by class. Brackets: 95 % over patients.

| rank | method | ILM | fluid |
| --- | --- | ---: | ---: |
| 1 | unet | 1.000 [0.900, 1.100] | 0.750 [0.650, 0.850] |

## Reported in papers

Numbers as printed. † doubtful, ‡ printed differently elsewhere; the reasons are numbered.

### Reported: Duke OCT, paper Tab. 1

As printed, not ranked with our rows. Answers: dice to our dice@official, profile official, real duke_oct.

| method | Fluid | mean | ours | measured by |
| --- | ---: | ---: | ---: | --- |
| U-Net | 0.80 | 0.836 | 0.812 | its authors |
| ours | - | 0.812 |  | bench |
| RelayNet | 0.30 | 0.75 †1 | - | copied |

†1 the cells say 0.749
"""


def small_board():
    smoke = ["epochs: 1 instead of 100 (budget=smoke)"]
    records = [
        record("mine", 0.25, compared=()),
        record("unet", 0.75, variant="phantom", deviations=smoke),
        record("unet", 0.5),
    ]
    return build(CARD, "toy", records, ROWS)


def test_a_small_board_as_markdown_to_the_letter():
    assert FORMATS["md"](small_board()) == GOLDEN


def test_csv_is_long_form_at_full_precision():
    lines = list(csv.DictReader(io.StringIO(FORMATS["csv"](small_board()))))
    ours = [line for line in lines if line["kind"] == "ours"]
    assert len(ours) == 3 * (3 + 3 + 1)
    (one,) = [
        line
        for line in ours
        if (line["row"], line["metric"], line["class"]) == ("mine", "dice@official", "fluid")
    ]
    assert (one["value"], one["ci_low"], one["n"], one["seeds"], one["rank"]) == (
        "0.875",
        repr(0.875 - 0.1),
        "22",
        "1",
        "2",
    )
    undefined = next(line for line in ours if line["metric"] == "absent_clean")
    assert (undefined["value"], undefined["n"]) == ("", "0")
    reported = [line for line in lines if line["kind"] == "reported"]
    assert [line["printed"] for line in reported] == ["0.80", "0.836", "0.30", "0.75"]
    assert [line["ours"] for line in reported] == ["", "0.8125", "", ""]
    assert reported[3]["note"] == "†1 doubtful: the cells say 0.749"
    assert reported[0]["row_id"] == "paper_tab1:001"


def test_json_holds_everything():
    whole = json.loads(FORMATS["json"](small_board()))
    assert list(whole) == ["task", "title", "primary", "sections", "reported"]
    real, phantom = whole["sections"]
    assert (real["variant"], phantom["variant"]) == ("real", "phantom")
    row = real["rows"][0]
    assert (row["rank"], row["label"], row["run_ids"]) == (1, "unet", ["unet-0.5"])
    assert row["metrics"]["dice"]["per_class"]["fluid"]["value"] == 0.5
    assert row["metrics"]["absent_clean"]["value"] is None
    assert [cell["printed"] for cell in whole["reported"][0]["cells"]] == ["0.80", "0.836", "0.30", "0.75"]


# ---- names that come from users

NASTY = [
    "a|b",
    "a\nb",
    "[red]a[/red]",
    "[bold",
    "`x`",
    "<script>alert(1)</script>",
    "[x](http://y)",
    "=1+1",
    "+1",
    "-1",
    "@sum",
    "a\x1b[31mb",
    "back\\",
    "a\u202eb",
    "a\r\n| 1 | z |",
]


@pytest.mark.parametrize("name", NASTY)
def test_a_name_cannot_break_out_of_its_cell(name):
    made = build(CARD, "toy", [record(name)], ROWS)
    text = FORMATS["md"](made)
    (line,) = [line for line in text.splitlines() if line.startswith("| 1 ") and "1,234,567" in line]
    bare = line.replace("\\\\", "").replace("\\|", "")
    assert bare.count("|") == 9
    assert "<script" not in text
    lines = list(csv.DictReader(io.StringIO(FORMATS["csv"](made))))
    shown = {line["row"] for line in lines if line["kind"] == "ours"}
    assert len(shown) == 1
    assert shown.pop()[0] not in "=+-@"
    terminal = FORMATS["table"](made)
    assert "\x1b" not in terminal and "\u202e" not in terminal
    assert json.loads(FORMATS["json"](made))["sections"][0]["rows"][0]["method"] == name
    out = Console(file=io.StringIO(), width=150)
    for part in run_table(record(name), CARD, ROWS):
        out.print(part)


def test_markup_in_a_name_is_shown_not_obeyed():
    assert "[red]a[/red]" in FORMATS["table"](build(CARD, "toy", [record("[red]a[/red]")], ROWS))


def test_escapes():
    assert escape_markdown("a|b`c[d]<e>&\\*") == "a\\|b\\`c\\[d\\]&lt;e&gt;&amp;\\\\\\*"
    assert escape_csv("=cmd()") == "'=cmd()"
    assert escape_csv("\t=cmd()") == "'=cmd()"
    assert escape_csv("a=b") == "a=b"
    assert one_line("a\r\nb\x07c") == "a b c"


# ---- the terminal


def show(parts, width=150):
    out = Console(file=io.StringIO(), width=width, highlight=False)
    for part in parts:
        out.print(part)
    return out.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 150])
def test_no_number_is_lost_however_narrow_the_terminal(width):
    headers = ("method", *(f"class{i}" for i in range(12)), "source")
    rows = tuple((f"method number {r}", *(f"0.{r}{i:02d}" for i in range(12)), "here") for r in range(1, 3))
    text = show([Fitted(Grid("", (), headers, rows, tail=1))], width)
    assert all(len(line) <= width for line in text.splitlines())
    for row in rows:
        assert all(text.count(number) == 1 for number in row[1:-1])
    assert text.count("here") == 2


def test_a_long_board_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr(tables, "ROWS", 3)
    monkeypatch.setattr(tables, "SECTIONS", 1)
    records = [record(f"m{i}", i / 10) for i in range(5)] + [record(variant="phantom")]
    text = FORMATS["table"](build(CARD, "toy", records, ROWS))
    assert "2 more rows" in text and "1 more sections" in text
    assert "m4" in text and "m1" not in text
    assert "m1" in FORMATS["md"](build(CARD, "toy", records, ROWS))


def test_an_empty_board_says_so():
    text = FORMATS["table"](build(CARD, "toy", [], ROWS))
    assert "No finished run yet" in text
    assert "0.836" in text


# ---- what a run prints


def test_a_run_shows_its_metrics_with_intervals_and_classes():
    text = show(run_table(record(value=0.5, deviations=["epochs: 1 instead of 100"]), CARD, ROWS))
    assert "95 % over patients" in text and "95 % over scans" in text
    line = next(line for line in text.splitlines() if line.startswith("dice "))
    assert line.split() == ["dice", "0.500", "[0.400,", "0.600]", "[0.250,", "0.750]", "22"]
    assert next(line for line in text.splitlines() if line.startswith("absent_clean")).split()[1] == "-"
    by_class = text[text.index("by class") :].splitlines()
    assert by_class[1].split() == ["metric", "ILM", "fluid"]
    assert by_class[2].split() == ["dice", "0.750", "0.500"]
    assert "Deviates from the task's protocol: epochs: 1 instead of 100." in text


@pytest.mark.parametrize(
    ("parts", "said", "comparable"),
    [
        ({"variant": "phantom"}, "another dataset than this PHANTOM; not comparable", False),
        ({"variant": "custom"}, "another dataset than `duke_oct`; not comparable", False),
        ({"profile": "clean"}, "made under profile official, this run under clean; not comparable", False),
        ({"deviations": ["epochs: 1"]}, "this run deviates from the protocol; not comparable", False),
        ({}, "comparable", True),
    ],
)
def test_printed_rows_say_whether_they_are_comparable(parts, said, comparable):
    text = show(run_table(record(**parts), CARD, ROWS))
    assert f"Reported on Duke OCT (real data): {said}\n" in text
    head = next(line for line in text.splitlines() if "printed in" in line)
    assert ("ours" in head.split()) == comparable
    line = next(line for line in text.splitlines() if line.startswith("U-Net"))
    assert line.split()[1:3] == ["0.80", "0.836"]
    assert ("0.812" in line) == comparable
    assert ("PHANTOM, not real data" in text) == (parts.get("variant") == "phantom")


def test_a_users_own_data_shows_the_first_table_as_another_dataset():
    own = record(variant="custom")
    own["data"]["dataset"] = "folder"
    text = show(run_table(own, CARD, ROWS))
    assert "another dataset than `folder`; not comparable" in text
    assert "0.836" in text


def test_a_task_without_printed_tables_prints_its_metrics_alone():
    text = show(run_table(record(), Card(title="x", primary="dice"), ROWS))
    assert "Reported" not in text
    assert "0.500" in text


def test_the_oct_tables_fit_beside_a_run():
    text = show(run_table(record(variant="phantom"), CARD, load_rows()))
    assert text.count("thesis Tab. 8.3") == 6
    assert "(ffc=true, alpha=0.25)" in text
    assert "†1 mean of the eight printed cells is 0.786" in text
    assert "(spectral_range=no_change) †2" in text
