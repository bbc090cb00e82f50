import copy
import csv
import io
import json
import statistics
import subprocess
import sys
from typing import Any

import pytest

from bench import leaderboard, registry
from bench.card import Card, Reported
from bench.leaderboard import FORMATS, LEADERBOARDS, build, collect, page
from bench.reported import load_rows

CARD = Card(
    title="Toy task",
    metrics=("dice", "dice@official", "miou@official"),
    primary="dice",
    datasets=("umn_oct", "duke_oct"),
    reported=Reported(
        task="oct_seg",
        datasets={"Duke OCT": "duke_oct", "UMN OCT": "umn_oct"},
        classes={"ILM": "ILM", "Fluid": "fluid", "mean": "mean"},
        methods={"U-Net": "unet", "Y-Net": "ynet"},
        variants={"": ""},
        profile="official",
        variant={"dice": "dice@official", "miou": "miou@official"},
    ),
)


def entry(value, n=22, half=0.05):
    known = value is not None
    return {
        "value": value,
        "ci_low": value - half if known else None,
        "ci_high": value + half if known else None,
        "n": n if known else 0,
    }


def metric(value, classes=None, **more):
    return {
        **entry(value),
        "unit": "fraction",
        "direction": "higher",
        "variant": "clean",
        "per_class": {name: entry(v) for name, v in (classes or {}).items()},
        **more,
    }


COUNTER = iter(range(10**6))


def record(
    dice: float | None = 0.8, seed=0, metrics=None, compared=(), ended="2026-01-01T00:00:00+00:00", **parts
):
    """A finished record; `parts` are `section__field=value`."""
    made = {
        "schema_version": 1,
        "run_id": f"run{next(COUNTER):06d}",
        "status": "done",
        "ended": ended,
        "task": {
            "name": "toy",
            "family": "segmentation",
            "protocol_hash": "a" * 64,
            "profile": "clean",
            "deviations": [],
        },
        "data": {
            "dataset": "duke_oct",
            "variant": "real",
            "fingerprint": "f" * 64,
            "split_sha256": "5" * 64,
            "counts": {"train": 66, "val": 22, "test": 22},
            "unit": "patient",
            "leaks": 0,
        },
        "method": {
            "name": "unet",
            "source": "builtin",
            "state": "reimplemented",
            "file_sha256": "b" * 64,
            "parameters": 7_762_729,
            "config": {"lr": 0.0005},
        },
        "seeds": {"run": seed},
        "metrics": metrics or {"dice": metric(dice, {"ILM": dice, "fluid": 0.5})},
        "compared_to": [
            {"row_id": r, "reported": 0.8, "tolerance": 0.005, "verdict": "below"} for r in compared
        ],
    }
    for key, value in parts.items():
        section, _, name = key.partition("__")
        made[section][name] = value
    return made


def board(*records, **options):
    return build(CARD, "toy", records, load_rows(), **options)


def ranks(section):
    return [(row.rank, row.label) for row in section.rows]


# ---- what may share a ranking


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("data__variant", "phantom"),
        ("data__variant", "custom"),
        ("data__dataset", "umn_oct"),
        ("data__fingerprint", "e" * 64),
        ("data__split_sha256", "6" * 64),
        ("task__profile", "official"),
        ("task__protocol_hash", "c" * 64),
    ],
)
def test_rows_that_differ_never_share_a_ranking(field, other):
    made = board(record(0.9), record(0.1, **{field: other}))
    assert len(made.sections) == 2
    assert all([row.rank for row in section.rows] == [1] for section in made.sections)
    assert len({section.title for section in made.sections}) == 2


def test_seven_worlds_make_seven_sections_in_every_format():
    worlds = [
        record(0.9, data__variant=variant, task__profile=profile)
        for variant in ("real", "phantom", "custom")
        for profile in ("clean", "official")
    ]
    made = board(
        *worlds, record(0.9, task__protocol_hash="c" * 64, task__deviations=["epochs: 8 instead of 80"])
    )
    assert len(made.sections) == 7
    assert FORMATS["md"](made).count("### duke_oct") == 7
    assert len(json.loads(FORMATS["json"](made))["sections"]) == 7
    lines = [line for line in csv.DictReader(io.StringIO(FORMATS["csv"](made))) if line["kind"] == "ours"]
    assert len({line["section"] for line in lines}) == 7
    assert {line["rank"] for line in lines} == {"1"}
    assert FORMATS["table"](made).count("duke_oct · ") == 7


