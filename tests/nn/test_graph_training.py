"""Training of sequence models: schedules, what a step draws, resuming, and likelihoods."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from graph_toys import context, encoded, in_order, network, random_graphs

from bench.core import Context
from bench.errors import RunFailed
from bench.families.graph_generation_protocol import GraphProtocol
from bench.nn.graph_orders import Ordering
from bench.nn.graph_sequences import batch
from bench.nn.graph_training import EdgeSchedule, batch_nll, fit, nll, rates, sample_batch

SMALL = {"epochs": 3, "batches_per_epoch": 4, "batch_size": 8, "validate_every": 2, "lr": 0.01}


def test_the_learning_rate_decays_after_the_constant_epochs():
    p = GraphProtocol()
    assert rates(p, 0, EdgeSchedule.decays) == (0.001, 0.001)
    assert rates(p, 49 * 256 + 1709, EdgeSchedule.decays) == (0.001, 0.001)
    assert rates(p, 49 * 256 + 1710, EdgeSchedule.decays) == pytest.approx((0.00095, 0.00095))
    assert rates(p, 76_799, EdgeSchedule.decays)[0] == pytest.approx(0.001 * 0.95**37)


def test_the_official_schedule_decays_nodes_twice_as_fast_and_edges_never():
    p = GraphProtocol()
    assert rates(p, 49 * 256 + 855, EdgeSchedule.constant) == pytest.approx((0.00095, 0.001))
    node, edge = rates(p, 76_799, EdgeSchedule.constant)
    assert edge == 0.001
    assert node == pytest.approx(2.1e-5, rel=0.05)


def test_a_step_draws_what_seed_and_number_say():
    data = encoded(random_graphs(30))
    one, same = (sample_batch(data, Ordering.bfs, 8, 0, 3) for _ in range(2))
    assert torch.equal(one.node, same.node)
    assert torch.equal(one.to, same.to)
    others = [sample_batch(data, Ordering.bfs, 8, *at) for at in ((0, 4), (1, 3))]
    assert all(one.node.tolist() != other.node.tolist() for other in others)


def trained(ctx: Context, schedule=EdgeSchedule.decays, **options):
    net = network(**options)
    data = encoded(random_graphs(30))
    prior = np.full(5, 0.2)
    fit(
        net,
        data,
        Ordering.random,
        schedule,
        lambda: float(nll(net, prior, data, Ordering.random, 1, 0).mean()),
        ctx,
    )
    return net


def test_training_lowers_the_likelihood_and_writes_the_curve(tmp_path):
    net = trained(
        context(tmp_path, **{**SMALL, "epochs": 12, "batches_per_epoch": 10}), learn_embeddings=True
    )
    assert not net.training
    rows = list(csv.DictReader((tmp_path / "curves.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 13))
    assert [bool(row["val_nll"]) for row in rows] == [False, True] * 6
    assert float(rows[-1]["val_nll"]) < float(rows[1]["val_nll"]) - 0.3
    assert float(rows[-1]["edge_loss"]) < float(rows[0]["edge_loss"])


def test_frozen_embeddings_stay_and_learnt_ones_move(tmp_path):
    before = network()
    for learn in (False, True):
        net = trained(context(tmp_path / str(learn), **SMALL), learn_embeddings=learn)
        for name in ("embed_node", "embed_edge"):
            one, other = getattr(before, name).weight, getattr(net, name).weight
            assert torch.equal(one, other) != learn
            assert (other[0] == 0).all()


def test_the_schedule_reaches_the_optimisers(tmp_path):
    given = {**SMALL, "constant_epochs": 0, "lr_step": 1, "lr_gamma": 0.5}
    nets = [trained(context(tmp_path / s, **given), EdgeSchedule(s)) for s in EdgeSchedule]
    for part in ("node_part", "edge_part"):
        one, other = (getattr(net, part)() for net in nets)
        assert any(not torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_max_steps_end_training_within_an_epoch(tmp_path):
    trained(context(tmp_path, **SMALL, max_steps=6))
    rows = list(csv.DictReader((tmp_path / "curves.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert rows[-1]["val_nll"]


class Killed(Exception):
    pass


@pytest.mark.parametrize("step", [1, 5, 8, 11])
def test_a_killed_training_ends_in_the_weights_of_a_whole_one(tmp_path, monkeypatch, step):
    monkeypatch.setenv("BENCH_CHECKPOINT_SECONDS", "0")
    whole = trained(context(tmp_path / "whole", **SMALL))
    ctx, seen = context(tmp_path / "killed", **SMALL), []
    save = ctx.checkpoint.save

    def dying(state):
        save(state)
        seen.append(state["at"]["step"])
        if state["at"]["step"] == step:
            raise Killed

    monkeypatch.setattr(ctx.checkpoint, "save", dying)
    with pytest.raises(Killed):
        trained(ctx)
    assert seen[-1] == step
    log: list[str] = []
    resumed = trained(context(tmp_path / "killed", log, **SMALL))
    assert log == [f"resumed at step {step}"]
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    curves = [(tmp_path / name / "curves.csv").read_text() for name in ("whole", "killed")]
    assert curves[0] == curves[1]


def test_a_loss_that_is_not_finite_is_said(tmp_path):
    with pytest.raises(RunFailed, match=r"training loss became .* in step \d+; a lower `protocol.lr`"):
        trained(context(tmp_path, **{**SMALL, "lr": 1e30, "epochs": 5}))


def test_likelihoods_do_not_depend_on_company_and_vary_with_order():
    graphs, prior = random_graphs(300, seed=2), np.full(5, 0.2)
    net = network(sharp=2)
    found = nll(net, prior, encoded(graphs), Ordering.random, 3, 0)
    assert found.shape == (300, 3)
    assert found.dtype == np.float64
    alone = nll(net, prior, encoded(graphs[:1]), Ordering.random, 3, 0)
    assert found[:1] == pytest.approx(alone, abs=1e-4)
    large = [i for i, graph in enumerate(graphs) if len(graph) > 3]
    assert (found[large].std(1) > 0).mean() > 0.9
    assert np.array_equal(found, nll(net, prior, encoded(graphs), Ordering.random, 3, 0))


def test_the_likelihood_is_the_sum_over_everything_predicted():
    graphs, prior = random_graphs(20, seed=3), np.array([0.1, 0.2, 0.3, 0.3, 0.1])
    net = network(sharp=2).double()
    for graph in graphs:
        b = batch(encoded([graph]), np.arange(1), in_order(1, 6), Ordering.random)
        with torch.inference_mode():
            nodes, to, back = (score.log_softmax(1) for score in net(b))
            found = batch_nll(net, prior, b, 1)[0]
        expected = -np.log(prior[graph.labels[0]])
        for t, answer in enumerate(b.node_answer.tolist()):
            if t < 5:  # after six nodes the end is certain
                expected -= nodes[t, answer].item()
        matrix, slots = graph.matrix(), 0
        for j in range(len(graph)):
            for i in range(len(graph) - 1, j, -1):
                for scores, edge in ((to, matrix[j, i]), (back, matrix[i, j])):
                    expected -= scores[slots, edge - 1 if edge else 3].item()
                slots += 1
        assert found == pytest.approx(expected, abs=1e-9)
