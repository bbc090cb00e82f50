"""Tasks with axes: which printed number speaks of which run, and how boards show settings and seeds."""

import csv
import io
import json
import math
import statistics
import subprocess
import sys
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from rich.console import Console
from scipy import stats

from bench import leaderboard, registry
from bench.axes import flat, order, said, same
from bench.card import Card, Reported
from bench.compare import answers, compared
from bench.core import Method
from bench.leaderboard import FORMATS, build
from bench.record import Record
from bench.report import tables
from bench.report.grids import WIDEST, pages, section_grids
from bench.report.tables import run_table
from bench.reported import asked, at_setting, claimed, load_rows, our_metric

BALANCED = "clients=10;classes_per_client=3;participation=0.3"
POC = Reported(
    task="federated_poc",
    datasets={"Fashion-MNIST": "fashion"},
    classes={"mean": "mean"},
    methods={"FedAvg": "fedavg", "IDA": "ida", "IDA+FedAvg": "ida+fedavg"},
    variants={"": ""},
    profile="official",
    variant={},
    settings={
        "ncc=3;pr=0.3;partition=non_iid": BALANCED,
        "ncc=3;pr=0.5;partition=non_iid": "clients=10;classes_per_client=3;participation=0.50",
        "K=10;ncc=3;pr=0.3;partition=non_iid": BALANCED,
    },
)
METRICS = ("accuracy", "local_accuracy", "local_accuracy_trained", "majority_accuracy")
FASHION = Card(title="F", primary="accuracy", metrics=METRICS, datasets=("fashion",), reported=POC)
CIFAR = replace(FASHION, datasets=("cifar",), reported=replace(POC, datasets={"CIFAR-10": "cifar"}))
HAM = replace(
    FASHION,
    datasets=("ham",),
    reported=replace(
        POC,
        task="federated_ham10k",
        datasets={"HAM10k": "ham"},
        methods={"FedAvg": "fedavg"},
        settings={
            "partition=non_iid;ncc=1;client_sizes=unbalanced": "classes_per_client=1",  # the order is nothing
            "clients=34;classes_per_client=2;images_per_client=70;partition=non_iid": "partition=fedap",
        },
        tables={
            "Tab. 6.3": {"accuracy": "accuracy", "local_accuracy": "local_accuracy_trained"},
            "Tab. 6.4": {"accuracy": "local_accuracy"},
        },
    ),
)
BY_ID = {row.row_id: row for row in load_rows()}
SETTING = {"clients": 10, "classes_per_client": 3, "participation": 0.3}
FEDAVG_61, FEDAVG_62, SUM_62 = "thesis_tab6.1:015", "thesis_tab6.2:004", "thesis_tab6.2:010"
HAM_63, HAM_63_LOCAL, HAM_64 = "thesis_tab6.3:001", "thesis_tab6.3:002", "thesis_tab6.4:002"


def metric(value, half=0.05, **more):
    known = value is not None
    bounds = {"ci_low": value - half if known else None, "ci_high": value + half if known else None}
    kind = {"unit": "fraction", "direction": "higher", "variant": "clean", "per_class": {}}
    return {"value": value, "n": 10 if known else 0, **bounds, **kind, **more}


def record(
    accuracy: float | None = 0.8, seed=0, setting=None, metrics=None, compared_to=(), **parts
) -> dict[str, Any]:
    """A finished record on real data; `parts` are `section__field=value`."""
    held = {"accuracy": metric(accuracy), "local_accuracy": metric(0.5)} if metrics is None else metrics
    made: dict[str, Any] = {
        "schema_version": 1,
        "run_id": f"run-{accuracy}-{seed}",
        "status": "done",
        "started": "2026-01-01T00:00:00+00:00",
        "command": "bench run",
        "task": {
            "name": "toy",
            "family": "federated_classification",
            "protocol_hash": "a" * 64,
            "profile": "official",
            "deviations": [],
            "setting": SETTING if setting is None else setting,
        },
        "data": {
            "dataset": "fashion",
            "variant": "real",
            "fingerprint": "f" * 64,
            "split_sha256": "5" * 64,
            "counts": {"train": 90, "val": 0, "test": 10},
            "unit": "client",
            "leaks": 0,
        },
        "method": {"name": "fedavg", "source": "builtin", "state": "reimplemented", "config": {}},
        "seeds": {"run": seed},
        "environment": {
            "bench": "0",
            "git_sha": None,
            "dirty": None,
            "python": "3",
            "packages": {},
            "platform": "x",
            "device": "cpu",
            "device_count": 1,
        },
        "metrics": held,
        "compared_to": [
            {"row_id": r, "reported": 0.8, "tolerance": 0.01, "verdict": "match"} for r in compared_to
        ],
    }
    for key, value in parts.items():
        section, _, name = key.partition("__")
        made[section][name] = value
    return made