def test_real_stands_before_custom_before_phantom_and_full_protocols_first():
    made = board(
        record(data__variant="phantom"),
        record(task__protocol_hash="c" * 64, task__deviations=["epochs: 8 instead of 80"]),
        record(data__variant="custom"),
        record(),
    )
    got = [(section.key.variant, bool(section.deviations)) for section in made.sections]
    assert got == [("real", False), ("real", True), ("custom", False), ("phantom", False)]


def test_filters_choose_sections_and_leave_the_printed_tables():
    records = [record(data__variant="phantom"), record(), record(task__profile="official")]
    assert [s.key.variant for s in board(*records, data="phantom").sections] == ["phantom"]
    assert [s.key.profile for s in board(*records, profile="official").sections] == ["official"]
    assert board(*records, data="custom").sections == ()
    assert len(board(*records, data="custom").blocks) == 4


# ---- ranking


def test_ranks_ties_and_undefined_values():
    made = board(
        record(0.7, method__name="b"),
        record(None, method__name="e"),
        record(0.9, method__name="a"),
        record(0.7, method__name="c"),
        record(0.6, method__name="d"),
    )
    assert ranks(made.sections[0]) == [(1, "a"), (2, "b"), (2, "c"), (4, "d"), (None, "e")]


def test_lower_is_better_where_the_metric_says_so():
    low = {"dice": metric(0.1, direction="lower")}
    high = {"dice": metric(0.9, direction="lower")}
    made = board(record(metrics=high, method__name="a"), record(metrics=low, method__name="b"))
    assert ranks(made.sections[0]) == [(1, "b"), (2, "a")]


def test_the_official_metric_does_not_rank():
    modest = {"dice": metric(0.5), "dice@official": metric(1.9)}
    better = {"dice": metric(0.6), "dice@official": metric(0.6)}
    made = board(record(metrics=modest, method__name="a"), record(metrics=better, method__name="b"))
    assert ranks(made.sections[0]) == [(1, "b"), (2, "a")]


def test_a_row_without_the_primary_metric_is_unranked():
    made = board(record(metrics={"dice@official": metric(1.2)}, method__name="a"), record())
    assert ranks(made.sections[0]) == [(1, "unet"), (None, "a")]


# ---- what is one row


def test_seeds_of_one_method_are_one_row_with_mean_spread_and_mean_bounds():
    values = (0.70, 0.74, 0.78)
    made = board(*(record(value, seed=seed) for seed, value in enumerate(values)))
    (row,) = made.sections[0].rows
    cell = row.cell("dice")
    assert len(row.records) == cell.seeds == 3
    assert cell.value == pytest.approx(statistics.fmean(values))
    assert cell.std == pytest.approx(statistics.stdev(values))
    assert (cell.low, cell.high) == pytest.approx((0.69, 0.79))
    assert row.cell("dice", "fluid").value == 0.5
    assert "0.740 ± 0.040 [0.690, 0.790]" in FORMATS["md"](made)
    assert "for several seeds, the mean of the seeds' bounds" in FORMATS["md"](made)


def test_one_seed_has_no_spread():
    cell = board(record(0.7)).sections[0].rows[0].cell("dice")
    assert (cell.value, cell.std, cell.seeds) == (0.7, None, 1)


def test_a_missing_interval_is_not_averaged_away():
    with_interval, without = record(0.7, seed=0), record(0.8, seed=1)
    without["metrics"]["dice"]["ci_low"] = without["metrics"]["dice"]["ci_high"] = None
    cell = board(with_interval, without).sections[0].rows[0].cell("dice")
    assert (cell.low, cell.high) == (None, None)
    assert cell.value == pytest.approx(0.75)


def test_a_seed_run_again_counts_once_by_its_newest_run():
    made = board(
        record(0.8, seed=0, ended="2026-01-02T00:00:00+00:00"),
        record(0.6, seed=0, ended="2026-01-01T00:00:00+00:00"),
        record(0.7, seed=1),
    )
    cell = made.sections[0].rows[0].cell("dice")
    assert (cell.value, cell.seeds) == (pytest.approx(0.75), 2)


