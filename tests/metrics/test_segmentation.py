import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score

from bench.metrics import segmentation as seg
from bench.metrics.segmentation import counts, dice, dice_official, iou, selection_score, suite

K = 4
NAMES = ["background", "a", "b", "c"]
ABSENT = 2 * 1e-4 / 1e-4


def scans(n=6, size=(9, 7), k=K, seed=0, noise=0.4):
    """Blocky references and noisy predictions; class k-1 is absent from every second reference."""
    rng = np.random.default_rng(seed)
    target = np.sort(rng.integers(0, k, (n, *size)), axis=1)
    target[::2][target[::2] == k - 1] = 0
    pred = np.where(rng.random(target.shape) < noise, rng.integers(0, k, target.shape), target)
    return pred, target


def run(pred, target, names=NAMES, units=None, ids=None, **more):
    n = len(target)
    return suite(
        pred,
        target,
        classes=names,
        units=units or [f"p{i % 3}" for i in range(n)],
        ids=ids or [f"s{i:03d}" for i in range(n)],
        **more,
    )


def literal(pred, target, k, name, measure):
    """The definitions, one scan and one class at a time; None where the value does not enter."""
    g, p = target == k, pred == k
    inter, both = int((g & p).sum()), int(g.sum() + p.sum())
    clean = {"dice": 2 * inter / both if both else 1.0, "iou": inter / (both - inter) if both else 1.0}
    official = 2 * (inter + 1e-4) / (both + 1e-4)
    return {
        "dice": clean["dice"],
        "dice_present": clean["dice"] if g.any() else None,
        "dice@official": official,
        "miou": clean["iou"],
        "absent_clean": None if g.any() else float(not p.any()),
    }[measure]


CASES = {
    "noisy": scans(),
    "perfect": (scans()[1], scans()[1]),
    "all wrong": ((scans()[1] + 1) % K, scans()[1]),
    "everything background": (np.zeros_like(scans()[1]), scans()[1]),
    "empty reference": (scans()[0], np.zeros_like(scans()[1])),
    "both empty": (np.zeros_like(scans()[1]), np.zeros_like(scans()[1])),
    "one scan": tuple(x[:1] for x in scans()),
    "one pixel": (np.array([[[1]]]), np.array([[[1]]])),
    "one class fills all": (np.full((3, 4, 4), 2), np.full((3, 4, 4), 2)),
}
grid = pytest.mark.parametrize(("pred", "target"), CASES.values(), ids=CASES.keys())


@grid
def test_counts_equal_scikit_learns_confusion_matrix(pred, target):
    c = counts(pred, target, K)
    for i in range(len(target)):
        matrix = confusion_matrix(target[i].ravel(), pred[i].ravel(), labels=range(K))
        assert np.array_equal(c.intersection[i], matrix.diagonal())
        assert np.array_equal(c.predicted[i], matrix.sum(0))
        assert np.array_equal(c.reference[i], matrix.sum(1))
    assert all(part.dtype == np.int64 for part in c)


@grid
def test_dice_and_iou_equal_scikit_learn(pred, target):
    c = counts(pred, target, K)
    for i in range(len(target)):
        a, b = target[i].ravel(), pred[i].ravel()
        options: dict[str, Any] = {"labels": range(K), "average": None, "zero_division": 1}
        wanted = f1_score(a, b, **options)
        np.testing.assert_allclose(dice(c)[i], wanted, rtol=1e-12)
        wanted = jaccard_score(a, b, **options)
        np.testing.assert_allclose(iou(c)[i], wanted, rtol=1e-12)


@grid
def test_dice_and_iou_equal_monai(pred, target):
    from monai.metrics.meandice import compute_dice
    from monai.metrics.meaniou import compute_iou

    one_hot = [torch.nn.functional.one_hot(torch.tensor(x), K).movedim(-1, 1) for x in (pred, target)]
    c = counts(pred, target, K)
    # ignore_empty leaves NaN where the reference lacks the class: compare the rest, where conventions agree.
    for ours, theirs in ((dice(c), compute_dice), (iou(c), compute_iou)):
        wanted = theirs(*one_hot, include_background=True, ignore_empty=True).numpy()
        present = c.reference > 0
        assert np.array_equal(present, ~np.isnan(wanted))
        np.testing.assert_allclose(ours[present], wanted[present], rtol=1e-6)
    counted = compute_dice(*one_hot, include_background=True, ignore_empty=False).numpy()
    np.testing.assert_allclose(dice(c), counted, rtol=1e-6)


