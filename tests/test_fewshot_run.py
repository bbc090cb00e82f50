"""Few-shot segmentation from words to record, through the command line, on the tiny phantom."""

from __future__ import annotations

import json

import jsonschema
import nibabel
import numpy as np
import pandas as pd
import pytest
from conftest import only_record
from fewshot_runs import phantom, record, words

from bench.record import json_schema

METHODS = ("supervised", "transfer", "reptile", "metamedseg", "dawoud")
LEARNER = """
import torch


class Bright:
    def __init__(self, cut: float = 0.5):
        self.cut = cut

    def meta_fit(self, sources, ctx):
        self.names = [source.name for source in sources]

    def adapt(self, support, ctx):
        images, masks = support[:]
        inside = images[masks > 0.5].mean()
        return lambda x: 8 * (x - self.cut * inside)
"""


@pytest.fixture(scope="module")
def root(bench_home):
    return phantom(bench_home)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_and_says_what_it_ran_on(bench, root, tmp_path, method):
    answer = bench("run", *words(root, tmp_path, method=method))
    assert answer.code == 0, answer.err
    assert "PHANTOM" in answer.err
    found = record(tmp_path)
    jsonschema.validate(found, json_schema())
    assert found["status"] == "done"
    assert found["data"]["variant"] == "phantom"
    assert found["data"]["unit"] == "patient"
    assert found["data"]["leaks"] == 0
    assert found["task"]["setting"] == {"target": "heart", "shots": 2, "task_definition": "standard"}
    assert found["seeds"] == {"run": 0, "split": 0, "shots_1": 1, "shots_2": 6}
    assert found["method"]["parameters"] == 470_977
    sources = next(d for d in found["task"]["deviations"] if d.startswith("sources: "))
    assert "hippocampus_anterior" in sources
    assert "2 of the protocol's 19" in sources
    assert 0 <= found["metrics"]["iou"]["value"] <= 1
    assert set(found["metrics"]["iou"]["intervals"]) <= {"patient", "selection"}
    units = pd.read_parquet(only_record(tmp_path).parent / "units.parquet")
    assert len(units) == 2 * units["unit"].nunique()
    assert np.isclose(units["iou"].mean(), found["metrics"]["iou"]["value"])
    assert len(list((only_record(tmp_path).parent / "gallery").glob("*.png"))) >= 1


def test_the_same_words_give_the_same_numbers(bench, root, tmp_path):
    for out in ("a", "b"):
        assert bench("run", *words(root, tmp_path / out, method="metamedseg")).code == 0
    assert record(tmp_path / "a")["metrics"] == record(tmp_path / "b")["metrics"]


def test_a_learner_that_knows_nothing_of_bench(bench, root, tmp_path):
    file = tmp_path / "bright_learner.py"
    file.write_text(LEARNER)
    answer = bench("run", *words(root, tmp_path / "o", method=f"{file}:Bright", method__cut=0.9))
    assert answer.code == 0, answer.err
    found = record(tmp_path / "o")
    assert found["method"]["config"] == {"cut": 0.9}
    assert found["metrics"]["iou"]["value"] > 0


def test_a_plain_network_alone_and_under_a_baseline(bench, root, tiny_net, tmp_path):
    spec = f"{tiny_net}:TinyNet"
    assert bench("run", *words(root, tmp_path / "a", method=spec)).code == 0
    answer = bench("run", *words(root, tmp_path / "b", method="reptile", protocol__network=spec))
    assert answer.code == 0, answer.err
    ours = record(tmp_path / "b")
    assert any("TinyNet instead of unet_cells" in d for d in ours["task"]["deviations"])
    assert ours["method"]["parameters"] == record(tmp_path / "a")["method"]["parameters"]


def test_a_class_that_is_neither(bench, root, tmp_path):
    file = tmp_path / "no_learner.py"
    file.write_text("class Half:\n    def adapt(self, support, ctx):\n        return None\n")
    answer = bench("run", *words(root, tmp_path / "o", method=f"{file}:Half"))
    assert answer.code == 2
    assert "meta_fit" in answer.err
    assert len(answer.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target": "kidney"}, "`target=kidney` is no dataset"),
        ({"target": "colon"}, "needs `Task10_Colon`"),
        ({"shots": 10_000}, "is more than the"),
        ({"shots": 0}, "`shots` takes a whole number from 1"),
        ({"protocol__excluded": "[hippocampus_anterior,hippocampus_posterior,spleen]"}, "no dataset to meta"),
        ({"protocol__shot_seeds": "[1,1]"}, "different seeds"),
    ],
)
def test_refusals(bench, root, tmp_path, changes, sentence):
    answer = bench("run", *words(root, tmp_path / "o", **changes))
    assert answer.code == 2
    assert sentence in answer.err
    assert not list(tmp_path.rglob("record.json"))