def test_a_configuration_is_a_row_and_its_differences_are_spelled_out():
    made = board(
        record(0.8, method__name="ynet", method__config={"alpha": 0.5, "ffc": True, "lr": 1e-3}),
        record(0.7, method__name="ynet", method__config={"alpha": 0.25, "ffc": True, "lr": 1e-3}),
        record(0.6, method__name="ynet", method__config={"alpha": 0.5, "ffc": False, "lr": 1e-3}),
        record(0.5),
    )
    assert ranks(made.sections[0]) == [
        (1, "ynet (alpha=0.5, ffc=true)"),
        (2, "ynet (alpha=0.25, ffc=true)"),
        (3, "ynet (alpha=0.5, ffc=false)"),
        (4, "unet"),
    ]


def test_a_field_that_somebody_set_is_said_even_where_no_row_differs_in_it():
    made = record(0.8, method__config={"lr": 0.001, "width": 32, "hc": {"rounds": 5}})
    command = "bench run task=toy method=unet method.lr=1e-3 protocol.width=3 method.hc.rounds=5 data_root=lr"
    assert ranks(board({**made, "command": command}).sections[0]) == [(1, "unet (lr=0.001, hc.rounds=5)")]


def test_a_seed_in_the_configuration_makes_no_row():
    made = board(
        record(seed=0, method__config={"seed": 0, "lr": 1}),
        record(seed=1, method__config={"seed": 1, "lr": 1}),
    )
    assert [row.label for row in made.sections[0].rows] == ["unet"]


def test_another_method_file_is_another_row():
    made = board(record(0.8), record(0.7, method__file_sha256="c" * 64))
    assert ranks(made.sections[0]) == [(1, "unet [file bbbbbbbb]"), (2, "unet [file cccccccc]")]


def test_predictions_are_rows_of_their_own_and_say_so():
    parts = {
        "method__name": "mine",
        "method__source": "predictions",
        "method__state": "external",
        "method__file_sha256": None,
        "method__config": {},
        "method__parameters": None,
    }
    a, b = record(0.8, **parts), record(0.7, **parts)
    a["seeds"] = b["seeds"] = {}
    made = board(a, b)
    assert len(made.sections[0].rows) == 2
    assert len({row.label for row in made.sections[0].rows}) == 2
    assert FORMATS["md"](made).count("predictions, external") == 2
    again = copy.deepcopy(b) | {"run_id": b["run_id"] + "-r1"}
    assert len(board(a, b, again).sections[0].rows) == 2


def test_the_order_of_records_is_nothing():
    records = [
        record(v, seed=s, method__name=m) for s in range(2) for v, m in ((0.5, "a"), (0.5, "b"), (0.9, "c"))
    ]
    records += [record(data__variant="phantom"), record(task__profile="official")]
    for how in FORMATS:
        assert FORMATS[how](board(*records)) == FORMATS[how](board(*reversed(records)))


# ---- our numbers beside printed ones

U_NET_MEAN, U_NET_FLUID = "thesis_tab8.1:036", "thesis_tab8.1:035"


def ours(made):
    return {
        cell.row.row_id: cell.ours
        for block in made.blocks
        for line in block.lines
        for cell in line.cells.values()
        if cell.ours is not None
    }


def official(**parts):
    values = {
        "dice": metric(0.7, {"fluid": 0.6}),
        "dice@official": metric(0.82, {"fluid": 0.81}),
        "miou@official": metric(0.77, {"fluid": 0.4}),
    }
    given: dict[str, Any] = {"task__profile": "official", "compared": (U_NET_MEAN, U_NET_FLUID)} | parts
    return record(metrics=values, **given)


def test_ours_stands_beside_the_official_variant_on_the_same_real_data():
    made = board(official(seed=0), official(seed=1))
    assert ours(made) == {U_NET_MEAN: pytest.approx(0.82), U_NET_FLUID: pytest.approx(0.81)}
    assert "| ours |" in FORMATS["md"](made)


@pytest.mark.parametrize(
    "parts",
    [
        {"data__variant": "phantom"},
        {"data__variant": "custom"},
        {"data__dataset": "umn_oct"},
        {"task__profile": "clean"},
        {"task__deviations": ["epochs: 8 instead of 100"]},
        {"method__name": "ynet"},
        {"compared": ()},
    ],
)
def test_nothing_else_stands_beside_a_printed_number(parts):
    assert ours(board(official(**parts))) == {}