@grid
def test_dice_present_equals_monais_mean_over_references_with_the_class(pred, target):
    from monai.metrics.meandice import DiceMetric

    one_hot = [torch.nn.functional.one_hot(torch.tensor(x), K).movedim(-1, 1) for x in (pred, target)]
    metric = DiceMetric(
        include_background=False, reduction="mean_batch", ignore_empty=True, get_not_nans=True
    )
    metric(*one_hot)
    values, sizes = (x.numpy() for x in metric.aggregate())
    ours = run(pred, target).metrics["dice_present"]
    for k, name in enumerate(NAMES[1:]):
        assert ours.per_class[name].n == sizes[k]
        if sizes[k]:
            assert ours.per_class[name].value == pytest.approx(values[k], rel=1e-6)
        else:
            assert ours.per_class[name].value is None


@grid
def test_dice_equals_torchmetrics_where_the_class_occurs(pred, target):
    from torchmetrics.functional.segmentation import dice_score, mean_iou

    c = counts(pred, target, K)
    p, t = torch.tensor(pred), torch.tensor(target)
    somewhere = (c.reference + c.predicted) > 0
    theirs = dice_score(p, t, num_classes=K, average="none", input_format="index").numpy()
    np.testing.assert_allclose(dice(c)[somewhere], theirs[somewhere], rtol=1e-6)
    theirs = mean_iou(p, t, num_classes=K, per_class=True, input_format="index").numpy()
    np.testing.assert_allclose(iou(c)[somewhere], theirs[somewhere], rtol=1e-6)


@grid
@pytest.mark.parametrize("name", ["dice", "dice_present", "dice@official", "miou", "absent_clean"])
def test_means_equal_the_literal_definition(pred, target, name):
    metric = run(pred, target).metrics[name]
    first = 0 if name == "miou" else 1
    wanted = []
    for k in range(first, K):
        values = [literal(p, t, k, NAMES[k], name) for p, t in zip(pred, target, strict=True)]
        kept = [v for v in values if v is not None]
        ours = metric.per_class[NAMES[k]]
        assert ours.n == len(kept)
        if not kept:
            assert ours.value is None
            continue
        wanted.append(sum(kept) / len(kept))
        assert ours.value == pytest.approx(wanted[-1], rel=1e-12)
    assert list(metric.per_class) == NAMES[first:]
    if wanted:
        assert metric.value == pytest.approx(sum(wanted) / len(wanted), rel=1e-12)
    else:
        assert (metric.value, metric.n) == (None, 0)


@grid
def test_official_miou_averages_over_the_classes_of_each_reference_first(pred, target):
    metric = run(pred, target).metrics["miou@official"]
    per_scan = []
    for p, t in zip(pred, target, strict=True):
        of_classes = [((p == k) & (t == k)).sum() / ((p == k) | (t == k)).sum() for k in np.unique(t)]
        per_scan.append(np.mean(of_classes))
    assert metric.value == pytest.approx(np.mean(per_scan), rel=1e-12)
    assert metric.n == len(target)


def test_official_miou_ignores_a_false_region_that_the_clean_one_punishes():
    target = np.zeros((2, 10, 10), int)
    target[:, :5] = 1
    pred = target.copy()
    pred[:, 5, 0] = 2
    names = ["background", "a", "b"]
    scored = run(pred, target, names=names).metrics
    assert scored["miou"].per_class["b"].value == 0.0
    assert scored["miou@official"].per_class["b"].value is None
    assert scored["miou"].value is not None and scored["miou@official"].value is not None
    assert scored["miou@official"].value > 0.98 > 0.67 > scored["miou"].value


