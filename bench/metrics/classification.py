"""Classification in a federation: what the pooled test set says and what each client's own test set says.

Everything is computed from one confusion matrix a client. Thesis chapter 6 calls the accuracy on the union of
the test sets global and the mean over clients local; its local standard deviation is over clients, not seeds.
With few classes a client and unequal sizes a constant answer can look good, so balanced accuracy, macro F1
and the majority class stand beside every accuracy.

Shapes: N test images, S clients, K classes in label order, R resamples. Matrices are (..., K, K) with the
reference in rows and the prediction in columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core import MetricValue, Scored
from bench.metrics.bootstrap import Bools, Floats, Ints, draws, interval, means, resampled_means

# Numbers the engine counts: name -> unit, direction.
FACTS = {
    "rounds_to_target": ("rounds", "lower"),
    "bytes_to_target": ("bytes", "lower"),
    "bytes_up": ("bytes", "lower"),
    "bytes_down": ("bytes", "lower"),
    "clusters": ("count", "none"),
    "train_steps": ("steps", "none"),
    "failed_replies": ("count", "lower"),
}


def confusion(pred: Any, target: Any, clients: Any, num_clients: int, num_classes: int) -> Ints:
    """Count test images by client, reference class and predicted class.

    Args:
        pred: Predicted classes from 0 to K-1, integer (N,).
        target: Reference classes, the same.
        clients: Client of each image from 0 to S-1, integer (N,).
        num_clients: S.
        num_classes: K.

    Returns:
        (S, K, K) int64; zeros for a client without test images.

    Raises:
        ValueError: Lengths differ, values are no integers, or a number is no class or no client.
    """
    p = _whole(pred, "pred", num_classes, "classes")
    t = _whole(target, "target", num_classes, "classes")
    s = _whole(clients, "clients", num_clients, "clients")
    if not len(p) == len(t) == len(s):
        raise ValueError(
            f"pred, target and clients must have one length, got {len(p)}, {len(t)} and {len(s)}; "
            "pass one entry an image."
        )
    cells = (s * num_classes + t) * num_classes + p
    table = np.bincount(cells, minlength=num_clients * num_classes**2)
    return table.reshape(num_clients, num_classes, num_classes).astype(np.int64)


def _whole(x: Any, name: str, count: int, what: str) -> Ints:
    a = x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)
    if a.ndim != 1 or (len(a) and a.dtype.kind not in "iu"):
        raise ValueError(f"{name} must be integers (N,), got {a.dtype} {a.shape}; pass one number an image.")
    if len(a) and (a.min() < 0 or a.max() >= count):
        raise ValueError(
            f"{name} holds {a.min()} to {a.max()}, the {what} are 0 to {count - 1}; number them so."
        )
    return a.astype(np.int64)


def accuracy(conf: NDArray) -> Floats:
    """Share of images answered rightly, (..., K, K) -> (...); NaN without images."""
    return _divide(conf.trace(axis1=-2, axis2=-1), conf.sum(axis=(-2, -1)))


def recall(conf: NDArray) -> Floats:
    """Of the images of each class the share found, (..., K, K) -> (..., K); NaN for a class without any."""
    return _divide(conf.diagonal(axis1=-2, axis2=-1), conf.sum(axis=-1))


def f1(conf: NDArray) -> Floats:
    """2 TP / (reference + predicted) by class, (..., K, K) -> (..., K); NaN where neither has the class."""
    return _divide(2 * conf.diagonal(axis1=-2, axis2=-1), conf.sum(axis=-1) + conf.sum(axis=-2))


def balanced_accuracy(conf: NDArray) -> Floats:
    """Mean recall over the classes present in the reference, (..., K, K) -> (...); NaN without images."""
    return _mean(recall(conf))


def macro_f1(conf: NDArray) -> Floats:
    """Mean F1 over the classes present in reference or prediction, (..., K, K) -> (...); NaN without images.

    A class that is only predicted enters with 0; one that neither holds does not enter.
    """
    return _mean(f1(conf))


def _mean(values: Floats) -> Floats:
    """Mean over the last axis of what is defined."""
    return means(values[..., None], ~np.isnan(values)[..., None])[..., 0]


def _divide(a: NDArray, b: NDArray) -> Floats:
    return np.divide(a, b, out=np.full(np.shape(b), np.nan), where=b > 0)


def suite(
    served: Any,
    targets: Any,
    clients: Any,
    *,
    trained: Any = None,
    client_names: Sequence[str],
    classes: Sequence[str],
    train_counts: Any,
    facts: Mapping[str, float | int | None] | None = None,
    seed: int = 0,
    resamples: int = 2000,
) -> Scored:
    """Every metric of a federated test with 95 % intervals over clients.

    - `accuracy`, `balanced_accuracy` (per class: recall), `macro_f1` (per class: F1): all test images pooled,
      so that a client counts by its size; `n` is images (for the F1 of a class, those that have it in
      reference or prediction).
    - `local_accuracy`, `local_balanced_accuracy`: unweighted mean over clients, each on its own test set;
      `local_accuracy_std` divides by S (FedAP's tables do not say), `local_accuracy_std_ddof1` by S - 1;
      `n` is clients. `local_accuracy_trained...`: the same of each client's locally trained model.
    - `worst_client`: the lowest accuracy of a client, without an interval: a resample's minimum is never
      below the sample's.
    - `majority_accuracy`: always answering the most frequent training class of the federation, pooled;
      `majority_local_accuracy`: each client always answering its own, mean over clients that have training
      images. Among equally frequent classes the first in label order.
    - `facts`: what the engine counted, as given.

    Clients without test images enter no mean. Intervals draw the other clients with replacement and keep the
    models; a resample takes its class means over the classes it holds. Where fewer than two clients hold a
    value there is no interval. Nothing depends on the order of the images.

    Args:
        served: Predictions of the model each client is served, integer (N,).
        targets: Reference classes, integer (N,).
        clients: Client of each image from 0 to S-1, integer (N,).
        trained: Predictions of each client's model after local training, integer (N,), or None.
        client_names: S distinct names.
        classes: K distinct names in label order.
        train_counts: Training images by client and class, integer (S, K).
        facts: Some of `FACTS` by name; None where a number is undefined (a target never reached).
        seed: Seed of the resampling.
        resamples: R.

    Returns:
        Metrics by name, and one row a client.

    Raises:
        ValueError: As `confusion`; names are missing or twice, `train_counts` has another shape, or a fact is
            unknown or not finite.
    """
    counts = _check(client_names, classes, train_counts)
    size = (len(client_names), len(classes))
    conf = confusion(served, targets, clients, *size)
    conf_trained = None if trained is None else confusion(trained, targets, clients, *size)
    entered = conf.sum(axis=(1, 2)) > 0
    drawn = {"seed": seed, "resamples": resamples}
    metrics = _pooled(conf[entered], counts.sum(axis=0), classes, **drawn)
    metrics |= _local(conf[entered], counts[entered], "local_accuracy", **drawn)
    if conf_trained is not None:
        more = _local(conf_trained[entered], counts[entered], "local_accuracy_trained", **drawn)
        metrics |= {name: value for name, value in more.items() if name not in metrics}
    metrics |= _facts(facts or {})
    return Scored(metrics, _rows(conf, conf_trained, counts, client_names, classes))


def _check(client_names: Sequence[str], classes: Sequence[str], train_counts: Any) -> Ints:
    for what, given in (("client names", client_names), ("class names", classes)):
        if not given or len(set(given)) != len(given):
            raise ValueError(f"{what} must differ and be one or more, got {list(given)}; rename them.")
    counts = np.asarray(train_counts)
    shape = (len(client_names), len(classes))
    if counts.shape != shape or counts.dtype.kind not in "iu" or counts.min() < 0:
        raise ValueError(
            f"train_counts must be counts {shape}, one row a client and one column a class, "
            f"got {counts.dtype} {counts.shape}; count the training labels."
        )
    return counts.astype(np.int64)


def _pooled(
    conf: Ints, train: Ints, classes: Sequence[str], *, seed: int, resamples: int
) -> dict[str, MetricValue]:
    """Metrics of the union of the test sets; `conf` (S, K, K) of clients with images, `train` (K,)."""
    k = len(classes)
    total = conf.sum(axis=0)
    again = np.empty((0, k, k))
    if len(conf) > 1:
        weights = draws(len(conf), resamples, seed)
        again = (weights @ conf.reshape(len(conf), -1).astype(np.float64)).reshape(-1, k, k)
    reference, predicted = conf.sum(axis=2), conf.sum(axis=1)
    n = int(total.sum())
    measures = {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy, "macro_f1": macro_f1}
    metrics = {name: _value(float(f(total)), n, f(again)) for name, f in measures.items()}
    for name, measure, sizes in (
        ("balanced_accuracy", recall, reference),
        ("macro_f1", f1, reference + predicted - conf.diagonal(axis1=1, axis2=2)),
    ):
        by_class, spread, holders = measure(total), measure(again), (sizes > 0).sum(axis=0)
        for i, label in enumerate(classes):
            samples = spread[:, i] if holders[i] > 1 else np.empty(0)
            metrics[name].per_class[label] = _value(float(by_class[i]), int(sizes[:, i].sum()), samples)
    metrics["majority_accuracy"] = _value(float("nan"), 0, np.empty(0))
    if train.any():
        constant = int(train.argmax())
        value, samples = (
            _divide(m.sum(axis=-1)[..., constant], m.sum(axis=(-2, -1))) for m in (total, again)
        )
        metrics["majority_accuracy"] = _value(float(value), n, samples)
    return metrics


def _local(conf: Ints, train: Ints, name: str, *, seed: int, resamples: int) -> dict[str, MetricValue]:
    """Means over clients with images; `name` is that of their accuracy, `train` (S, K) counts."""
    s = len(conf)
    own, tests = accuracy(conf), conf.sum(axis=(1, 2))
    constant = np.take_along_axis(conf.sum(axis=2), train.argmax(axis=1)[:, None], axis=1)[:, 0]
    # A variance is the mean square less the squared mean; about the mean first, lest digits cancel.
    about = own - own.mean() if s else own
    columns = np.column_stack([own, balanced_accuracy(conf), _divide(constant, tests), about, about**2])
    valid: Bools = np.ones(columns.shape, bool)
    valid[:, 2] = train.any(axis=1)
    value = means(columns, valid)
    again = np.empty((0, columns.shape[1]))
    if s:
        again = resampled_means(columns, valid, np.arange(s), resamples=resamples, seed=seed)
    variance = np.maximum(again[:, 4] - again[:, 3] ** 2, 0)
    correction = s / (s - 1) if s > 1 else float("nan")
    std = math.sqrt(value[4])
    return {
        name: _value(float(value[0]), s, again[:, 0]),
        f"{name}_std": _value(std, s, np.sqrt(variance), "none"),
        f"{name}_std_ddof1": _value(std * math.sqrt(correction), s, np.sqrt(variance * correction), "none"),
        "local_balanced_accuracy": _value(float(value[1]), s, again[:, 1]),
        "worst_client": _value(float(own.min()) if s else float("nan"), s, np.empty(0)),
        "majority_local_accuracy": _value(float(value[2]), int(valid[:, 2].sum()), again[:, 2]),
    }


def _value(value: float, n: int, samples: Floats, direction: str = "higher") -> MetricValue:
    """A share with the interval of its (R,) resampled values; None where it is NaN."""
    if math.isnan(value):
        return MetricValue(None, 0, direction=direction)
    found = interval(samples)
    low, high = found or (None, None)
    intervals = {"client": found} if found else {}
    return MetricValue(value, n, direction=direction, ci_low=low, ci_high=high, intervals=intervals)


def _facts(facts: Mapping[str, float | int | None]) -> dict[str, MetricValue]:
    found = {}
    for name, value in facts.items():
        if name not in FACTS or (value is not None and not math.isfinite(value)):
            raise ValueError(
                f"no fact {name} = {value}; facts are finite numbers or None of: {', '.join(FACTS)}."
            )
        unit, direction = FACTS[name]
        number = None if value is None else float(value)
        found[name] = MetricValue(number, 0 if value is None else 1, unit=unit, direction=direction)
    return found


def _rows(
    conf: Ints, conf_trained: Ints | None, counts: Ints, client_names: Sequence[str], classes: Sequence[str]
) -> list[dict[str, Any]]:
    own, balanced = accuracy(conf), balanced_accuracy(conf)
    after = np.full(len(conf), np.nan) if conf_trained is None else accuracy(conf_trained)
    return [
        {
            "client": name,
            "n_train": int(counts[i].sum()),
            "n_test": int(conf[i].sum()),
            "accuracy": _or_none(own[i]),
            "balanced_accuracy": _or_none(balanced[i]),
            "accuracy_trained": _or_none(after[i]),
            "majority_class": classes[int(counts[i].argmax())] if counts[i].any() else None,
        }
        | {f"n_train/{label}": int(counts[i, k]) for k, label in enumerate(classes)}
        for i, name in enumerate(client_names)
    ]


def _or_none(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