def board(*records, card=FASHION):
    return build(card, "toy", records, load_rows())


# ---- values and names


def test_configurations_of_parts_are_flat():
    assert flat({"ida": {"eps": 1e-8, "deep": {"x": 1}}, "fedavg": {}, "lr": [1]}) == {
        "ida.eps": 1e-8,
        "ida.deep.x": 1,
        "fedavg": {},
        "lr": [1],
    }


@pytest.mark.parametrize(
    ("ours", "theirs", "equal"),
    [
        (0.3, "0.30", True),
        (1.0, "1", True),
        (0.3, "0.5", False),
        (True, "true", True),
        (True, "1", False),
        (1, "true", False),
        ("balanced", "balanced", True),
        ("balanced", "ida", False),
        (3, "three", False),
        ("3", "3", True),
        (None, "null", True),
        ([1, 2], "[1,2]", True),
    ],
)
def test_a_value_is_what_a_card_writes(ours, theirs, equal):
    assert same(ours, theirs) == equal


def test_settings_are_said_and_ordered_by_size_not_by_letters():
    assert said(SETTING) == "clients=10, classes_per_client=3, participation=0.3"
    settings = [{"clients": n, "partition": p} for n in (10, 2, 1000) for p in ("ida", "fedap")]
    told = [said(one, ";") for one in sorted(settings, key=order)]
    assert told[:3] == ["clients=2;partition=fedap", "clients=2;partition=ida", "clients=10;partition=fedap"]
    assert sorted([{"n": "x"}, {"n": 3}, {"n": [1]}], key=order)[0] == {"n": 3}


# ---- which printed number speaks of a record


def test_a_row_is_of_a_setting_in_every_axis_the_card_names():
    row = BY_ID[FEDAVG_61]
    assert asked(row, POC) == {"clients": "10", "classes_per_client": "3", "participation": "0.3"}
    assert at_setting(row, POC, {**SETTING, "doubled": [1]})  # the card does not speak of `doubled`
    for other in ({"clients": 20}, {"classes_per_client": 5}, {"participation": 0.31}):
        assert not at_setting(row, POC, {**SETTING, **other})
    assert not at_setting(row, POC, {"clients": 10, "classes_per_client": 3})
    assert at_setting(BY_ID["thesis_tab6.1:016"], POC, {**SETTING, "participation": 0.5})
    assert asked(BY_ID["thesis_tab6.1:021"], POC) is None  # ncc=10 is not mapped
    assert at_setting(row, replace(POC, settings={}), {})  # a card without settings does not look


def speaks(row_id, mapping=POC, defaults=None, **parts):
    return answers(BY_ID[row_id], mapping, Record.model_validate(record(**parts)), defaults or {})


def test_answers_needs_the_setting():
    assert speaks(FEDAVG_61) and speaks(FEDAVG_62)
    assert not speaks("thesis_tab6.1:016")  # pr=0.5
    assert not speaks(FEDAVG_61, setting={**SETTING, "clients": 20})
    assert not speaks(FEDAVG_61, setting={})
    assert not speaks(FEDAVG_61, data__dataset="cifar")
    assert not speaks(SUM_62)


def test_fields_of_parts_must_be_at_their_defaults():
    usual = {"ida": {"eps": 1e-8, "buffers": False}, "fedavg": {}}

    def holds(config, mapping=POC):
        parts = {"method__name": "ida+fedavg", "method__config": config}
        return speaks(SUM_62, mapping, usual, **parts)

    assert holds(usual)
    assert not holds({"ida": {"eps": 1e-3, "buffers": False}, "fedavg": {}})
    assert not holds({"ida": {"eps": 1e-8}, "fedavg": {}})
    assert not holds({**usual, "fedavg": {"new": 1}})
    named = replace(POC, variants={"": "ida.eps=0.001"})
    assert holds({"ida": {"eps": 1e-3, "buffers": False}, "fedavg": {}}, named)
    assert not holds(usual, named)
    assert not holds({"ida": {"eps": 1e-3, "buffers": True}, "fedavg": {}}, named)


@dataclass
class Part:
    buffers: bool = False


@dataclass
class Wrapped(Method):
    official: ClassVar = {"hc.buffers": True}
    hc: Part = field(default_factory=Part)

    def fit(self, train, val, ctx):
        raise NotImplementedError

    def predict(self, x):
        raise NotImplementedError