def test_rounded_mean_rounds_each_class_first():
    # Class means 0.005 apart: rounding first and averaging first differ.
    target = np.zeros((1, 1, 2000), int)
    target[0, 0, :1000] = 1
    target[0, 0, 1000:] = 2
    pred = target.copy()
    pred[0, 0, :17] = 0
    pred[0, 0, 1000:1027] = 0
    scored = run(pred, target, names=["background", "a", "b"]).metrics
    a, b = 2 * 983 / 1983, 2 * 973 / 1973
    assert scored["dice@official"].value == pytest.approx((a + b) / 2, abs=1e-6)
    assert scored["dice_mean2@official"].value == pytest.approx((round(a, 2) + round(b, 2)) / 2, abs=1e-12)
    assert scored["dice_mean2@official"].per_class["a"].value == pytest.approx(0.99, abs=1e-12)


def test_one_false_pixel_costs_two_points_officially():
    target = np.zeros((1, 20, 20), int)
    clean, dirty = target.copy(), target.copy()
    dirty[0, 0, 0] = 1
    assert dice_official(counts(clean, target, 2))[0, 1] == ABSENT == 2.0
    assert dice_official(counts(dirty, target, 2))[0, 1] == pytest.approx(2e-4, rel=1e-3)
    assert dice(counts(clean, target, 2))[0, 1] == 1.0
    assert dice(counts(dirty, target, 2))[0, 1] == 0.0


def test_six_empty_scans_turn_a_dice_of_53_into_the_published_93():
    """Specification 5.13: 22 test scans, 6 without fluid, a true mean Dice of .53 on the other 16."""
    target = np.zeros((22, 100, 100), int)
    target[6:, :50] = 1
    pred = np.zeros_like(target)
    pred[6:, :50, :36] = 1
    assert math.isclose(2 * 1800 / (5000 + 1800), 0.53, abs_tol=0.001)
    names = ["background", "fluid"]
    units = ["9"] * 11 + ["10"] * 11
    scored = run(pred, target, names=names, units=units).metrics
    assert scored["dice_present"].value == pytest.approx(0.53, abs=0.001)
    assert scored["dice_present"].n == 16
    assert scored["dice@official"].value == pytest.approx(0.93, abs=0.001)
    assert scored["dice_mean2@official"].value == pytest.approx(0.93, abs=1e-9)
    assert scored["dice"].value == pytest.approx((6 + 16 * 0.53) / 22, abs=0.001)
    assert (scored["absent_clean"].value, scored["absent_clean"].n) == (1.0, 6)
    pred[0, 0, 0] = 1  # one false pixel in one empty scan
    less = run(pred, target, names=names, units=units).metrics
    assert scored["dice@official"].value is not None and less["dice@official"].value is not None
    lost = scored["dice@official"].value - less["dice@official"].value
    assert lost == pytest.approx(2 / 22, abs=1e-4)
    assert less["absent_clean"].value == pytest.approx(5 / 6)


def test_selection_scores():
    pred, target = scans()
    scored = run(pred, target).metrics
    assert selection_score(pred, target, K, official=False) == pytest.approx(scored["dice"].value)
    official = dice_official(counts(pred, target, K))
    wanted = np.mean([official[:, k].mean() for k in range(K)])
    assert selection_score(torch.tensor(pred), torch.tensor(target), K, True) == pytest.approx(wanted)
    assert selection_score(target, target, K, True) > 1  # class c is absent from half the scans


# ---- intervals


def test_patient_interval_equals_a_literal_bootstrap():
    pred, target = scans(n=12, noise=0.5)
    pred[:4] = target[:4]
    units = [f"p{i // 4}" for i in range(12)]
    metric = run(pred, target, units=units, resamples=500, seed=5).metrics["dice_present"]
    c = counts(pred, target, K)
    from bench.metrics.bootstrap import draws

    values = []
    for weight in draws(3, 500, seed=5):
        pool = [i for g in range(3) for _ in range(int(weight[g])) for i in range(4 * g, 4 * g + 4)]
        classes = [dice(c)[[i for i in pool if c.reference[i, k]], k].mean() for k in range(1, K)]
        values.append(np.mean(classes))
    assert metric.ci_low is not None
    np.testing.assert_allclose(metric.intervals["patient"], np.quantile(values, [0.025, 0.975]), rtol=1e-9)
    assert metric.intervals["patient"] == (metric.ci_low, metric.ci_high)
    assert set(metric.intervals) == {"patient", "scan"}
    assert metric.intervals["scan"] != metric.intervals["patient"]


