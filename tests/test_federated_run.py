"""A federation from words to record, through the command line, on tiny phantoms."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
from conftest import only_record
from federation_data import ham_words, phantom, record, refused, values, words

from bench.record import json_schema
from bench.registry import load

LENET_BYTES = 4 * 61_706


@pytest.fixture(scope="module")
def fashion(bench_home):
    return phantom("fashion_mnist", bench_home)


@pytest.fixture(scope="module")
def ham(bench_home):
    return phantom("ham10000_8x8", bench_home)


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


# ---- one run, looked at from all sides


@pytest.fixture(scope="module")
def whole(fashion, tmp_path_factory):
    """A finished run of FedAvg and its folder of runs."""
    from bench.cli import main

    out = tmp_path_factory.mktemp("whole")
    command = ["run", *words(fashion, out, method="fedavg", clients=4, participation=0.5, rounds=3, seed=5)]
    assert main(command) == 0
    return out, command


def test_the_record_says_what_was_run(whole):
    found = record(whole[0])
    jsonschema.validate(found, json_schema())
    assert found["status"] == "done"
    assert found["task"]["family"] == "federated_classification"
    assert found["task"]["setting"] == {
        "partition": "balanced",
        "clients": 4,
        "classes_per_client": 3,
        "participation": 0.5,
    }
    assert set(found["task"]["deviations"]) == {
        "rounds: 3 instead of 5000",
        "batch_size: 32 instead of 128",
        "evaluate_every: 1 instead of 50",
    }
    assert found["seeds"] == {"run": 5, "partition": 0}
    assert found["data"]["unit"] == "client"
    assert found["data"]["variant"] == "phantom"
    assert found["data"]["leaks"] == 0
    assert found["method"]["name"] == "fedavg"
    assert found["method"]["source"] == "builtin"
    assert found["method"]["parameters"] == 61_706


def test_the_bytes_are_those_of_the_model_to_and_from_each_client(whole):
    found = record(whole[0])
    assert found["cost"]["bytes_communicated"] == LENET_BYTES * 2 * 3 * 2
    assert values(found)["bytes_up"] == values(found)["bytes_down"] == LENET_BYTES * 2 * 3


def test_the_metrics_are_those_of_the_card_with_intervals_over_clients(whole):
    found = record(whole[0])
    card = load("task", "federated_fashion_mnist").target.card
    absent = {name for name in card.metrics if name not in found["metrics"]}
    assert absent <= {"clusters"}, "only clustering counts clusters"
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "local_accuracy", "majority_accuracy"):
        metric = found["metrics"][name]
        assert 0 <= metric["ci_low"] <= metric["value"] <= metric["ci_high"] <= 1, name
        assert list(metric["intervals"]) == ["client"]
    units = pd.read_parquet(only_record(whole[0]).parent / "units.parquet")
    assert len(units) == 4
    local = values(found)["local_accuracy"]
    assert float(units["accuracy"].to_numpy().mean()) == pytest.approx(local, abs=1e-12)
    last = table(only_record(whole[0]).parent / "curves.csv")[-1]
    assert float(last["accuracy"]) == values(found)["accuracy"]
    assert int(last["round"]) == 3


def test_the_partition_file_is_the_split_of_the_record(whole):
    folder = only_record(whole[0]).parent
    content = (folder / "partition.csv").read_bytes()
    assert hashlib.sha256(content).hexdigest() == record(whole[0])["data"]["split_sha256"]
    rows = table(folder / "partition.csv")
    counts = record(whole[0])["data"]["counts"]
    assert sum(row["split"] == "train" for row in rows) == counts["train"]
    assert sum(row["split"] == "test" for row in rows) == counts["test"]
    assert len({row["id"] for row in rows}) == len(rows)


def test_the_gallery_shows_labels_clients_and_curves(whole):
    folder = only_record(whole[0]).parent / "gallery"
    assert {path.name for path in folder.iterdir()} >= {"labels.png", "clients.png", "curves.png"}
    assert not (folder.parent / "checkpoint").exists(), "no client's shard is left behind"


def test_the_same_command_prints_the_stored_record(bench, whole):
    out, command = whole
    before = only_record(out).stat().st_mtime_ns
    first = bench(*command, "--json")
    assert first.code == 0
    assert json.loads(first.out)["metrics"] == record(out)["metrics"]
    assert only_record(out).stat().st_mtime_ns == before


def test_a_repetition_gives_bitwise_the_same_and_another_seed_does_not(bench, fashion, tmp_path):
    command = ["run", *words(fashion, tmp_path / "same", method="ida+intrac", participation=0.7)]
    first, again = bench(*command, "--json"), bench(*command, "rerun=true", "--json")
    assert first.code == again.code == 0, again.err
    assert first.out == again.out
    records = sorted((tmp_path / "same").rglob("record.json"))
    assert len(records) == 2
    files = [(path.parent / "curves.csv").read_bytes() for path in records]
    assert files[0] == files[1]
    out = tmp_path / "other"
    other = bench("run", *words(fashion, out, method="ida+intrac", participation=0.7, seed=1), "--json")
    assert other.code == 0, other.err
    assert (only_record(out).parent / "curves.csv").read_bytes() != files[0]
    assert (
        json.loads(records[0].read_text())["data"]["split_sha256"] == record(out)["data"]["split_sha256"]
    ), "the run's seed does not touch the partition"


# ---- profiles, budgets, other verbs


def test_the_smoke_budget(bench, fashion, tmp_path):
    given = [word for word in words(fashion, tmp_path, method="fedavg") if not word.startswith("rounds=")]
    answer = bench("run", *given, "budget=smoke")
    assert answer.code == 0, answer.err
    assert "rounds: 2 instead of 5000 (budget=smoke)" in record(tmp_path)["task"]["deviations"]


@pytest.fixture
def predictions(whole, tmp_path):
    """The right labels of the test images of `whole`, and the words that score them."""
    out, command = whole
    rows = table(only_record(out).parent / "partition.csv")
    ids = [row["id"] for row in rows if row["split"] == "test"]
    root = next(word.partition("=")[2] for word in command if word.startswith("data_root="))
    samples = load("dataset", "fashion_mnist").target().index(Path(root))
    label = dict(zip(samples.ids, samples.labels.tolist(), strict=True))
    folder = tmp_path / "theirs"
    folder.mkdir()
    lines = [f"{name},{samples.classes[label[name]] if i % 2 else label[name]}" for i, name in enumerate(ids)]
    given = [
        "task=federated_fashion_mnist",
        f"data_root={root}",
        "protocol.clients=4",
        f"predictions={folder}",
        f"out={tmp_path / 'runs'}",
    ]
    return folder / "predictions.csv", ["id,label", *lines], given


def test_predictions_of_another_program(bench, predictions, tmp_path):
    path, lines, given = predictions
    path.write_text("\n".join(lines) + "\n")
    answer = bench("score", *given, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)["metrics"]
    assert found["accuracy"]["value"] == found["worst_client"]["value"] == 1
    assert found["local_accuracy_std"]["value"] == 0
    assert record(tmp_path / "runs")["cost"]["bytes_communicated"] is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[:-1], ["missing: "]),
        (lambda lines: [*lines, "test-99999,1"], ["not of the test split: test-99999"]),
        (lambda lines: [*lines, lines[1]], ["given twice"]),
        (lambda lines: [*lines[:-1], lines[-1].split(",")[0] + ",Sock"], ["no class", "(Sock)"]),
        (lambda lines: [*lines[:-1], lines[-1].split(",")[0] + ",10"], ["no class", "(10)"]),
        (lambda lines: ["name,label", *lines[1:]], ["columns id,label"]),
        (lambda lines: [], ["columns id,label"]),
        (lambda lines: None, ["predictions.csv"]),
    ],
)
def test_predictions_that_do_not_answer_the_test(bench, predictions, tmp_path, change, told):
    path, lines, given = predictions
    changed = change(lines)
    if changed is not None:
        path.write_text("\n".join(changed) + "\n")
    refused(bench("score", *given), *told)
    assert not list((tmp_path / "runs").rglob("record.json"))


# ---- lesions


def test_lesions_stay_together_unless_the_papers_way_is_asked_for(bench, ham, tmp_path):
    leaks = {}
    for profile in ("clean", "official"):
        answer = bench("run", *ham_words(ham, tmp_path / profile, method="fedavg", profile=profile))
        assert answer.code == 0, answer.err
        leaks[profile] = record(tmp_path / profile)["data"]["leaks"]
        told = [line for line in answer.err.splitlines() if line.startswith("Leak: ")]
        assert len(told) == (leaks[profile] > 0)
        assert not told or str(leaks[profile]) in told[0]
    assert leaks["clean"] == 0 < leaks["official"]
    assert record(tmp_path / "official")["task"]["setting"]["split"] == "image_level"


def test_missing_imagenet_weights_are_a_deviation_and_told(bench, ham, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    given = ham_words(ham, tmp_path / "runs", method="fedavg", clients_per_round=2)
    given = [
        word.replace("clients_per_round", "protocol.clients_per_round")
        for word in given
        if not word.startswith(("protocol.pretrained", "protocol.model", "protocol.image_size"))
    ]
    answer = bench("run", *given)
    assert answer.code == 0, answer.err
    assert "`protocol.pretrained` is False: Put `mobilenet_v2-" in answer.err
    assert (
        "pretrained: False instead of True (not available on this machine)"
        in record(tmp_path / "runs")["task"]["deviations"]
    )
    assert record(tmp_path / "runs")["method"]["parameters"] == 2_232_839


# ---- methods in whole


@pytest.mark.parametrize("method", ["centralized", "local"])
def test_without_a_federation_nothing_is_communicated(bench, fashion, tmp_path, method):
    assert bench("run", *words(fashion, tmp_path, method=method)).code == 0
    found = record(tmp_path)
    assert found["cost"]["bytes_communicated"] is None
    assert values(found)["bytes_up"] is None
    assert values(found)["bytes_to_target"] is None
    assert values(found)["train_steps"] > 0


def test_personalisation_counts_and_fits_into_the_steps(bench, ham, tmp_path):
    """Four clients of 56 training images in batches of 16: 4 steps a client, and 28 in seven epochs."""
    steps = {}
    for method in ("fedavg", "fedap", "fedavg+finetune"):
        changes = {"method": method, "rounds": 20, "protocol.max_steps": 160, "protocol.evaluate_every": 20}
        answer = bench("run", *ham_words(ham, tmp_path / method, **changes))
        assert answer.code == 0, answer.err
        steps[method] = values(record(tmp_path / method))["train_steps"]
        curves = pd.read_csv(only_record(tmp_path / method).parent / "curves.csv")
        assert curves["steps"].iloc[-1] == steps[method]
    # Rounds of 16 steps up to 160; with 112 of personalisation only three fit.
    assert steps == {"fedavg": 160, "fedap": 112 + 48, "fedavg+finetune": 112 + 48}


@pytest.mark.parametrize("threshold", [1000, 0.001], ids=["one cluster", "several clusters"])
def test_the_number_of_clusters_is_recorded_and_one_is_warned_of(bench, ham, tmp_path, threshold):
    changes = {"method": "fedavg+hc", "rounds": 3, "method.hc.rounds": 1, "method.hc.threshold": threshold}
    answer = bench("run", *ham_words(ham, tmp_path, **changes))
    assert answer.code == 0, answer.err
    clusters = values(record(tmp_path))["clusters"]
    if threshold == 1000:
        assert clusters == 1
        assert "Warning: one cluster only" in answer.err
        assert "below `threshold=1000`" in answer.err
    else:
        assert clusters == 4, "everyone alone"
        assert "Warning" not in answer.err
    assert f"Clustering gave {int(clusters)} clusters" in answer.err
