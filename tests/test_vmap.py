"""Many clients as one batch: within 1e-5 of one after another, or refused in one sentence."""

from __future__ import annotations

import csv
import json
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from conftest import only_record
from federation_data import phantom, words

from bench.errors import UserError
from bench.federated import stacked, vmapped
from bench.federated.client import client_app, network
from bench.federated.flower import ArrayRecord, ConfigRecord, Message, RecordDict, identify
from bench.federated.inprocess import WorkerGrid
from bench.federated.shards import write_shards
from bench.federated.vmapped import VmapGrid
from bench.nn.classifiers import build_classifier

# One sample, less than a batch, exactly two batches, a short last batch, and one twice that of another.
SIZES = (1, 3, 8, 9, 6, 12)
SHAPE = {"model": "lenet", "channels": 1, "classes": 3, "height": 12, "width": 12}
RECIPE = {
    "lr": 0.1,
    "batch-size": 4,
    "local-epochs": 2,
    "mean": [0.4],
    "std": [0.25],
    "seed": 3,
    "server-round": 2,
}
NETS = """
import torch
import torch.nn.functional as F
from torch import nn


class Plain(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.first = nn.Conv2d(in_channels, 4, 3)
        self.first.bias.requires_grad_(False)
        self.norm = nn.GroupNorm(2, 4)
        self.register_buffer("scale", torch.tensor(2.0))
        self.last = nn.Linear(4, num_classes)

    def features(self, x):
        return F.relu(self.norm(self.first(x))).mean((2, 3)) * self.scale

    def forward(self, x):
        return self.last(self.features(x))


class Draws(Plain):
    def forward(self, x):
        return self.last(F.dropout(self.features(x), 0.5, self.training))


class Branches(Plain):
    def forward(self, x):
        found = self.features(x)
        return self.last(found if found.sum() > 0 else -found)


class Drops(Plain):
    def __init__(self, in_channels, num_classes):
        super().__init__(in_channels, num_classes)
        self.drop = nn.Dropout(0.1)
"""


@pytest.fixture(autouse=True, scope="module")
def identity():
    """Without one Flower makes no message."""
    identify()


@pytest.fixture
def nets(tmp_path):
    path = tmp_path / f"nets_{abs(hash(tmp_path)) % 10**12}.py"
    path.write_text(NETS)
    return path


def shards(root, sizes: tuple[int, ...] = SIZES, noisy=None, **shape: Any):
    """Random images of random labels."""
    given: dict[str, Any] = {**SHAPE, **shape}
    rng = np.random.default_rng(1)
    size = (given["channels"], given["height"], given["width"])
    pairs = [(rng.integers(0, 256, (n, *size), dtype=np.uint8), rng.integers(0, 3, n)) for n in sizes]
    write_shards(root, pairs, noisy or {})
    return root


def weights(seed: int = 0, **shape: Any) -> Any:
    given: dict[str, Any] = {**SHAPE, **shape}
    torch.manual_seed(seed)
    size = (given["height"], given["width"])
    net = build_classifier(given["model"], given["channels"], given["classes"], size)
    return ArrayRecord({name: value.detach().clone() for name, value in net.state_dict().items()})


def messages(starts, sizes: tuple[int, ...] = SIZES, **recipe: Any) -> list[Message]:
    """TRAIN messages to all clients; `starts` is one record, or one a client."""
    config = ConfigRecord({**SHAPE, **RECIPE, **recipe})
    each = [starts] * len(sizes) if isinstance(starts, ArrayRecord) else starts
    contents = [RecordDict({"arrays": arrays, "config": config}) for arrays in each]
    return [Message(content, client + 1, "train") for client, content in enumerate(contents)]


def both(root, asked: list[Message], clients: int = 6) -> tuple[list[Any], list[Any]]:
    """(arrays, metrics) of every reply: one after another, and as a batch."""
    found = []
    for grid in (WorkerGrid(partial(client_app, root), clients, 0), VmapGrid(root, clients)):
        replies: Any = grid.send_and_receive(asked)
        assert [reply.metadata.src_node_id for reply in replies] == [m.metadata.dst_node_id for m in asked]
        assert not [reply.error.reason for reply in replies if reply.has_error()]
        found.append(
            [
                (
                    {name: value.numpy() for name, value in reply.content["arrays"].items()},
                    dict(reply.content["metrics"]),
                )
                for reply in replies
            ]
        )
    return found[0], found[1]