def test_rounding_happens_inside_every_resample():
    pred, target = scans(n=10, noise=0.5)
    metric = run(pred, target).metrics["dice_mean2@official"]
    assert metric.value is not None and metric.ci_low is not None
    assert metric.value * 3 * 100 == pytest.approx(round(metric.value * 300))
    for entry in metric.per_class.values():
        assert entry.ci_low is not None
        assert entry.ci_low * 100 == pytest.approx(round(entry.ci_low * 100), abs=0.051)


def test_one_patient_has_no_patient_interval_and_one_scan_has_none_at_all():
    pred, target = scans()
    one_patient = run(pred, target, units=["p"] * len(target)).metrics
    for metric in one_patient.values():
        assert metric.ci_low is None and metric.ci_high is None
        assert set(metric.intervals) == {"scan"}
    one_scan = run(pred[:1], target[:1]).metrics
    assert all(metric.intervals == {} for metric in one_scan.values())


def test_a_class_seen_in_one_patient_only_has_no_interval_over_patients():
    target = np.zeros((4, 8, 8), int)
    target[:, :4] = 1
    target[:2, 6:] = 2
    pred = np.roll(target, 1, axis=1)
    units = ["p0", "p0", "p1", "p1"]
    metric = run(pred, target, names=["background", "a", "b"], units=units).metrics["dice_present"]
    assert metric.per_class["b"].intervals.keys() == {"scan"}
    assert metric.per_class["b"].ci_low is None
    assert metric.ci_low is not None


def test_the_name_of_the_unit_is_the_key_of_its_interval():
    metric = run(*scans(), unit_name="client").metrics["dice"]
    assert set(metric.intervals) == {"client", "scan"}


def test_nothing_undefined_leaves_the_suite():
    for pred, target in CASES.values():
        for metric in run(pred, target).metrics.values():
            for m in (metric, *metric.per_class.values()):
                numbers = [m.value, m.ci_low, m.ci_high, *sum(m.intervals.values(), ())]
                assert all(x is None or math.isfinite(x) for x in numbers)
                assert (m.value is None) == (m.n == 0)


def test_units_rows_hold_every_scan():
    pred, target = scans()
    rows = run(pred, target).units
    c = counts(pred, target, K)
    assert [row["id"] for row in rows] == [f"s{i:03d}" for i in range(6)]
    assert [row["unit"] for row in rows] == ["p0", "p1", "p2"] * 2
    assert rows[2]["dice/b"] == dice(c)[2, 2]
    assert rows[2]["dice@official/c"] == dice_official(c)[2, 3]
    assert rows[2]["iou/background"] == iou(c)[2, 0]
    assert rows[3]["reference_pixels/c"] == (target[3] == 3).sum()
    assert rows[3]["predicted_pixels/c"] == (pred[3] == 3).sum()
    assert all(type(v) in (str, int, float) for row in rows for v in row.values())


# ---- laws

labels = hnp.arrays(np.int64, (5, 6, 6), elements=st.integers(0, K - 1))


@settings(max_examples=40, deadline=None)
@given(labels)
def test_a_perfect_prediction_scores_one(target):
    scored = run(target, target, resamples=20).metrics
    for name in ("dice", "miou", "miou@official"):
        assert scored[name].value == pytest.approx(1, abs=1e-12)
    for name in ("dice_present", "absent_clean"):
        assert scored[name].value in (None, 1.0)
    assert scored["dice@official"].value is not None and scored["dice@official"].value >= 1


@settings(max_examples=25, deadline=None)
@given(labels, labels, st.permutations(range(5)))
def test_the_order_of_the_scans_is_nothing(pred, target, order):
    units, ids = [f"p{i % 2}" for i in range(5)], [f"s{i}" for i in range(5)]
    a = run(pred, target, units=units, ids=ids, resamples=50)
    b = run(
        pred[order],
        target[order],
        units=[units[i] for i in order],
        ids=[ids[i] for i in order],
        resamples=50,
    )
    assert a.metrics == b.metrics
    assert [a.units[i] for i in order] == b.units