def test_a_table_may_mean_another_metric_and_official_values_reach_into_parts():
    mapping = cast(Reported, HAM.reported)
    assert our_metric(BY_ID[HAM_63_LOCAL], mapping) == "local_accuracy_trained"
    assert our_metric(BY_ID[HAM_64], mapping) == "local_accuracy"
    assert our_metric(BY_ID[FEDAVG_61], replace(POC, variant={"accuracy": "accuracy@x"})) == "accuracy@x"
    plan = cast(Any, SimpleNamespace(task=SimpleNamespace(card=HAM), method=Wrapped(), profile="official"))
    held = {"accuracy": metric(0.6972), "local_accuracy": metric(0.411)}
    held["local_accuracy_trained"] = metric(0.9)
    parts = {"data__dataset": "ham", "metrics": held, "method__config": {"hc": {"buffers": True}}}

    def verdicts(**more):
        one = Record.model_validate(record(**{**parts, **more}))
        return {c.row_id: c.verdict for c in compared(one, plan)}

    assert verdicts(setting={"classes_per_client": 1}) == {HAM_63: "match", HAM_63_LOCAL: "above"}
    assert verdicts(setting={"partition": "fedap"}) == {HAM_64: "match"}
    assert verdicts(setting={"partition": "ida"}) == {}
    assert verdicts(setting={"partition": "fedap"}, method__config={"hc": {"buffers": False}}) == {}


def test_two_tasks_answer_one_reported_task_each_for_its_dataset():
    owners = claimed(load_rows(), {"fashion_task": FASHION, "cifar_task": CIFAR})
    for row_id, owner in owners.items():
        assert owner == {"Fashion-MNIST": "fashion_task", "CIFAR-10": "cifar_task"}[BY_ID[row_id].dataset]
    assert {FEDAVG_61, "thesis_tab6.1:001"} <= owners.keys()
    assert "thesis_tab6.1:021" not in owners  # a setting that no card maps can never be answered


# ---- printed tables


def block(card, table):
    return next(b for b in board(card=card).blocks if b.file == f"thesis_tab{table}")


def test_a_board_shows_only_datasets_its_card_maps():
    assert {b.dataset for b in board(card=FASHION).blocks} == {"Fashion-MNIST"}
    assert {b.dataset for b in board(card=CIFAR).blocks} == {"CIFAR-10"}


def test_columns_are_settings_and_what_all_share_is_said_once():
    first = block(FASHION, "6.1")
    assert first.columns[0] == "ncc=3, pr=0.3, partition=non_iid"
    assert first.columns[-1] == "ncc=10, pr=1.0, partition=iid"
    assert (len(first.columns), first.shared, first.headline) == (7, "", ())
    assert [line.method for line in first.lines] == ["FedAvg", "IDA"]
    assert all(len(line.cells) == 7 for line in first.lines)
    second = block(CIFAR, "6.2")
    assert (second.columns, second.shared) == (("K=10", "K=20"), "ncc=3, pr=0.3, partition=non_iid")
    assert "All at ncc=3, pr=0.3, partition=non_iid." in second.terms
    alone = block(FASHION, "6.2")
    assert (alone.columns, alone.shared) == (("accuracy",), "K=10, ncc=3, pr=0.3, partition=non_iid")
    assert block(HAM, "6.4").columns == ("accuracy",)
    assert {line.setting for b in (first, second, alone) for line in b.lines} == {""}
    # Only some methods of this table carry a resolution: it stays with them.
    mixed = next(b for b in build(registry.card("task", "oct"), "oct", [], load_rows()).blocks)
    assert [line.setting for line in mixed.lines] == ["", "", "", "resolution=224", "resolution=224"]


def test_two_metrics_give_columns_for_both_with_printed_spread_and_doubts():
    made = block(HAM, "6.3")
    assert made.columns[:2] == (
        "accuracy, ncc=1, partition=non_iid",
        "local_accuracy, ncc=1, partition=non_iid",
    )
    assert len(made.columns) == 6 and made.shared == "client_sizes=unbalanced"
    assert dict(made.answers) == {"accuracy": "accuracy", "local_accuracy": "local_accuracy_trained"}
    cells = [cell for line in made.lines for cell in line.cells.values()]
    assert len(cells) == 12 and all(cell.marks and cell.marks[0][0] == "†" for cell in cells)
    text = FORMATS["md"](board(card=HAM))
    assert "| 60.52 ± 9.20 †" in text and "| 41.1 ± 34.31 |" in text
    assert "±: the printed standard deviation." in made.terms
    assert "the printed standard deviation" not in block(FASHION, "6.1").terms