def check(root, asked: list[Message], clients: int = 6) -> list[Any]:
    """Equal within 1e-5, after training that moved the weights by far more."""
    one, many = both(root, asked, clients)
    for message, (arrays, metrics), (ours, measured) in zip(asked, one, many, strict=True):
        sent: Any = message.content["arrays"]
        start = {name: value.numpy() for name, value in sent.items()}
        assert list(ours) == list(arrays)
        for name, value in arrays.items():
            assert (ours[name].dtype, ours[name].shape) == (value.dtype, value.shape)
            np.testing.assert_allclose(ours[name], value, rtol=0, atol=1e-5, err_msg=name)
        assert max(np.abs(arrays[name] - start[name]).max() for name in arrays) > 1e-3
        assert measured == pytest.approx(metrics, abs=1e-5)
        assert {k: type(v) for k, v in measured.items()} == {k: type(v) for k, v in metrics.items()}
    return many


def test_unequal_clients_of_one_sample_and_short_batches(tmp_path):
    many = check(shards(tmp_path), messages(weights()))
    assert [metrics["steps"] for _, metrics in many] == [2, 2, 4, 6, 4, 6]
    assert [metrics["num-examples"] for _, metrics in many] == list(SIZES)


@pytest.mark.parametrize(
    "recipe",
    [
        {"proximal-mu": 0.7},
        {"train-accuracy": True},
        {"max-local-steps": 3},
        {"max-local-steps": 1},
        {"local-epochs": 5, "purpose": "personalise"},
        {"purpose": "trained", "server-round": 7, "seed": 11},
        {"batch-size": 128},
    ],
    ids=str,
)
def test_what_a_recipe_may_ask(tmp_path, recipe):
    many = check(shards(tmp_path), messages(weights(), **recipe))
    assert ("train-accuracy" in many[0][1]) == ("train-accuracy" in recipe)


def test_a_proximal_term_changes_the_result(tmp_path):
    root = shards(tmp_path)
    free, held = (check(root, messages(weights(), SIZES, **{"proximal-mu": mu})) for mu in (0.0, 2.0))
    assert np.abs(free[3][0]["conv2.weight"] - held[3][0]["conv2.weight"]).max() > 1e-3


def test_every_client_may_start_elsewhere(tmp_path):
    a, b = weights(0), weights(1)
    many = check(shards(tmp_path, sizes=(9,) * 6), messages([a, b, a, weights(2), b, b]))
    assert np.abs(many[0][0]["fc1.weight"] - many[1][0]["fc1.weight"]).max() > 1e-2


def test_equal_weights_in_another_record_give_the_same_bits(tmp_path):
    root = shards(tmp_path)
    shared = both(root, messages(weights()))[1]
    apart = both(root, messages([weights() for _ in SIZES]))[1]
    for (one, _), (other, _) in zip(shared, apart, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_poisoned_client_adds_the_same_noise(tmp_path):
    root = shards(tmp_path, noisy={3: 1.5})
    many = check(root, messages(weights()))
    honest = check(shards(tmp_path / "honest"), messages(weights()))
    moved = [
        np.abs(a["fc1.weight"] - b["fc1.weight"]).std() for (a, _), (b, _) in zip(many, honest, strict=True)
    ]
    assert moved[3] > 0.5 and max(moved[:3] + moved[4:]) == 0


def test_recipes_are_kept_apart_and_order_is_the_askers(tmp_path):
    root, start = shards(tmp_path), weights()
    slow, fast = messages(start, lr=0.05), messages(start, lr=0.2)
    mixed = [fast[4], slow[0], fast[2], slow[5], fast[1], slow[3]]
    check(root, mixed)


def test_chunks_do_not_change_what_a_client_computes(tmp_path, monkeypatch):
    root, sizes = shards(tmp_path), []
    made = stacked.Chunk.__init__
    monkeypatch.setattr(
        vmapped.Chunk, "__init__", lambda self, n, jobs: (sizes.append(len(jobs)), made(self, n, jobs))[1]
    )
    whole = both(root, messages(weights()))[1]
    monkeypatch.setattr(vmapped, "CPU_BYTES", 1)
    single = check(root, messages(weights()))
    assert sizes == [6] + [1] * 6
    for (a, _), (b, _) in zip(whole, single, strict=True):
        np.testing.assert_allclose(a["fc1.weight"], b["fc1.weight"], rtol=0, atol=1e-6)


def test_a_larger_network_takes_smaller_chunks(tmp_path):
    shard = vmapped.read_shard(shards(tmp_path) / "client_001")
    config: Any = messages(weights())[0].content["config"]
    job = stacked.Job(0, 1, shard, weights(), config)
    job.plan()
    wide = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 10**5, bias=False))
    # Four copies of the weights and twice what the backward pass needs: of a linear layer, its input.
    assert vmapped._chunk(wide, [job]) == 2**29 // (
        4 * 4 * 144 * 10**5 + shard.images.nbytes + 2 * 4 * 3 * 144
    )
    assert vmapped._chunk(network("lenet", 1, 3, 12, 12), [job]) > 100


