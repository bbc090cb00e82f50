"""Weightings, wrappers and expressions against the formulas of thesis chapter 6."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import registry
from bench.core import Method
from bench.errors import RunFailed, UserError
from bench.federated.compose import composed
from bench.federated.flower import (
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
    identify,
)
from bench.federated.inprocess import WorkerGrid
from bench.federated.plain import plain_strategy
from bench.federated.proxy import CanonicalGrid
from bench.federated.screen import usable
from bench.federated.state import restore, state_of
from bench.federated.strategy import (
    Federation,
    Update,
    Weighted,
    average,
    normalised,
    to_arrays,
    to_record,
)

FEDERATION = Federation(
    clients=4, classes=10, drawn=4, rounds=11, trainable=("w", "b"), examples=(10, 20, 30, 40), tell=print
)


def method(name: str, **fields: object) -> Any:
    return registry.load("method", name).target(**fields)


def update(client: int, value: float, examples: int = 10, mean: float = 0.0, **metrics: Any) -> Update:
    arrays = {
        "w": np.full((2, 3), value, np.float32),
        "b": np.array([2 * value], np.float32),
        "bn.running_mean": np.full(3, mean, np.float32),
        "bn.num_batches_tracked": np.array(client + 1, np.int64),
    }
    return Update(client, arrays, examples, metrics)


def reply(one: Update) -> Message:
    identify()
    asked = Message(RecordDict(), one.client + 1, "train")
    metrics = MetricRecord({"num-examples": one.examples, "train-loss": 1.0, **one.metrics})
    return Message(RecordDict({"arrays": to_record(one.arrays), "metrics": metrics}), reply_to=asked)


def weights(name: str, updates: list[Update], **fields: object) -> np.ndarray:
    return normalised(method(name, **fields).coefficients(updates, FEDERATION))  # pyright: ignore


def test_mean_and_fedavg():
    updates = [update(0, 0.0, 10), update(1, 1.0, 30)]
    assert weights("mean", updates).tolist() == [0.5, 0.5]
    assert weights("fedavg", updates).tolist() == [0.25, 0.75]
    assert weights("fedprox", updates).tolist() == [0.25, 0.75]
    assert weights("fedap", updates).tolist() == [0.25, 0.75]


def test_ida_is_the_inverse_l1_distance_to_the_mean_over_trainable_parameters():
    values = [0.0, 1.0, 5.0]
    updates = [update(i, v, mean=100 * i) for i, v in enumerate(values)]
    mean = np.mean(values)
    distance = np.array([6 * abs(v - mean) + 2 * abs(v - mean) for v in values])  # six w, one b of twice v
    want = 1 / (distance + 1e-8)
    np.testing.assert_allclose(weights("ida", updates), want / want.sum(), rtol=1e-6)
    # Buffers enter only when asked.
    with_buffers = weights("ida", updates, buffers=True)
    assert not np.allclose(with_buffers, want / want.sum(), rtol=1e-3)


def test_ida_with_one_client_or_equal_models_weighs_all_the_same():
    assert weights("ida", [update(0, 3.0)]).tolist() == [1.0]
    np.testing.assert_allclose(weights("ida", [update(i, 3.0) for i in range(3)]), 1 / 3)


@given(st.floats(-5, 5), st.floats(-5, 5))
@settings(max_examples=50, deadline=None)
def test_ida_with_two_clients_is_the_mean(a, b):
    np.testing.assert_allclose(weights("ida", [update(0, a, 10), update(1, b, 90)]), 0.5, rtol=1e-3)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=6))
@settings(max_examples=50, deadline=None)
def test_ida_gives_the_farthest_client_the_smallest_weight(values):
    found = weights("ida", [update(i, v) for i, v in enumerate(values)])
    distance = np.abs(np.float32(values) - np.mean(np.float32(values)))
    assert found[distance.argmax()] <= found.min() * (1 + 1e-6)
    assert abs(found.sum() - 1) < 1e-12


def test_ida_withstands_one_poisoned_client():
    updates = [update(i, 0.01 * i) for i in range(9)] + [update(9, 100.0)]
    assert weights("ida", updates)[-1] < 0.02 < 0.1 == weights("mean", updates)[-1]


def test_intrac_is_the_inverse_of_the_bounded_training_accuracy():
    accuracies = [0.05, 0.5, 1.0]
    updates = [update(i, 0.0, **dict[str, Any]({"train-accuracy": a})) for i, a in enumerate(accuracies)]
    want = 1 / np.array([0.1, 0.5, 1.0])  # bounded by 1/K with K = 10 classes
    np.testing.assert_allclose(weights("intrac", updates), want / want.sum())
    chance = registry.load("method", "intrac").target.official["chance"]
    want = 1 / np.array([0.25, 0.5, 1.0])  # the text's 1/M with M = 4 clients
    np.testing.assert_allclose(weights("intrac", updates, chance=chance), want / want.sum())
    assert method("intrac").recipe() == {"train-accuracy": True}  # pyright: ignore


def test_average_copies_counts_and_averages_statistics():
    models = [update(0, 1.0, mean=2.0).arrays, update(1, 3.0, mean=6.0).arrays]
    out = average(models, np.array([0.25, 0.75]))
    assert out["w"].dtype == np.float32
    np.testing.assert_allclose(out["w"], 2.5)
    np.testing.assert_allclose(out["bn.running_mean"], 5.0)
    assert out["bn.num_batches_tracked"] == 2
    assert out["bn.num_batches_tracked"].dtype == np.int64


def aggregated(parts: list[Any], updates: list[Update], server_round: int = 1) -> dict[str, np.ndarray]:
    strategy = Weighted(parts, FEDERATION)  # pyright: ignore
    strategy.arrays = to_record(update(0, 0.0).arrays)
    arrays, metrics = strategy.aggregate_train(server_round, [reply(one) for one in updates])
    assert arrays is not None
    assert metrics is not None
    return to_arrays(arrays)


def test_weightings_multiply_in_any_order():
    updates = [update(i, v, n) for i, (v, n) in enumerate([(0.0, 10), (1.0, 20), (5.0, 70)])]
    product = weights("ida", updates) * weights("fedavg", updates)
    want = float((product / product.sum()) @ [0.0, 1.0, 5.0])
    for parts in itertools.permutations([method("ida"), method("fedavg")]):
        np.testing.assert_allclose(aggregated(list(parts), updates)["w"], want, rtol=1e-6)


@pytest.mark.parametrize(("server_round", "eta"), [(1, 1.0), (6, 0.73), (11, 0.46)])
def test_the_server_step_of_fedap_falls_linearly(server_round, eta):
    updates = [update(0, 2.0, 10), update(1, 4.0, 30)]
    out = aggregated([method("fedap")], updates, server_round)
    np.testing.assert_allclose(out["w"], eta * 3.5, rtol=1e-6)
    # Statistics are no parameters: they are averaged, not stepped.
    np.testing.assert_allclose(out["bn.running_mean"], 0.0)
    everyone = method("fedap", denominator=registry.load("method", "fedap").target().denominator.all)
    out = aggregated([everyone], updates, server_round)
    np.testing.assert_allclose(out["w"], eta * 3.5 * 40 / 100, rtol=1e-6)


def test_error_replies_are_left_out_and_nobody_left_is_no_model():
    strategy = Weighted([method("fedavg")], FEDERATION)  # pyright: ignore
    good = reply(update(0, 2.0))
    bad, why = usable(good, reply(update(1, float("nan"))), shapes())
    assert "not finite" in why
    arrays, _ = strategy.aggregate_train(1, [good, bad])
    assert arrays is not None
    np.testing.assert_allclose(to_arrays(arrays)["w"], 2.0)
    assert strategy.aggregate_train(1, [bad]) == (None, None)
    empty = reply(update(1, 3.0, examples=0))
    assert strategy.aggregate_train(1, [empty]) == (None, None)


def shapes() -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (value.shape, str(value.dtype)) for name, value in update(0, 0.0).arrays.items()}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: a.update(w=np.zeros((3, 2), np.float32)), "of shape (3, 2) instead of (2, 3)"),
        (lambda a: a.pop("b"), "`b` is missing or unknown"),
        (lambda a: a.update(w=np.full((2, 3), np.inf, np.float32)), "not finite"),
    ],
)
def test_unusable_replies_say_why(change, told):
    one = update(1, 1.0)
    change(one.arrays)
    answer, why = usable(reply(update(1, 1.0)), reply(one), shapes())
    assert told in why
    assert answer.has_error()


# ---- expressions


def node(*names: str) -> type[Method]:
    return composed([(name, registry.load("method", name).target) for name in names])


@pytest.mark.parametrize(
    ("names", "canonical"),
    [
        (("fedavg", "ida"), "ida+fedavg"),
        (("intrac", "ida"), "ida+intrac"),
        (("hc", "fedap"), "fedap+hc"),
        (("fedavg", "hc", "finetune"), "fedavg+hc+finetune"),
        (("fedavg", "finetune", "hc"), "fedavg+finetune+hc"),
        (("local", "finetune"), "local+finetune"),
    ],
)
def test_the_order_of_an_expression_is_canonical(names, canonical):
    assert node(*names).expression == canonical  # pyright: ignore


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("fedavg", "fedavg"), "2 times"),
        (("hc", "finetune"), "wraps nothing"),
        (("local", "ida"), "`local` in `local+ida` is a strategy of its own"),
        (("centralized", "hc"), "does not combine"),
    ],
)
def test_expressions_without_a_meaning_are_refused(names, told):
    with pytest.raises(UserError, match=None) as refused:
        node(*names)
    assert told in str(refused.value)


def test_every_part_has_its_fields_and_its_official_values():
    made = node("ida", "intrac")()
    made.ida.eps = 0.5  # pyright: ignore
    assert made.strategy(FEDERATION).parts[0].eps == 0.5  # pyright: ignore
    assert set(made.official) == {"intrac.chance"}


def test_finetune_and_hc_keep_personalisation():
    assert node("fedavg", "finetune")().strategy(FEDERATION).personal_epochs == 7  # pyright: ignore
    assert node("fedap", "hc")().strategy(FEDERATION).personal_epochs == 7  # pyright: ignore
    assert node("fedavg", "hc")().strategy(FEDERATION).personal_epochs == 0  # pyright: ignore


# ---- clustering


def clustered(values: list[float], **fields: object):
    strategy = method("hc", rounds=0, **fields).wrap(
        lambda: Weighted([method("fedavg")], FEDERATION), FEDERATION
    )  # pyright: ignore
    strategy.base = to_record(update(0, 0.0).arrays)
    strategy.aggregate_train(1, [reply(update(i, v)) for i, v in enumerate(values)])
    return strategy


def test_clients_are_clustered_by_their_updates(capsys):
    strategy = clustered([0.0, 0.1, 9.0, 9.1])
    assert strategy.facts() == {"clusters": 2}
    assert strategy.labels[0] == strategy.labels[1] != strategy.labels[2] == strategy.labels[3]
    # Each cluster aggregates its own clients only.
    strategy.aggregate_train(2, [reply(update(i, v)) for i, v in enumerate([1.0, 3.0, 5.0, 7.0])])
    np.testing.assert_allclose(to_arrays(strategy.model_for(0))["w"], 2.0)
    np.testing.assert_allclose(to_arrays(strategy.model_for(3))["w"], 6.0)
    assert "2 clusters of sizes 2, 2" in capsys.readouterr().out


def test_a_threshold_that_gives_one_cluster_says_why(capsys):
    strategy = clustered([0.0, 0.1, 0.2, 0.3])
    assert strategy.facts() == {"clusters": 1}
    told = capsys.readouterr().out
    assert "one cluster only" in told
    assert "below `threshold=5`" in told
    # The last merge joins {0, 1} and {2, 3}, 0.2 sqrt(10) apart since |w, b| is sqrt(10) v.
    assert f"{np.sqrt(2 * 2 * 2 / 4) * 0.2 * np.sqrt(10):.3g}" in told


def test_a_client_that_was_missing_joins_the_largest_cluster():
    strategy = clustered([0.0, 0.1, 9.0])
    assert strategy.labels[3] == strategy.labels[0]


def test_the_state_of_a_clustering_goes_through_a_checkpoint():
    strategy = clustered([0.0, 0.1, 9.0, 9.1])
    again = method("hc", rounds=0).wrap(lambda: Weighted([method("fedavg")], FEDERATION), FEDERATION)  # pyright: ignore
    state = state_of(strategy)
    assert state is not None
    restore(again, state)
    assert again.labels == strategy.labels  # pyright: ignore
    np.testing.assert_array_equal(
        to_arrays(again.model_for(3))["w"],  # pyright: ignore
        to_arrays(strategy.model_for(3))["w"],
    )


# ---- strategies of Flower's own


def test_attributes_of_a_flower_strategy_go_through_a_checkpoint():
    from flwr.serverapp.strategy import FedAdam

    one, other = FedAdam(), FedAdam()
    one.m_t = {"w": np.arange(3.0)}  # pyright: ignore
    state = state_of(one)
    assert state is not None
    restore(other, state)
    np.testing.assert_array_equal(other.m_t["w"], one.m_t["w"])  # pyright: ignore
    one.m_t = {"w": object()}  # pyright: ignore
    assert state_of(one) is None


def test_participation_of_a_flower_strategy_is_the_protocols():
    from flwr.serverapp.strategy import FedAvg

    cls = plain_strategy(FedAvg, "FedAvg")
    for drawn, clients in ((1, 10), (3, 10), (5, 34), (10, 1000), (10, 10)):
        federation = Federation(clients, 10, drawn, 1, (), (1,) * clients)
        made = cls().strategy(federation)  # pyright: ignore
        assert max(int(clients * made.fraction_train), made.min_train_nodes) == drawn
        assert made.fraction_evaluate == 0


def test_every_method_draws_the_same_clients():
    """Same seed, same round: FedAvg of Flower and ours ask the same nodes."""
    from flwr.serverapp.strategy import FedAvg

    identify()
    federation = Federation(10, 10, 3, 5, ("w",), (1,) * 10)
    arrays = ArrayRecord({"w": to_record({"w": np.zeros(1, np.float32)})["w"]})

    class Nodes(WorkerGrid):
        def __init__(self):
            pass

        def get_node_ids(self):
            return list(range(1, 11))

    def drawn(strategy) -> list[int]:
        random.seed(5)
        messages = strategy.configure_train(1, arrays, ConfigRecord({}), Nodes())
        return [message.metadata.dst_node_id for message in messages]

    ours = drawn(Weighted([method("ida")], federation))  # pyright: ignore
    theirs = drawn(plain_strategy(FedAvg, "FedAvg")().strategy(federation))  # pyright: ignore
    assert len(ours) == 3
    assert ours == theirs


# ---- the canonical proxy


def echo() -> object:
    """An app that answers a query truly, and training with its client's number."""
    from bench.federated.flower import ClientApp

    app = ClientApp()

    @app.query()
    def query(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        content = RecordDict(
            {
                "metrics": MetricRecord({"partition-id": client}),
                "config": ConfigRecord({"shard-sha256": f"hash {client}"}),
            }
        )
        return Message(content, reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        metrics = MetricRecord({"client": int(context.node_config["partition-id"])})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


class Shuffled(WorkerGrid):
    """A grid with node ids and an order of replies of its own, as Flower's."""

    def __init__(self, clients: int):
        super().__init__(echo, clients, 0)  # pyright: ignore
        self.ids = {1000 + 7 * k: k for k in random.Random(3).sample(range(1, clients + 1), clients)}

    def get_node_ids(self):
        return list(self.ids)

    def send_and_receive(self, messages, *, timeout=None):
        replies = []
        for message in messages:
            inner = Message(
                message.content,
                self.ids[message.metadata.dst_node_id],
                message.metadata.message_type,
                group_id=message.metadata.group_id,
            )
            (answer,) = super().send_and_receive([inner])
            replies.append(Message(answer.content, reply_to=message))
        random.shuffle(replies)
        return replies


def test_the_proxy_presents_nodes_and_replies_in_partition_order():
    grid = CanonicalGrid(Shuffled(6), [f"hash {k}" for k in range(6)], 10)
    assert grid.get_node_ids() == [1, 2, 3, 4, 5, 6]
    asked = [Message(RecordDict(), node, "train") for node in (5, 2, 6, 1)]
    replies = grid.send_and_receive(asked)
    assert [r.metadata.src_node_id for r in replies] == [1, 2, 5, 6]
    assert [r.content.metric_records["metrics"]["client"] for r in replies] == [0, 1, 4, 5]
    ids = list(grid.push_messages(asked[:2]))
    assert [r.metadata.src_node_id for r in grid.pull_messages(ids)] == [2, 5]


@pytest.mark.parametrize(
    ("hashes", "told"),
    [
        (["hash 0", "hash 1", "another"], "Client 2 holds other data"),
        (["hash 0", "hash 1", "hash 2", "hash 3"], "1 of 4 clients did not answer: 3"),
        (["hash 0", "hash 1"], "a stranger"),
    ],
)
def test_the_proxy_refuses_other_data_and_missing_clients(hashes, told):
    with pytest.raises(RunFailed) as refused:
        CanonicalGrid(Shuffled(3), hashes, 10)
    assert told in str(refused.value)
