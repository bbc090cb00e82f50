"""Federated Fashion-MNIST: the proof of concept of IDA (thesis 6.4.1, Tables 6.1, 6.2, Figure 6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.card import Card, Difference, Reported
from bench.families.federated import FederatedTask
from bench.families.federated_protocol import FederatedProtocol, Scheme

CARD = Card(
    title="Federated Fashion-MNIST",
    family="federated_classification",
    summary="Ten clients of three, five or all ten classes; and 1,000 small clients of which 1 or 5 % "
    "answer.",
    citation="Farshad, thesis, section 6.4.1; Yeganeh et al.: IDA, DART 2020",
    url="https://arxiv.org/abs/2008.07665",
    licence="see the datasets",
    unit="client",
    datasets=("fashion_mnist",),
    metrics=(
        "accuracy",
        "local_accuracy",
        "local_accuracy_std",
        "local_accuracy_trained",
        "local_accuracy_trained_std",
        "balanced_accuracy",
        "macro_f1",
        "worst_client",
        "majority_accuracy",
        "majority_local_accuracy",
        "local_balanced_accuracy",
        "local_accuracy_std_ddof1",
        "rounds_to_target",
        "bytes_to_target",
        "bytes_up",
        "bytes_down",
        "train_steps",
        "clusters",
        "failed_replies",
    ),
    primary="accuracy",
    differences=(
        Difference(
            switch="method.chance",
            clean="classes: INTRAC bounds accuracies by 1/K",
            official="clients: by 1/M, M the number of clients",
            why="The same at ten clients and ten classes; at 1,000 clients 1/M bounds nothing.",
            source="thesis 6.4, definition of alpha'_i",
        ),
    ),
    reported=Reported(
        task="federated_poc",
        datasets={"Fashion-MNIST": "fashion_mnist"},
        classes={"mean": "mean"},
        methods={
            "Mean": "mean",
            "FedAvg": "fedavg",
            "IDA": "ida",
            "IDA+FedAvg": "ida+fedavg",
            "IDA+INTRAC": "ida+intrac",
        },
        variants={"": ""},
        profile="official",
        variant={},
        settings={
            "ncc=3;pr=0.3;partition=non_iid": "partition=balanced;clients=10;"
            "classes_per_client=3;participation=0.3",
            "ncc=3;pr=0.5;partition=non_iid": "partition=balanced;clients=10;"
            "classes_per_client=3;participation=0.5",
            "ncc=3;pr=1.0;partition=non_iid": "partition=balanced;clients=10;"
            "classes_per_client=3;participation=1",
            "ncc=5;pr=0.3;partition=non_iid": "partition=balanced;clients=10;"
            "classes_per_client=5;participation=0.3",
            "ncc=5;pr=0.5;partition=non_iid": "partition=balanced;clients=10;"
            "classes_per_client=5;participation=0.5",
            "ncc=5;pr=1.0;partition=non_iid": "partition=balanced;clients=10;"
            "classes_per_client=5;participation=1",
            "ncc=10;pr=1.0;partition=iid": "partition=balanced;clients=10;"
            "classes_per_client=10;participation=1",
            "K=10;ncc=3;pr=0.3;partition=non_iid": "partition=balanced;clients=10;"
            "classes_per_client=3;participation=0.3",
        },
        tables={"Tab. 6.1": {"accuracy": "accuracy"}, "Tab. 6.2": {"accuracy": "accuracy"}},
    ),
    notes=(
        "Training and test files are pooled: the thesis divides 90:10 at random. Table 6.1 prints no number "
        "of "
        "clients; its cells at ncc=3, pr=30 % are those of Table 6.2 at K=10. With two clients a round IDA "
        "is "
        "exactly Mean. `partition=thousand` is Figure 6.3: the 70,000 images give 1,000 clients of three "
        "classes "
        "69 images each when none is used twice (the thesis says up to 500); its 'number of communication "
        "rounds=3' is read as three classes a client."
    ),
)


@dataclass(frozen=True)
class FashionMNISTProtocol(FederatedProtocol):
    """Thesis section 6.4.1; normalisation by the mean and standard deviation of the training files."""

    mean: tuple[float, ...] = (0.2860,)
    std: tuple[float, ...] = (0.3530,)


class FederatedFashionMNIST(FederatedTask):
    """Fashion-MNIST as a federation."""

    card: ClassVar[Card] = CARD
    protocol = FashionMNISTProtocol
    presets: ClassVar = {
        Scheme.balanced: {"participation": 0.3},
        Scheme.thousand: {"clients": 1000, "participation": 0.01, "batch_size": 30, "lr": 0.016},
    }
    smoke: ClassVar = {"rounds": 2, "evaluate_every": 2, "max_local_steps": 2, "max_test": 500}