@settings(max_examples=25, deadline=None)
@given(labels, labels, st.permutations(range(1, K)))
def test_relabelling_foreground_classes_only_renames(pred, target, order):
    table = np.array([0, *order])
    renamed = [""] * K
    for old, new in enumerate(table):
        renamed[new] = NAMES[old]
    a = run(pred, target, resamples=2).metrics
    b = run(table[pred], table[target], names=renamed, resamples=2).metrics
    for name, metric in a.items():
        assert (metric.value is None) == (b[name].value is None)
        assert metric.value is None or metric.value == pytest.approx(b[name].value, rel=1e-12)
        assert {k: m.value for k, m in metric.per_class.items()} == {
            k: m.value for k, m in b[name].per_class.items()
        }


@settings(max_examples=40, deadline=None)
@given(labels, labels)
def test_bounds_and_the_bridge_between_dice_and_iou(pred, target):
    c = counts(pred, target, K)
    assert ((iou(c) >= 0) & (iou(c) <= dice(c)) & (dice(c) <= 1)).all()
    np.testing.assert_allclose(dice(c), 2 * iou(c) / (1 + iou(c)), rtol=1e-12)
    assert ((dice_official(c) > 0) & (dice_official(c) <= 2)).all()
    for name, metric in run(pred, target, resamples=20).metrics.items():
        top = 2 if name in ("dice@official", "dice_mean2@official") else 1
        assert metric.value is None or 0 <= metric.value <= top
        assert metric.direction == "higher"
        assert metric.variant == ("official" if name.endswith("@official") else "clean")
        assert metric.unit == ("score" if top == 2 else "fraction")


@settings(max_examples=40, deadline=None)
@given(labels, labels)
def test_official_dice_is_the_clean_one_where_the_class_occurs(pred, target):
    large = [np.kron(x, np.ones((1, 8, 8), int)) for x in (pred, target)]
    c = counts(large[0], large[1], K)
    overlapping = c.intersection > 0
    np.testing.assert_allclose(dice_official(c)[overlapping], dice(c)[overlapping], rtol=1e-3)


# ---- refusals


@pytest.mark.parametrize(
    ("pred", "target", "said"),
    [
        (np.full((1, 2, 2), 4), np.zeros((1, 2, 2), int), "pred holds labels from 4 to 4"),
        (np.zeros((1, 2, 2), int), np.full((1, 2, 2), -1), "target holds labels from -1 to -1"),
        (np.zeros((1, 2, 2), int), np.zeros((1, 2, 3), int), r"\(1, 2, 2\) and \(1, 2, 3\)"),
        (np.zeros((0, 2, 2), int), np.zeros((0, 2, 2), int), r"shape \(0, 2, 2\)"),
        (np.zeros((2, 2), int), np.zeros((2, 2), int), r"shape \(2, 2\)"),
        (np.zeros((1, 2, 2)), np.zeros((1, 2, 2), int), "float64"),
    ],
)
def test_wrong_input_is_refused_naming_the_value(pred, target, said):
    for call in (lambda: counts(pred, target, K), lambda: selection_score(pred, target, K, False)):
        with pytest.raises(ValueError, match=said):
            call()


def test_names_that_do_not_match_the_scans_are_refused():
    pred, target = scans()
    with pytest.raises(ValueError, match="6 scans need 6 units and ids, got 2 and 6"):
        run(pred, target, units=["a", "b"])
    with pytest.raises(ValueError, match="scan ids must differ, got 1 among 6"):
        run(pred, target, ids=["s"] * 6)
    with pytest.raises(ValueError, match="class names must differ"):
        run(pred, target, names=["background", "a", "a", "b"])
    with pytest.raises(ValueError, match="num_classes must be at least 2"):
        seg.counts(pred, target, 1)


def test_small_label_types_do_not_overflow():
    pred, target = scans(k=K)
    wide = counts(pred, target, 200)
    narrow = counts(pred.astype(np.uint8), torch.tensor(target, dtype=torch.uint8), 200)
    assert all(np.array_equal(a, b) for a, b in zip(wide, narrow, strict=True))
