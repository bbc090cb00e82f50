"""One run from words to record, through the command line."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
from conftest import only_record, python, write_folder

from bench.files import safe_name
from bench.record import Record, json_schema


def test_a_run_writes_everything_the_design_names(bench, small, tmp_path):
    answer = bench("run", *small)
    assert answer.code == 0, answer.err
    record = only_record(tmp_path / "runs")
    assert record.parent.parent.parent.parent == tmp_path / "runs" / "oct"
    assert record.parent.parent.parent.name == "folder"
    assert record.parent.parent.name == "TinyNet"
    for name in ("units.parquet", "config.yaml", "log.txt", "curves.csv", "gallery/best.png"):
        assert (record.parent / name).is_file(), name
    assert not (record.parent / "checkpoint").exists()
    assert str(record) in answer.out
    found = json.loads(record.read_text())
    jsonschema.validate(found, json_schema())
    assert found["status"] == "done"
    assert found["run_id"] == record.parent.name
    assert found["data"]["variant"] == "custom"
    assert found["data"]["counts"] == {"train": 4, "val": 4, "test": 4}
    assert found["method"]["source"] == "file"
    assert found["method"]["config"] == {"lr": 5e-4, "weight_decay": 1e-4, "width": 4}
    assert found["method"]["parameters"] == 4 * 9 + 4 + 4 * 2 * 9 + 2
    assert found["task"]["deviations"] == [
        "image_size: [32, 48] instead of [224, 224]",
        "epochs: 2 instead of 80",
    ]
    units = pd.read_parquet(record.parent / "units.parquet")
    assert units["id"].to_list() == ["test_0", "test_1", "test_2", "test_3"]
    value = found["metrics"]["dice"]["per_class"]["band"]["value"]
    assert float(units["dice/band"].to_numpy().mean()) == pytest.approx(value, abs=1e-12)


def test_the_committed_schema_is_that_of_the_record():
    path = Path(__file__).parents[1] / "bench" / "record.schema.json"
    assert json.loads(path.read_text()) == json_schema()


def test_no_absolute_path_enters_the_record(bench, small, tmp_path):
    small = [*small, "seed=3"]
    bench("run", *small)
    text = only_record(tmp_path / "runs").read_text()
    assert str(tmp_path) not in text
    assert str(Path.home()) not in text


def test_json_prints_the_metrics_and_nothing_else(bench, small, tmp_path):
    answer = bench("run", *small, "--json")
    found = json.loads(answer.out)
    assert set(found) == {"metrics"}
    record = json.loads(only_record(tmp_path / "runs").read_text())
    assert found["metrics"] == record["metrics"]
    names = {"dice", "dice_present", "dice@official", "dice_mean2@official", "miou", "miou@official"}
    assert names <= set(found["metrics"])


def test_the_same_command_reads_the_finished_record(bench, small, tmp_path):
    first = bench("run", *small, "--json")
    record = only_record(tmp_path / "runs")
    written = record.stat().st_mtime_ns
    again = bench("run", *small, "--json")
    assert again.code == 0
    assert again.out == first.out
    assert record.stat().st_mtime_ns == written


def test_rerun_makes_a_new_run_with_the_same_numbers(bench, small, tmp_path):
    first = bench("run", *small, "--json")
    again = bench("run", *small, "rerun=true", "--json")
    assert again.code == 0
    assert again.out == first.out
    names = sorted(path.parent.name for path in (tmp_path / "runs").rglob("record.json"))
    assert len(names) == 2
    assert names[1] == f"{names[0]}-r1"


@pytest.mark.parametrize(
    "change", ["seed=1", "method.width=5", "profile=official", "protocol.epochs=1", "method.lr=1e-2"]
)
def test_what_changes_the_outcome_changes_the_identity(bench, small, tmp_path, change):
    assert bench("run", *small).code == 0
    words = [word for word in small if word.partition("=")[0] != change.partition("=")[0]]
    assert bench("run", *words, change).code == 0
    assert len(list((tmp_path / "runs").rglob("record.json"))) == 2


def test_profiles_differ_in_every_named_switch(bench, small, tmp_path):
    bench("run", *small, "profile=official")
    record = Record.model_validate_json(only_record(tmp_path / "runs").read_bytes())
    assert record.task.profile == "official"
    config = (only_record(tmp_path / "runs").parent / "config.yaml").read_text()
    for line in ("loss: official", "mask_interpolation: bilinear", "selection: official"):
        assert line in config


def test_paths_with_spaces_commas_equals_and_brackets(bench, tiny_net, tmp_path):
    odd = tmp_path / "my scans, [v=2] {a} 'q' $x"
    write_folder(odd)
    out = tmp_path / "out = [1], 2"
    answer = bench(
        "run",
        "task=oct",
        "dataset=folder",
        f"data_root={odd}",
        f"method={tiny_net}:TinyNet",
        "protocol.image_size=[32,48]",
        "protocol.epochs=1",
        f"out={out}",
    )
    assert answer.code == 0, answer.err
    assert only_record(out).is_file()


def test_nothing_is_written_to_the_current_folder(small, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    answer = python("-m", "bench", "run", *small, cwd=here)
    assert answer.code == 0, answer.err
    assert list(here.iterdir()) == []
    assert "Traceback" not in answer.err
    assert answer.err == "", "a pipe gets no progress bars"


def test_two_processes_with_one_command_lose_nothing(small, tmp_path):
    answers = []

    def call():
        answers.append(python("-m", "bench", "run", *small, "--json"))

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.code for answer in answers] == [0, 0], answers
    assert answers[0].out == answers[1].out
    assert json.loads(only_record(tmp_path / "runs").read_text())["status"] == "done"


def test_a_sweep_runs_every_combination(bench, small, tmp_path):
    words = [word for word in small if not word.startswith("protocol.epochs")]
    answer = bench("run", "-m", *words, "seed=0,1", "protocol.epochs=1,2")
    assert answer.code == 0, answer.err
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("record.json")]
    assert len(records) == 4
    assert {record["seeds"]["run"] for record in records} == {0, 1}
    assert len({record["task"]["protocol_hash"] for record in records}) == 2


def test_a_sweep_over_methods_sets_a_field_they_share(bench, small, tmp_path, tiny_net):
    words = [word for word in small if not word.startswith("method=")]
    answer = bench("run", "-m", *words, f"method=relaynet,{tiny_net}:TinyNet", "method.lr=3e-4", "seed=0,1")
    assert answer.code == 0, answer.err
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("record.json")]
    assert sorted((r["method"]["name"], r["seeds"]["run"]) for r in records) == [
        ("TinyNet", 0),
        ("TinyNet", 1),
        ("relaynet", 0),
        ("relaynet", 1),
    ]
    assert {r["method"]["config"]["lr"] for r in records} == {3e-4}


def test_a_sweep_over_methods_with_one_failing_goes_on(bench, small, tmp_path, tiny_net):
    bad = tmp_path / "bad_net_for_sweep.py"
    bad.write_text(tiny_net.read_text().replace("torch.relu(self.first(x))", "x.nonsense"))
    words = [word for word in small if not word.startswith("method=")]
    answer = bench("run", "-m", *words, f"method={bad}:TinyNet,{tiny_net}:TinyNet")
    assert answer.code == 1
    statuses = {json.loads(p.read_text())["status"] for p in (tmp_path / "runs").rglob("record.json")}
    assert statuses == {"done", "failed"}


@pytest.mark.slow
def test_a_sweep_on_another_launcher(small, tmp_path):
    answer = python("-m", "bench", "run", "-m", *small, "seed=0,1", "hydra/launcher=joblib")
    assert answer.code == 0, answer.err
    assert len(list((tmp_path / "runs").rglob("record.json"))) == 2


def test_a_launcher_that_is_not_installed_answers_with_the_pip_line(bench, small, monkeypatch):
    monkeypatch.setattr("bench.words.importable", lambda module: False)
    answer = bench("run", "-m", *small, "seed=0,1", "hydra/launcher=submitit_slurm")
    assert answer.code == 2
    assert 'pip install "fedmedgen-bench[slurm]"' in answer.err


def test_a_failing_method_leaves_a_failed_record_and_a_traceback_in_the_log(bench, small, tmp_path, tiny_net):
    tiny_net.write_text(tiny_net.read_text().replace("torch.relu(self.first(x))", "x.nonsense"))
    answer = bench("run", *small)
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert "AttributeError" in answer.err
    record = only_record(tmp_path / "runs")
    assert json.loads(record.read_text())["status"] == "failed"
    assert "Traceback" in (record.parent / "log.txt").read_text()


def test_a_network_of_the_wrong_output_shape_is_told_so(bench, small, tiny_net):
    tiny_net.write_text(
        tiny_net.read_text()
        .replace("return self.last(", "return self.last[0](")
        .replace("self.last = nn", "self.last = nn.Sequential(nn")
        .replace("num_classes, 3, padding=1)", "num_classes + 1, 3, padding=1))")
    )
    answer = bench("run", *small)
    assert answer.code == 1
    assert "must map (2, 1, 32, 48) to scores of shape (2, 2, 32, 48), got (2, 3, 32, 48)" in answer.err


def test_a_diverging_loss_is_told_with_a_remedy(bench, small):
    answer = bench("run", *small, "method.lr=1e30")
    assert answer.code == 1
    assert "loss became" in answer.err
    assert "method.lr" in answer.err


def test_safe_names_are_one_to_one_and_safe():
    assert safe_name("ynet") == "ynet"
    assert safe_name("pkg/net") != safe_name("pkg-net")
    assert "/" not in safe_name("../../etc/passwd")
    assert len(safe_name("x" * 500)) <= 80