def test_official_splits_by_slice_and_counts_the_leak(bench, root, tmp_path):
    target = {"target": "hippocampus_anterior", "profile": "official"}
    assert bench("run", *words(root, tmp_path, **target)).code == 0
    found = record(tmp_path)
    assert found["data"]["leaks"] > 0
    assert found["task"]["profile"] == "official"


def test_zones_of_one_organ_share_no_test_patient_under_clean(bench, root, tmp_path):
    assert bench("run", *words(root, tmp_path, target="hippocampus_anterior")).code == 0
    found = record(tmp_path)
    assert found["data"]["leaks"] == 0
    (sources,) = (d for d in found["task"]["deviations"] if d.startswith("sources: "))
    assert "hippocampus_posterior" in sources
    assert "1 of the protocol's 18" in sources


def test_full_data_and_volume_tasks_are_settings(bench, root, tmp_path):
    out = tmp_path / "o"
    assert bench("run", *words(root, out, shots="null", task_definition="volume", method="reptile")).code == 0
    found = record(out)
    assert found["task"]["setting"]["shots"] == "all"
    assert found["task"]["setting"]["task_definition"] == "volume"
    assert not any(d.startswith("lr") for d in found["task"]["deviations"])
    assert found["metrics"]["iou_std_selections"]["value"] is None


def test_predictions_from_elsewhere_are_scored(bench, root, tmp_path):
    from bench.families import fewshot_data
    from bench.families.fewshot_protocol import FewShotProtocol
    from bench.registry import load

    protocol = FewShotProtocol(shots=2, shot_seeds=(1, 6), image_size=(32, 32))
    data = fewshot_data.load(load("dataset", "decathlon").target().load(root), protocol)
    folder = tmp_path / "predictions"
    for selection in data.selections:
        (folder / selection).mkdir(parents=True)
        for volume in data.test.slices.patients:
            exact = data.test.reference(volume).astype(np.uint8)
            nibabel.save(nibabel.Nifti1Image(exact, np.eye(4)), folder / selection / f"{volume}.nii.gz")
    scored = ["task=fewshot_decathlon", f"data_root={root}", f"predictions={folder}", "name=perfect"]
    own = ["protocol.shots=2", "protocol.shot_seeds=[1,6]", "protocol.image_size=[32,32]"]
    answer = bench("score", *scored, *own, f"out={tmp_path / 'o'}")
    assert answer.code == 0, answer.err
    metrics = record(tmp_path / "o")["metrics"]
    assert metrics["iou"]["value"] == 1
    assert metrics["hd95"]["value"] == 0
    assert metrics["iou@official"]["value"] > 0.8  # resized from the file's resolution, not from the mask's
    next((folder / data.selections[0]).iterdir()).unlink()
    (folder / data.selections[1] / "extra.nii.gz").write_bytes(b"")
    answer = bench("score", *scored, *own, f"out={tmp_path / 'p'}")
    assert answer.code == 2
    assert "missing" in answer.err
    assert "extra.nii.gz" in answer.err


def test_smoke_says_what_it_left_out(bench, root, tmp_path):
    quick = ["protocol.image_size=[32,32]"]  # the input size is never reduced by the budget itself
    base = ["task=fewshot_decathlon", "method=metamedseg", f"data_root={root}", f"out={tmp_path}"]
    assert bench("run", *base, "budget=smoke", *quick).code == 0
    deviations = record(tmp_path)["task"]["deviations"]
    assert any(d.startswith("meta_epochs: 1 instead of 100 (budget=smoke)") for d in deviations)
    assert not any(d.startswith("shots:") for d in deviations)


def test_show_tells_the_splits(bench, root, monkeypatch):
    answer = bench("show", "fewshot_decathlon", "--json")
    assert answer.code == 0
    assert "shared_patients" in json.dumps(json.loads(answer.out))


def test_meta_training_visibly_helps_a_held_out_organ(bench, root, tmp_path):
    """One shot of the heart, learned from the hippocampus alone; both trained on the shot for as long."""
    short = {
        "shots": 1,
        "protocol__epochs": 6,
        "protocol__shot_seeds": "[1,6,25]",
        "protocol__max_source": 12,
    }
    longer = {"protocol__meta_epochs": 6, "protocol__inner_epochs": 3, "protocol__tasks_per_epoch": 4}
    found = {}
    for method, more in (("supervised", {}), ("reptile", {**longer, "method__meta_lr": 0.3})):
        out = tmp_path / method
        answer = bench(
            "run", *words(root, out, method=method, **{**short, **more, "protocol__meta_shots": 8})
        )
        assert answer.code == 0, answer.err
        found[method] = record(out)["metrics"]["iou"]["value"]
    assert found["reptile"] > found["supervised"] + 0.15, found
