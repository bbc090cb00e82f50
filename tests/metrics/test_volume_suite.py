"""The suite of volume metrics: values, intervals, order, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from naive_volumes import naive
from scipy import stats

from bench.metrics.volumes import suite


class World:
    """Volumes of unequal shapes, voxels and slice counts; the last selection misses one of them."""

    def __init__(self, patients=4, selections=3, seed=0):
        rng = np.random.default_rng(seed)
        self.names = [f"organ_{v}" for v in range(patients)]
        self.selections = [f"shots_{s}" for s in range(selections)]
        self.zooms = {name: rng.uniform(0.5, 4, 3) for name in self.names}
        self.ref, self.pred, self.slices = {}, {}, []
        for v, name in enumerate(self.names):
            used = list(range(1, 3 + v))
            shape = (6 + v, 7, 5 + v)
            self.slices += [(name, position) for position in used]
            keep = np.isin(np.arange(shape[2]), used)
            self.ref[name] = (rng.random(shape) < 0.5) & keep
            for s in range(selections):
                self.pred[s, name] = self.ref[name] ^ ((rng.random(shape) < 0.2 + 0.1 * s) & keep)
        self.pred[selections - 1, self.names[0]][:] = False
        self.slices_ref = rng.random((len(self.slices), 8, 8)) < 0.5
        self.slices_pred = rng.random((selections, len(self.slices), 8, 8)) < 0.5

    def arguments(self, **changes) -> dict[str, Any]:
        return {
            "slices_pred": self.slices_pred,
            "slices_ref": self.slices_ref,
            "slice_ids": [f"{name}_slice{position}" for name, position in self.slices],
            "slice_volumes": [name for name, _ in self.slices],
            "volume_pred": lambda s, name: self.pred[s, name],
            "volume_ref": self.ref.__getitem__,
            "zooms": self.zooms,
            "selections": self.selections,
            "resamples": 200,
            **changes,
        }


@pytest.mark.parametrize(("patients", "selections"), [(4, 3), (1, 3), (4, 1), (1, 1)])
def test_the_suite_equals_a_naive_one(patients, selections):
    world = World(patients, selections)
    scored = suite(**world.arguments())
    pairs = {
        (s, name): naive(world.pred[s, name], world.ref[name], world.zooms[name])
        for s in range(selections)
        for name in world.names
    }
    for metric in ("iou", "dice", "hd95", "asd"):
        values = [value for pair in pairs.values() if (value := pair[metric]) is not None]
        found = scored.metrics[metric]
        assert found.n == len(values) == patients * selections - (metric in ("hd95", "asd"))
        assert found.value == (pytest.approx(np.mean(values), rel=1e-6) if values else None)
    assert scored.metrics["missed"].value == 1 / (patients * selections)
    per_slice = [
        ((p & g).sum() + 1e-4) / ((p | g).sum() + 1e-4)
        for one in world.slices_pred
        for p, g in zip(one, world.slices_ref, strict=True)
    ]
    official = scored.metrics["iou@official"]
    assert (official.value, official.n) == (pytest.approx(np.mean(per_slice)), len(per_slice))
    assert [row["id"] for row in scored.units] == [
        f"{selection}/{name}" for selection in world.selections for name in world.names
    ]
    for row in scored.units:
        s, name = world.selections.index(row["selection"]), row["unit"]
        mine = [i for i, (volume, _) in enumerate(world.slices) if volume == name]
        for key, value in pairs[s, name].items():
            assert row[key] == (None if value is None else pytest.approx(value, rel=1e-6))
        assert row["slices"] == len(mine)
        wanted = np.mean([per_slice[s * len(world.slices) + i] for i in mine])
        assert row["iou@official"] == pytest.approx(wanted)


def test_kinds_of_metrics():
    metrics = suite(**World().arguments()).metrics
    assert {name: (m.unit, m.direction, m.variant) for name, m in metrics.items()} == {
        "iou": ("fraction", "higher", "clean"),
        "iou@official": ("fraction", "higher", "official"),
        "dice": ("fraction", "higher", "clean"),
        "hd95": ("mm", "lower", "clean"),
        "asd": ("mm", "lower", "clean"),
        "missed": ("fraction", "lower", "clean"),
        "iou_std_selections": ("fraction", "none", "clean"),
    }
    assert all(not m.per_class for m in metrics.values())


def test_intervals_over_patients_draw_patients_with_all_they_have():
    world = World()
    scored = suite(**world.arguments(resamples=4000))
    rng = np.random.default_rng(7)
    groups = {name: [row for row in scored.units if row["unit"] == name] for name in world.names}
    for metric in ("iou", "hd95", "iou@official"):
        draws = []
        for _ in range(4000):
            rows = [row for name in rng.choice(world.names, 4) for row in groups[name]]
            weights = [row["slices"] if metric == "iou@official" else 1 for row in rows]
            kept = [(row[metric], w) for row, w in zip(rows, weights, strict=True) if row[metric] is not None]
            draws.append(sum(value * w for value, w in kept) / sum(w for _, w in kept))
        found = scored.metrics[metric]
        assert found.intervals["patient"] == (found.ci_low, found.ci_high)
        spread = float(np.std(draws))
        wanted = np.quantile(draws, [0.025, 0.975])
        assert found.intervals["patient"] == pytest.approx(tuple(wanted), abs=0.25 * spread)


def test_intervals_over_selections_are_students():
    world = World(selections=5)
    scored = suite(**world.arguments())
    for metric in ("iou", "dice", "hd95", "asd"):
        values = [
            np.mean(
                [row[metric] for row in scored.units if row["selection"] == s and row[metric] is not None]
            )
            for s in world.selections
        ]
        wanted = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
        assert scored.metrics[metric].intervals["selection"] == pytest.approx(wanted)
    means = [np.mean([row["iou"] for row in scored.units if row["selection"] == s]) for s in world.selections]
    spread = scored.metrics["iou_std_selections"]
    assert (spread.value, spread.n) == (pytest.approx(np.std(means, ddof=1)), 5)


def test_one_patient_or_one_selection_has_no_interval_over_them():
    alone = suite(**World(patients=1).arguments()).metrics
    assert set(alone["iou"].intervals) == {"selection"}
    assert (alone["iou"].ci_low, alone["iou"].ci_high) == (None, None)
    once = suite(**World(selections=1).arguments()).metrics
    assert set(once["iou"].intervals) == {"patient"}
    assert (once["iou_std_selections"].value, once["iou_std_selections"].n) == (None, 0)


def test_where_every_answer_is_empty_distances_are_undefined():
    world = World()
    scored = suite(**world.arguments(volume_pred=lambda s, name: np.zeros_like(world.ref[name])))
    for name in ("hd95", "asd"):
        found = scored.metrics[name]
        assert (found.value, found.n, found.intervals, found.ci_low) == (None, 0, {}, None)
    assert (scored.metrics["missed"].value, scored.metrics["iou"].value) == (1, 0)
    assert {row["hd95"] for row in scored.units} == {None}


def test_nothing_depends_on_the_order_of_slices_volumes_and_selections():
    world = World()
    first = suite(**world.arguments())
    rng = np.random.default_rng(3)
    order, rank = rng.permutation(len(world.slices)), rng.permutation(3)
    given = world.arguments()
    second = suite(
        **world.arguments(
            slices_pred=world.slices_pred[rank][:, order],
            slices_ref=world.slices_ref[order],
            slice_ids=[given["slice_ids"][i] for i in order],
            slice_volumes=[given["slice_volumes"][i] for i in order],
            zooms=dict(reversed(world.zooms.items())),
            selections=[world.selections[i] for i in rank],
            volume_pred=lambda s, name: world.pred[rank[s], name],
        )
    )
    assert first.metrics == second.metrics
    unordered = [{row["id"]: row for row in scored.units} for scored in (first, second)]
    for name, row in unordered[0].items():
        assert unordered[1][name] == pytest.approx(row)


def test_one_pair_of_volumes_is_asked_for_at_a_time():
    world, asked = World(), []
    world_ref, world_pred = world.ref, world.pred
    suite(
        **world.arguments(
            volume_ref=lambda name: asked.append(name) or world_ref[name],
            volume_pred=lambda s, name: asked.append((s, name)) or world_pred[s, name],
        )
    )
    assert asked == [x for name in world.names for x in (name, (0, name), (1, name), (2, name))]


def without_last(world):
    return {name: size for name, size in world.zooms.items() if name != world.names[-1]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: {"slices_pred": w.slices_pred.astype(float)}, "must be bool"),
        (lambda w: {"slices_ref": w.slices_ref.astype(int)}, "must be bool"),
        (lambda w: {"slices_pred": w.slices_pred[:2]}, "S = 3 selections"),
        (lambda w: {"slices_pred": w.slices_pred[..., :4]}, "slices_pred"),
        (lambda w: {"slices_ref": w.slices_ref[0]}, "slices_ref must be"),
        (
            lambda w: {"slices_ref": w.slices_ref[:0], "slices_pred": w.slices_pred[:, :0]},
            "at least one pixel",
        ),
        (lambda w: {"selections": [], "slices_pred": w.slices_pred[:0]}, "S = 0"),
        (lambda w: {"slice_ids": ["a"]}, "14 slices need"),
        (lambda w: {"slice_volumes": ["a"]}, "14 slices need"),
        (lambda w: {"slice_ids": ["a"] * 14}, "slice ids must differ"),
        (lambda w: {"selections": ["a", "a", "b"]}, "selections must differ"),
        (lambda w: {"zooms": without_last(w)}, "organ_3"),
        (lambda w: {"zooms": w.zooms | {"other": (1, 1, 1)}}, "other"),
        (lambda w: {"zooms": w.zooms | {"organ_1": (1, 1)}}, "three positive sizes"),
        (lambda w: {"zooms": w.zooms | {"organ_1": (1, 0, 1)}}, "three positive sizes"),
        (lambda w: {"zooms": w.zooms | {"organ_1": (1, math.nan, 1)}}, "three positive sizes"),
        (lambda w: {"volume_ref": lambda name: w.ref[name][0]}, r"volume_ref\('organ_0'\) must be bool"),
        (lambda w: {"volume_ref": lambda name: w.ref[name] * 1.0}, "float64"),
        (lambda w: {"volume_pred": lambda s, name: w.pred[s, name][1:]}, "its reference's shape"),
        (lambda w: {"volume_pred": lambda s, name: w.pred[s, name] * 1}, "volume_pred"),
    ],
)
def test_what_does_not_fit_together_is_refused(change, told):
    world = World()
    with pytest.raises(ValueError, match=told):
        suite(**world.arguments(**change(world)))
