import csv
import sys

import pytest

from bench import registry
from bench.card import Card, Reported
from bench.reported import FOLDER, claimed, disputed, load_rows, pairs

# Tasks of the reported files that no task of ours answers, or not on all datasets (semantic_synthesis answers
# on COCO-Stuff); a task card that answers the last of them takes the name off this list.
UNCLAIMED_TASKS = {
    "fewshot_sg_to_image",
    "retrieval",
    "semantic_synthesis",
    "sg_manipulation",
    "sg_reconstruction",
    "sg_to_image",
    "user_study",
}
BY_ID = {row.row_id: row for row in load_rows()}


def test_all_printed_numbers_are_here():
    rows = load_rows()
    assert len(rows) == len(BY_ID) == 1191
    assert len({row.file for row in rows}) == 39


def test_row_ids_are_places_in_the_file():
    with (FOLDER / "thesis_tab8.1.csv").open(newline="", encoding="utf-8") as file:
        for number, cells in enumerate(csv.DictReader(file), start=1):
            row = BY_ID[f"thesis_tab8.1:{number:03d}"]
            assert (row.method, row.printed) == (cells["method"], cells["value"])
    last = BY_ID["thesis_tab8.1:045"]
    assert (last.method, last.setting, last.printed) == (
        "Y-Net",
        {"resolution": "224", "class": "mean"},
        "0.855",
    )


def test_every_row_is_claimed_by_a_task_or_listed_as_not():
    cards = {name: registry.card("task", name) for name in registry.names("task")}
    owners = claimed(load_rows(), cards)
    left = {row.task for row in load_rows() if row.row_id not in owners}
    assert left == UNCLAIMED_TASKS
    assert {owners[row.row_id] for row in load_rows() if row.task == "oct_seg"} == {"oct"}


def test_a_row_is_claimed_only_with_task_dataset_class_and_method():
    full = {
        "task": "oct_seg",
        "datasets": {"UMN OCT": "umn_oct"},
        "classes": {"Fluid": "fluid"},
        "methods": {"U-Net": "unet"},
        "variants": {},
        "profile": "official",
        "variant": {},
    }
    assert set(claimed(load_rows(), {"t": Card(title="", reported=Reported(**full))})) == {
        "thesis_tab8.2:001",
        "thesis_tab8.2:002",
    }
    for part in ("task", "datasets", "classes", "methods"):
        less = {**full, part: "other" if part == "task" else {}}
        assert claimed(load_rows(), {"t": Card(title="", reported=Reported(**less))}) == {}
    assert claimed(load_rows(), {"t": Card(title="")}) == {}


def test_every_doubtful_cell_says_why():
    doubtful = [row for row in load_rows() if row.doubtful]
    assert all(len(row.reason) > 10 for row in doubtful)
    assert all(row.reason == "" for row in load_rows() if not row.doubtful)
    assert BY_ID["thesis_tab8.1:018"].reason.startswith("mean of the eight printed cells is 0.786")
    assert BY_ID["thesis_tab8.2:003"].reason.startswith(
        "kept as printed: a Dice (DSC) of 1.0 is incompatible"
    )
    assert {row.row_id for row in doubtful if row.file == "thesis_tab8.4"} == {
        f"thesis_tab8.4:{i:03d}" for i in range(1, 10)
    }
    assert not any(row.doubtful for row in load_rows() if row.file == "thesis_tab8.3")


def test_the_disputed_fid_of_sg2im_names_the_other_value_on_both_sides():
    found = disputed(load_rows())
    assert BY_ID["retrievegan_tab1:001"].printed == "136.8"
    assert BY_ID["sgdiff_tab1:029"].printed == "93.3"
    assert found["retrievegan_tab1:001"] == (
        "disputed: 136.8 here, 93.3 in sgdiff Table 1, 93.3 in sggig Table 1."
    )
    assert found["sgdiff_tab1:029"] == "disputed: 93.3 here, 136.8 in retrievegan Table 1."
    # With ground-truth boxes it is another setting, not a dispute.
    assert "retrievegan_tab1:025" not in found


def test_equal_cells_of_two_tables_are_no_dispute():
    found = disputed(load_rows())
    assert not any(row_id.startswith("thesis_tab8.") for row_id in found)
    assert all(BY_ID[row_id].value != 0 for row_id in found)


@pytest.mark.parametrize(
    ("printed", "dispute"), [("0.855", False), ("0.86", False), ("0.85", False), ("0.84", True)]
)
def test_precision_alone_is_no_dispute(printed, dispute, tmp_path):
    header = "paper,table,task,dataset,setting,method,variant,metric,unit,direction,value,std,n,note\n"
    line = "p,T,t,d,class=mean,m,{},dice,fraction,higher,{},,,\n"
    (tmp_path / "a.csv").write_text(header + line.format("x=1;y=2", "0.855"))
    (tmp_path / "b.csv").write_text(header + line.format("y=2;x=1", printed))
    assert set(disputed(load_rows(tmp_path))) == ({"a:001", "b:001"} if dispute else set())


def test_who_measured():
    measured = {row_id: row.measured for row_id, row in BY_ID.items()}
    assert measured["thesis_tab8.1:001"] == "copied"  # quoted from [235]
    assert measured["thesis_tab8.1:028"] == "authors"  # U-Net, retrained by the author
    assert measured["thesis_tab8.1:045"] == "authors"  # the paper's own method
    assert measured["sgdiff_tab1:003"] == "unknown"  # the caption does not say
    assert measured["sggig_tab1:001"] == "copied"
    assert measured["retrievegan_tab1:001"] == "authors"  # own retraining
    assert set(measured.values()) == {"authors", "copied", "unknown"}


def test_units_scale_and_tolerance():
    percent = BY_ID["thesis_tab7.1:001"]
    assert (percent.unit, percent.scale, percent.value) == ("percent", 0.01, float(percent.printed))
    assert BY_ID["thesis_tab8.1:045"].tolerance == pytest.approx(0.0005)
    assert BY_ID["thesis_tab8.1:044"].tolerance == pytest.approx(0.005)
    assert BY_ID["thesis_tab11.1:001"].tolerance == 0.5  # printed 194
    for row in load_rows():
        assert float(f"{row.value:.{row.decimals}f}") == row.value


def test_n_and_std_are_kept():
    assert {row.n for row in load_rows()} == {None, 5}
    assert BY_ID["retrievegan_tab1:002"].std == 0.1


def test_a_row_without_a_number_is_refused_by_name(tmp_path):
    header = "paper,table,task,dataset,setting,method,variant,metric,unit,direction,value,std,n,note\n"
    (tmp_path / "x.csv").write_text(header + "p,T,t,d,,m,,dice,fraction,higher,n/a,,,\n")
    with pytest.raises(ValueError, match="x:001"):
        load_rows(tmp_path)
    (tmp_path / "y.csv").write_text(header)
    (tmp_path / "x.csv").write_text(header + "p,T,t,d,,m,,dice,fraction,higher,nan,,,\n")
    load_rows.cache_clear()
    with pytest.raises(ValueError, match="finite"):
        load_rows(tmp_path)


def test_pairs():
    assert pairs("a=1;b=x=y") == {"a": "1", "b": "x=y"}
    assert pairs("") == {}


def test_reading_needs_no_heavy_package():
    import subprocess

    code = (
        "import sys, bench.reported as r; r.load_rows(); "
        "print(sorted(set(sys.modules) & {'pandas', 'numpy', 'torch', 'rich', 'pydantic'}))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"