@pytest.mark.parametrize(("table", "printed"), [("6.1", "19.68"), ("6.2", "22.84")])
def test_the_collapsed_cells_are_marked_and_no_other(table, printed):
    cells = [cell for line in block(CIFAR, table).lines for cell in line.cells.values()]
    assert [cell.row.printed for cell in cells if cell.marks] == [printed]


def test_our_number_stands_in_the_column_of_its_setting_alone():
    half = {**SETTING, "participation": 0.5}
    made = board(
        record(0.8, compared_to=(FEDAVG_61, FEDAVG_62)),
        record(0.7, setting=half, task__protocol_hash="b" * 64, compared_to=("thesis_tab6.1:016",)),
    )
    ours = {
        cell.row.row_id: cell.ours
        for b in made.blocks
        for line in b.lines
        for cell in line.cells.values()
        if cell.ours is not None
    }
    assert ours == {k: pytest.approx(v) for k, v in
                    {FEDAVG_61: 80.0, FEDAVG_62: 80.0, "thesis_tab6.1:016": 70.0}.items()}  # fmt: skip
    assert "| ours | 80.000 | 70.000 | - | - | - | - | - | bench |" in FORMATS["md"](made)
    # A record that names a row of another setting is not believed.
    lying = board(record(0.8, setting=half, compared_to=(FEDAVG_61,)))
    assert all(cell.ours is None for line in lying.blocks[0].lines for cell in line.cells.values())


# ---- sections


def test_sections_say_their_setting_and_follow_it():
    smoke = ["rounds: 2 instead of 5000"]
    settings = [{**SETTING, "clients": n} for n in (1000, 20, 10)]
    records = [
        record(setting=s, task__protocol_hash=f"{i}{d}" * 32, task__deviations=smoke * d)
        for i, s in enumerate(settings)
        for d in (0, 1)
    ]
    made = board(*records)
    got = [(bool(s.deviations), s.setting["clients"]) for s in made.sections]
    assert got == [(d, n) for d in (False, True) for n in (10, 20, 1000)]
    assert " · clients=10, classes_per_client=3, participation=0.3 · " in made.sections[0].title
    lines = list(csv.DictReader(io.StringIO(FORMATS["csv"](made))))
    assert lines[0]["setting"] == "clients=10;classes_per_client=3;participation=0.3"
    assert {line["setting"] for line in lines if line["row_id"] == FEDAVG_61} == {
        "ncc=3;pr=0.3;partition=non_iid"
    }
    assert json.loads(FORMATS["json"](made))["sections"][0]["setting"] == settings[2]
    assert "profile official" in board(record(setting={})).sections[0].title.split(" · ")[2]


def test_rows_say_which_field_of_a_part_differs():
    configs = [{"ida": {"eps": e, "buffers": False}, "fedavg": {}} for e in (0.1, 0.2)]
    made = board(*(record(0.8 - c["ida"]["eps"], method__config=c) for c in configs))
    assert [row.label for row in made.sections[0].rows] == ["fedavg (ida.eps=0.1)", "fedavg (ida.eps=0.2)"]


def test_a_leak_among_clients_is_of_images():
    (told,) = board(record(data__leaks=3)).sections[0].terms[1:]
    assert told == "Leak: 3 test images show what some client also trained on."


# ---- over clients, over seeds


@pytest.mark.parametrize("values", [(0.7, 0.8), (0.70, 0.74, 0.78), (0.1, 0.2, 0.9, 0.4, 0.5)])
def test_the_interval_over_seeds_is_students_and_leaves_that_over_clients_alone(values):
    made = board(*(record(value, seed=seed) for seed, value in enumerate(values)))
    cell = made.sections[0].rows[0].cell("accuracy")
    mean, error = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
    low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error)
    assert (cell.seed_low, cell.seed_high) == pytest.approx((low, high), rel=1e-12)
    assert (cell.low, cell.high) == pytest.approx((mean - 0.05, mean + 0.05))
    text = FORMATS["md"](made)
    assert (
        "Brackets: 95 % over clients (mean of the seeds' bounds). ±: standard deviation over seeds." in text
    )
    assert "| accuracy 95 % over seeds |" in text
    assert (
        f"± {statistics.stdev(values):.3f} [{mean - 0.05:.3f}, {mean + 0.05:.3f}] | [{low:.3f}, {high:.3f}] |"
        in text
    )
    line = next(csv.DictReader(io.StringIO(FORMATS["csv"](made))))
    assert (float(line["seed_ci_low"]), float(line["seed_ci_high"])) == pytest.approx((low, high))
    held = json.loads(FORMATS["json"](made))["sections"][0]["rows"][0]["metrics"]["accuracy"]
    assert (held["seed_ci_low"], held["seed_ci_high"]) == (cell.seed_low, cell.seed_high)