def test_a_mean_iou_answers_with_the_mean_whatever_its_column_is_called():
    made = board(official(data__dataset="umn_oct", compared=("thesis_tab8.2:001", "thesis_tab8.2:002")))
    assert ours(made) == {"thesis_tab8.2:001": 0.81, "thesis_tab8.2:002": 0.77}


def test_blocks_are_the_four_printed_tables_with_marks_and_reasons():
    made = board()
    assert [block.file for block in made.blocks] == [f"thesis_tab8.{i}" for i in (1, 2, 3, 4)]
    first = made.blocks[0]
    assert first.columns[-2:] == ("Fluid", "mean")
    assert [line.method for line in first.lines] == ["RelayNet", "Language", "Alignment", "U-Net", "Y-Net"]
    assert [line.measured for line in first.lines] == ["copied"] * 3 + ["its authors"] * 2
    language = first.lines[1].cells["mean"]
    assert (language.row.printed, language.marks) == ("0.78", ("†1",))
    assert "0.786" in first.notes["†1"]
    assert made.blocks[1].columns == ("dice Fluid", "miou Fluid")
    # Nine doubtful cells of one reason share its number.
    assert len(made.blocks[3].notes) == 1
    assert "dice to our dice@official, profile official, real duke_oct" in first.terms


def test_disputed_cells_name_the_other_value():
    task = Card(
        title="Scene graphs",
        primary="fid",
        reported=Reported("sg_to_image", {"COCO-Stuff": "coco"}, {"mean": "mean"}, {}, {}, "official", {}),
    )
    made = build(task, "sg", [], load_rows())
    told = " ".join(reason for block in made.blocks for reason in block.notes.values())
    assert "disputed: 136.8 here, 93.3 in sgdiff Table 1" in told
    cells = [c for block in made.blocks for line in block.lines for c in line.cells.values()]
    disputed = [c for c in cells if c.row.row_id == "retrievegan_tab1:001"]
    assert [c.marks[0][0] for c in disputed] == ["‡"]
    assert "136.8 ‡" in FORMATS["md"](made)


def test_a_card_without_reported_tables_has_no_blocks():
    assert build(Card(title="x", primary="dice"), "x", [], load_rows()).blocks == ()


# ---- reading


def write(root, made, task="toy", text=None):
    folder = root / task / made["data"]["dataset"] / made["method"]["name"] / made["run_id"]
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(made) if text is None else text)


def test_collect_reads_committed_lines_and_run_folders_once(tmp_path, capsys):
    results, first, second = tmp_path / "results", tmp_path / "runs", tmp_path / "more"
    results.mkdir()
    shared, committed, own, other = record(), record(), record(), record(task__name="another")
    (results / "toy.jsonl").write_text("\n".join(json.dumps(r) for r in (shared, committed, other)) + "\n\n")
    for root, made in ((first, shared), (first, own), (second, record(method__name="ynet"))):
        write(root, made)
    (first / "toy" / "duke_oct" / "unet" / "begun").mkdir()
    got = collect([first, second, tmp_path / "absent"], "toy", committed=results)
    assert [r["run_id"] for r in got[:3]] == [shared["run_id"], committed["run_id"], own["run_id"]]
    assert len(got) == 4
    assert capsys.readouterr().err == ""


def test_unfinished_runs_are_left_out(tmp_path):
    for status in ("running", "failed"):
        write(tmp_path, record() | {"status": status, "metrics": {}})
    assert collect([tmp_path], "toy", committed=tmp_path / "none") == []