def test_vgg11(tmp_path):
    shape: dict[str, Any] = {"model": "vgg11", "channels": 3, "height": 32, "width": 32}
    root = shards(tmp_path, sizes=(3, 5), **shape)
    recipe = {**shape, "mean": [0.5] * 3, "std": [0.25] * 3, "lr": 0.02, "local-epochs": 1}
    check(root, messages(weights(**shape), sizes=(3, 5), **recipe), clients=2)


def test_a_users_network_with_group_norm_a_buffer_and_a_frozen_bias(tmp_path, nets):
    shape: dict[str, Any] = {"model": f"{nets}:Plain"}
    start = weights(**shape)
    many = check(shards(tmp_path), messages(start, **shape, lr=0.5))
    for arrays, _ in many:
        assert np.array_equal(arrays["first.bias"], start["first.bias"].numpy())
        assert arrays["scale"] == start["scale"].numpy()


@pytest.mark.parametrize(
    "name,why", [("Drops", "dropout"), ("Draws", "random"), ("Branches", "control flow")]
)
def test_a_users_network_that_cannot_be_batched_is_refused(tmp_path, nets, name, why):
    shape: dict[str, Any] = {"model": f"{nets}:{name}"}
    with pytest.raises(UserError, match="grid=vmap") as refused:
        VmapGrid(shards(tmp_path), len(SIZES)).send_and_receive(messages(weights(**shape), **shape))
    assert why in str(refused.value) and "use `grid=inprocess`" in str(refused.value)


def test_batch_norm_is_refused(tmp_path):
    shape: dict[str, Any] = {"model": "mobilenet_v2", "channels": 3, "mean": [0.5] * 3, "std": [0.25] * 3}
    asked = messages(weights(model="mobilenet_v2", channels=3), sizes=(1,), **shape)
    with pytest.raises(
        UserError, match=r"`grid=vmap`.*`mobilenet_v2`, which has batch norm; use `grid=inprocess`"
    ):
        VmapGrid(shards(tmp_path, (1,), channels=3), 1).send_and_receive(asked)


def test_arrays_that_do_not_fit_and_a_missing_shard_are_error_replies(tmp_path):
    root = shards(tmp_path)
    asked = messages([weights(), weights(classes=5), *[weights()] * 4])
    asked += [Message(asked[0].content, 9, "train"), Message(RecordDict(), 3, "train")]
    replies: Any = VmapGrid(root, 9).send_and_receive(asked)
    assert [reply.has_error() for reply in replies] == [False, True, *[False] * 4, True, True]
    assert "do not fit" in replies[1].error.reason and "client_008" in replies[6].error.reason


def test_nodes_say_who_they_are_beside_training(tmp_path):
    root = shards(tmp_path)
    asked = [Message(RecordDict(), 3, "query"), *messages(weights())[:1], Message(RecordDict(), 1, "query")]
    grid = VmapGrid(root, len(SIZES))
    replies: Any = grid.send_and_receive(asked)
    assert list(grid.get_node_ids()) == [1, 2, 3, 4, 5, 6]
    assert [r.content["metrics"]["partition-id"] for r in (replies[0], replies[2])] == [2, 0]
    assert replies[1].content["metrics"]["num-examples"] == 1
    hashes = {r.content["config"]["shard-sha256"] for r in (replies[0], replies[2])}
    assert hashes == {vmapped.read_shard(root / f"client_00{k}").sha256 for k in (0, 2)}


def test_the_callers_random_numbers_are_untouched(tmp_path):
    root, asked = shards(tmp_path), messages(weights())
    network.cache_clear()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    VmapGrid(root, len(SIZES)).send_and_receive(asked)
    assert torch.equal(torch.rand(3), expected)


def test_a_run_from_the_command_line_gives_the_curves_of_the_default_grid(bench, bench_home, tmp_path):
    root = phantom("fashion_mnist", bench_home)
    records, curves = [], []
    for grid in ("inprocess", "vmap"):
        out = tmp_path / grid
        done = bench(
            "run",
            *words(
                root, out, method="fedprox", grid=grid, rounds=3, protocol__poisoned=1, protocol__noise="0.01"
            ),
        )
        assert done.code == 0, done.err
        path = only_record(out)
        records.append(json.loads(path.read_text()))
        with (path.parent / "curves.csv").open() as file:
            curves.append(list(csv.DictReader(file)))
    assert [len(rows) for rows in curves] == [3, 3]
    for one, many in zip(*curves, strict=True):
        assert one.keys() == many.keys()
        for name in one.keys() - {"time", "seconds", "wall_s"}:
            assert float(many[name]) == pytest.approx(float(one[name]), abs=1e-3), name
    assert not [d for d in records[0]["task"]["deviations"] if "vmap" in d]
    assert [d for d in records[1]["task"]["deviations"] if "vmap" in d]
    one, many = (record["metrics"] for record in records)
    for name in ("accuracy", "train_steps", "bytes_up", "bytes_down"):
        assert many[name]["value"] == pytest.approx(one[name]["value"], abs=1e-3)