def test_one_seed_has_no_interval_over_seeds():
    made = board(record(), record(None, seed=1))
    cell = made.sections[0].rows[0].cell("accuracy")
    assert (cell.seeds, cell.seed_low, cell.seed_high) == (1, None, None)
    single = board(record())
    assert "over seeds" not in "".join(
        h for g in section_grids(single.sections[0], "accuracy", True) for h in g.headers
    )
    assert single.sections[0].intervals == "Brackets: 95 % over clients."


def test_scipy_is_loaded_by_repeated_seeds_only():
    code = (
        "import sys, json; from bench.leaderboard import FORMATS, build; "
        "from bench.card import Card; records = json.loads(sys.stdin.read()); "
        "[how(build(Card(title='x', primary='accuracy'), 'x', records, ())) for how in FORMATS.values()]; "
        "print('scipy' in sys.modules)"
    )
    for records, loaded in (([record()], "False"), ([record(), record(0.7, seed=1)], "True")):
        told = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(records),
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.strip() == loaded


# ---- wide tables

MANY = tuple(f"a_rather_long_metric_name_{i:02d}" for i in range(15))


def wide():
    card = replace(FASHION, metrics=("accuracy", *MANY, "held_by_none"), reported=None)
    held = {name: metric((100 + i) / 1000) for i, name in enumerate(MANY)}
    held |= {"accuracy": metric(0.9), "bytes_up": metric(123456789.0)}
    return build(card, "toy", [record(metrics=held, method__name="a+long+name+of+a+method")], ())


def test_fifteen_metrics_fit_a_terminal_of_a_hundred_columns(monkeypatch):
    monkeypatch.setattr(tables, "WIDTH", 100)
    text = FORMATS["table"](wide())
    assert all(len(line) <= 100 for line in text.splitlines())
    assert all(text.count(f"0.{100 + i}") == 1 for i in range(15))
    assert "123,456,789" in text
    assert "held_by_none" not in text


def test_fifteen_metrics_make_several_tables_on_a_page():
    made = wide()
    text = FORMATS["md"](made)
    heads = [line for line in text.splitlines() if line.startswith("| rank |")]
    assert len(heads) == 2 and all("| method |" in head for head in heads)
    assert [head.count("|") - 1 for head in heads] == [2 + 10, 2 + 9 + 1]
    assert all(text.count(f" 0.{100 + i} [") == 1 for i in range(15))
    assert "held_by_none" not in text
    (grid,) = section_grids(made.sections[0], "accuracy", True)
    shown = [i for page in pages(grid) for i in page[grid.keys :]]
    assert shown == list(range(grid.keys, len(grid.headers)))
    assert all(len(page) <= grid.keys + WIDEST + grid.tail for page in pages(grid))


# ---- what a run prints


def told(one, card=FASHION, width=150):
    out = Console(file=io.StringIO(), width=width, highlight=False)
    for part in run_table(one, card, load_rows()):
        out.print(part)
    return cast(io.StringIO, out.file).getvalue()


def test_a_run_is_set_beside_the_columns_of_its_setting():
    text = told(record(0.8, compared_to=(FEDAVG_61, FEDAVG_62)))
    assert text.count("Reported on Fashion-MNIST (real data): comparable\n") == 2
    assert "pr=0.3" in text and "pr=0.5" not in text
    lines = [line.split() for line in text.splitlines() if line.startswith("FedAvg")]
    assert [line[1:3] for line in lines] == [["86.23", "80.000"], ["86.23", "80.000"]]
    assert "clients=10, classes_per_client=3, participation=0.3" in text


def test_a_run_at_a_setting_nobody_printed_is_compared_with_nothing():
    text = told(record(setting={**SETTING, "clients": 77}))
    said_so = "printed at other settings than clients=77, classes_per_client=3, participation=0.3"
    assert text.count(f"{said_so}; not comparable") == 2
    assert "real data): comparable" not in text
    assert "pr=0.5" in text  # everything is shown, as the other thing it is


def test_the_boards_are_the_same_for_any_order_of_records(monkeypatch):
    monkeypatch.setattr(leaderboard, "LEADERBOARDS", leaderboard.LEADERBOARDS / "none")
    records = [
        record(0.6 + seed / 10, seed=seed, setting={**SETTING, "clients": n}, task__protocol_hash=f"{n:064d}")
        for n in (5, 10)
        for seed in range(3)
    ]
    for how in FORMATS:
        assert FORMATS[how](board(*records)) == FORMATS[how](board(*reversed(records)))