def breaking():
    def broken(change):
        made = copy.deepcopy(record())
        change(made)
        return json.dumps(made)

    yield "truncated", json.dumps(record())[:400]
    yield "empty", ""
    yield "a list", "[1, 2]"
    yield "another schema", broken(lambda r: r.update(schema_version=2))
    yield "foreign", '{"hello": "world"}'
    yield "no data", broken(lambda r: r.pop("data"))
    yield "text for a value", broken(lambda r: r["metrics"]["dice"].update(value="0.9"))
    yield "text in a class", broken(lambda r: r["metrics"]["dice"]["per_class"]["ILM"].update(ci_low="x"))
    yield "classes of no kind", broken(lambda r: r["metrics"]["dice"].update(per_class={"ILM": 3}))
    yield "classes as a list", broken(lambda r: r["metrics"]["dice"].update(per_class=[]))
    yield "a metric of no kind", broken(lambda r: r["metrics"].update(dice=0.9))
    yield "unknown variant", broken(lambda r: r["data"].update(variant="reel"))
    yield "nan", broken(lambda r: r["metrics"]["dice"].update(value=float("nan")))
    yield "foreign comparison", broken(lambda r: r.update(compared_to=["x"]))
    yield "foreign deviation", broken(lambda r: r["data"].update(counts={"test": "many"}))
    yield "not text", "\udcff"


@pytest.mark.parametrize(("name", "text"), list(breaking()))
def test_a_damaged_file_is_named_and_skipped(tmp_path, capsys, name, text):
    good, bad = record(), record(method__name="bad")
    write(tmp_path, good)
    write(tmp_path, bad, text="")
    path = tmp_path / "toy" / "duke_oct" / "bad" / bad["run_id"] / "record.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    got = collect([tmp_path], "toy", committed=tmp_path / "none")
    assert [r["run_id"] for r in got] == [good["run_id"]]
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    FORMATS["json"](board(*got))


def test_a_damaged_committed_line_is_named_by_number(tmp_path, capsys):
    (tmp_path / "toy.jsonl").write_text(json.dumps(record()) + "\n{broken\n" + json.dumps(record()) + "\n")
    assert len(collect([], "toy", committed=tmp_path)) == 2
    assert "toy.jsonl line 2" in capsys.readouterr().err


def test_unknown_keys_are_left_alone(tmp_path):
    write(tmp_path, record() | {"extra": {"more": 1}})
    (made,) = collect([tmp_path], "toy", committed=tmp_path / "none")
    assert made["extra"] == {"more": 1}


def test_the_collector_works_again_after_reading_many(tmp_path, monkeypatch):
    import gc

    from bench.report import collect as module

    write(tmp_path, record())
    collect([tmp_path], "toy", committed=tmp_path / "none")
    assert gc.isenabled() and gc.get_freeze_count() == 0
    monkeypatch.setattr(module, "_MANY", 1)
    try:
        collect([tmp_path], "toy", committed=tmp_path / "none")
        assert gc.isenabled() and gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_a_leaderboard_needs_no_torch():
    code = (
        "import sys; from bench.leaderboard import *; FORMATS['md'](build(registry_card, 'oct', [], rows)); "
        "print(sorted(set(sys.modules) & {'torch', 'numpy', 'pandas', 'hydra', 'matplotlib'}))"
    ).replace("registry_card", "__import__('bench.registry').registry.card('task', 'oct')")
    code = code.replace("rows", "__import__('bench.reported').reported.load_rows()")
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"


# ---- pages


def test_every_committed_page_is_what_its_results_make_of_it():
    pages = sorted(path.stem for path in LEADERBOARDS.glob("*.md") if path.stem != "README")
    if not pages:
        assert not list((LEADERBOARDS / "results").glob("*.jsonl"))
    for task in pages:
        assert (LEADERBOARDS / f"{task}.md").read_text(encoding="utf-8") == page(task)


def test_a_page_holds_header_findings_and_board(tmp_path, monkeypatch):
    (tmp_path / "findings").mkdir()
    (tmp_path / "findings" / "toy.md").write_text("## Finding\n\nIt *works*.\n")
    monkeypatch.setattr(leaderboard, "LEADERBOARDS", tmp_path)
    text = FORMATS["md"](board(record()))
    assert text.index("# Toy task") < text.index("It *works*.") < text.index("## Runs")
    assert text.index("## Runs") < text.index("## Reported in papers")


def test_the_page_of_the_oct_task_shows_the_printed_tables():
    text = page("oct")
    for table in ("Tab. 8.1", "Tab. 8.2", "Tab. 8.3", "Tab. 8.4"):
        assert f"### Reported: {'UMN' if table == 'Tab. 8.2' else 'Duke'} OCT, thesis {table}" in text
    assert page("oct") == text
    assert registry.card("task", "oct").title in text
