"""Federated CIFAR-10: the proof of concept of IDA (thesis section 6.4.1, Tables 6.1, 6.2, Figure 6.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.card import Card, Difference, Reported
from bench.families.federated import FederatedTask
from bench.families.federated_protocol import FederatedProtocol, Scheme

CARD = Card(
    title="Federated CIFAR-10",
    family="federated_classification",
    summary="Ten or twenty clients of three, five or all ten classes; and clients of uneven size.",
    citation="Farshad, thesis, section 6.4.1; Yeganeh et al.: IDA, DART 2020",
    url="https://arxiv.org/abs/2008.07665",
    licence="see the datasets",
    unit="client",
    datasets=("cifar10",),
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
            why="The same at ten clients and ten classes; at twenty clients 1/M is half of chance.",
            source="thesis 6.4, definition of alpha'_i",
        ),
    ),
    reported=Reported(
        task="federated_poc",
        datasets={"CIFAR-10": "cifar10"},
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
            "K=20;ncc=3;pr=0.3;partition=non_iid": "partition=balanced;clients=20;"
            "classes_per_client=3;participation=0.3",
        },
        tables={"Tab. 6.1": {"accuracy": "accuracy"}, "Tab. 6.2": {"accuracy": "accuracy"}},
    ),
    notes=(
        "Training and test batches are pooled and divided 90:10 at random, as the thesis says. Table 6.1 "
        "prints no "
        "number of clients; its cells at ncc=3, pr=30 % are those of Table 6.2 at K=10. VGG11 has no batch "
        "norm, "
        "no dropout and one linear layer (9,225,610 parameters); the thesis does not name its classifier. "
        "`partition=uneven` is Figure 6.4: up to 1,000 random images of each class a client holds; train "
        "once, "
        "find the three clients of lowest accuracy in units.parquet, and run again with `doubled=[a,b,c]`."
    ),
)


@dataclass(frozen=True)
class CIFAR10Protocol(FederatedProtocol):
    """Thesis section 6.4.1; normalisation by the mean and standard deviation of the training batches.

    Args:
        doubled: Clients whose training samples are doubled, under `partition=uneven`.
    """

    doubled: tuple[int, ...] = ()
    model: str = "vgg11"
    image_size: tuple[int, int] = (32, 32)
    channels: int = 3
    mean: tuple[float, ...] = (0.4914, 0.4822, 0.4465)
    std: tuple[float, ...] = (0.2470, 0.2435, 0.2616)


class FederatedCIFAR10(FederatedTask):
    """CIFAR-10 as a federation."""

    card: ClassVar[Card] = CARD
    protocol = CIFAR10Protocol
    axes: ClassVar = (*FederatedTask.axes, "doubled")
    top_level: ClassVar = (*FederatedTask.top_level, "doubled")
    presets: ClassVar = {
        Scheme.balanced: {"participation": 0.3},
        Scheme.uneven: {"participation": 1.0, "local_epochs": 2, "lr": 0.01},
    }
    smoke: ClassVar = {"rounds": 2, "evaluate_every": 2, "max_local_steps": 1, "max_test": 200}
