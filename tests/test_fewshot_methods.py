"""Few-shot methods on bright squares: the recipe by hand, learning, seeds, what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fewshot_toy import SIDE, Tiny, context, data, fitted, made, overlap, own_network, same, squares, weights
from torch import nn

from bench import seeding
from bench.errors import RunFailed, UserError
from bench.fewshot.episodes import DRAW, sampled
from bench.fewshot.finetune import fine_tune
from bench.fewshot.method import FewShotMethod, NetworkMethod, plain_fewshot
from bench.plan import make_official
from bench.volumes.slices import SliceSet

METHODS = ("supervised", "transfer", "reptile", "metamedseg", "dawoud")
BCE = F.binary_cross_entropy_with_logits


@pytest.fixture
def own_net(tmp_path: Path) -> str:
    return own_network(tmp_path)


def plain_loop(net: nn.Module, part: SliceSet, loss: Any, orders: list[Any], **adam: float) -> None:
    """Adam and torch's own StepLR(2, 0.7), two slices a step."""
    optimizer = torch.optim.Adam(net.parameters(), **adam)  # pyright: ignore[reportArgumentType]
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.7)
    for order in orders:
        for pick in torch.randperm(len(part), generator=order).split(2):
            x, y = part[pick]
            optimizer.zero_grad()
            loss(net(x), y).backward()
            optimizer.step()
        schedule.step()


def close(ours: nn.Module, theirs: nn.Module) -> None:
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], rtol=1e-3, atol=1e-4, msg=name)


def test_supervised_is_the_recipe_by_hand(tmp_path: Path) -> None:
    train = data(shots=3)
    method = fitted(made("supervised"), context(tmp_path, seed=4, epochs=5, loss="bce"), train)
    for ours, support in zip(method.predictors, train.supports, strict=True):
        net = copy.deepcopy(method.net)
        orders = [seeding.generator(4, epoch) for epoch in range(1, 6)]
        plain_loop(net, support, BCE, orders, lr=0.005, weight_decay=3e-5)
        close(ours, net)


@pytest.mark.parametrize("serial", [True, False])
def test_meta_training_is_reptile_by_hand(tmp_path: Path, serial: bool) -> None:
    ctx = context(tmp_path, seed=2, inner_epochs=3)
    train = data()
    method = made("reptile", meta_lr=0.3) if serial else made("metamedseg", meta_lr=0.3)
    method.setup(ctx)
    theta = copy.deepcopy(method.net)
    method.meta_fit(train.sources, ctx)
    for epoch in (1, 2):
        steps = []
        for number, (part,) in enumerate(sampled(train.sources, ctx, epoch)):
            net = copy.deepcopy(theta)
            orders = [seeding.generator(2, epoch, DRAW + 1 + number, inner) for inner in (1, 2, 3)]
            plain_loop(net, part, BCE, orders, lr=0.01, weight_decay=0.003)
            moved = [b - a for a, b in zip(theta.parameters(), net.parameters(), strict=True)]
            steps.append(moved)
            if serial:
                step(theta, [moved])
        if not serial:
            step(theta, steps)
    close(method.net, theta)
    assert [row["meta_epoch"] for row in ctx.checkpoint.curves.rows] == [1, 2]


def step(theta: nn.Module, steps: list[list[torch.Tensor]]) -> None:
    with torch.no_grad():
        for p, moves in zip(theta.parameters(), zip(*steps, strict=True), strict=True):
            p += 0.3 * torch.stack(moves).mean(0)


def test_supervised_learns(tmp_path: Path) -> None:
    method = fitted(
        made("supervised"), context(tmp_path, epochs=20, batch_size=1), data(selections=1, shots=6)
    )
    assert overlap(method, squares("heart", 12, 50)) > 0.8
    assert method.parameters_count() == 470_977


def test_learning_from_sources_helps_when_steps_are_few(tmp_path: Path) -> None:
    found = {}
    changes: Any = {"epochs": 1, "meta_epochs": 3, "meta_shots": 4, "inner_epochs": 2}
    for name, fields in (
        ("supervised", {}),
        ("transfer", {}),
        ("reptile", {"meta_lr": 0.3}),
        ("metamedseg", {"meta_lr": 0.5}),
        ("metamedseg", {"meta_lr": 0.5, "update": "idw"}),
        ("dawoud", {"inner_lr": 0.01, "meta_lr": 0.5}),
    ):
        method = fitted(made(name, **fields), context(tmp_path / str(len(found)), **changes))
        found[name, fields.get("update")] = overlap(method, squares("heart", 12, 50))
    random = found.pop(("supervised", None))
    assert min(found.values()) > random + 0.1, (random, found)


@pytest.mark.parametrize("name", METHODS)
def test_a_seed_says_it_all(name: str, own_net: str, tmp_path: Path) -> None:
    def run(folder: str, seed: int, **changes: Any) -> list[torch.Tensor]:
        torch.manual_seed(len(folder))
        ctx = context(tmp_path / folder, seed, network=own_net, **changes)
        method = made(name)
        method.fit(data(), squares("heart", 4, 40), ctx)
        return weights(method)

    first = run("a", 1)
    assert same(run("another", 1), first)
    assert not same(run("c", 2), first)
    if name in ("reptile", "metamedseg", "dawoud"):
        assert not same(run("d", 1, task_definition="volume"), first)


def test_selections_differ_in_their_slices_alone(own_net: str, tmp_path: Path) -> None:
    train = data(selections=2)
    twice = type(train)(train.sources, (train.supports[0], train.supports[0]))
    method = fitted(made("supervised"), context(tmp_path, network=own_net), twice)
    assert same(*(list(net.state_dict().values()) for net in method.predictors))


def test_steps_are_limited(own_net: str, tmp_path: Path) -> None:
    seen = []

    class Counting(Tiny):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    support = squares("heart", 5, 1)
    for limit, sizes in ((None, [2, 2, 1] * 2), (4, [2, 2, 1, 2]), (1, [2])):
        seen.clear()
        fine_tune(Counting(1, 1), support, context(tmp_path, max_steps=limit))
        assert seen == sizes
    seen.clear()
    fine_tune(Counting(1, 1), support, context(tmp_path, max_steps=1), epochs=3, max_steps=100)
    assert seen == [2, 2, 1] * 3


def test_predictions_are_probabilities_without_gradients(own_net: str, tmp_path: Path) -> None:
    method = fitted(made("supervised"), context(tmp_path, network=own_net))
    images = squares("heart", 3, 1)[:][0]
    y = method.predict((1, images))
    assert (y.shape, y.dtype, y.device.type) == ((3, 1, SIDE, SIDE), torch.float32, "cpu")
    assert not y.requires_grad
    net = method.predictors[1].eval()
    torch.testing.assert_close(y, net(images).detach().sigmoid())
    assert torch.equal(method.predict((1, images[1:2])), y[1:2])  # dropout and batch norm are at rest
    assert not torch.equal(method.predict((0, images)), y)


@pytest.mark.parametrize("name", METHODS)
def test_a_loss_that_is_no_number_ends_the_run(name: str, own_net: str, tmp_path: Path) -> None:
    fields = {"transfer": {"lr": 1e30}, "supervised": {}}.get(name, {"inner_lr": 1e30})
    lr = 1e30 if name == "supervised" else 0.005
    ctx = context(tmp_path, network=own_net, lr=lr, loss="bce", epochs=6, inner_epochs=6, pretrain_epochs=6)
    with pytest.raises(RunFailed, match=r"The training loss became (nan|inf) in .*lower learning rate"):
        fitted(made(name, **fields), ctx)


def test_a_plain_network_runs_as_supervised_does(tmp_path: Path) -> None:
    node: Any = plain_fewshot(Tiny, "Tiny")
    method = fitted(node(width=6), context(tmp_path))
    assert isinstance(method, NetworkMethod)
    assert method.parameters_count() == 6 * 9 + 6 + 12 + 7
    assert method.predict((0, torch.rand(2, 1, SIDE, SIDE))).shape == (2, 1, SIDE, SIDE)
    with pytest.raises(UserError, match=r"answers slices .* by \(2, 1, 14, 14\)"):
        fitted(plain_fewshot(Shrinking, "Shrinking")(), context(tmp_path / "b"))
    with pytest.raises(UserError, match=r"neither a `bench` Method nor an `nn\.Module` class"):
        plain_fewshot(dict, "dict")


class Shrinking(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.last = nn.Conv2d(in_channels, num_classes, 3)

    def forward(self, x):
        return self.last(x)


def test_what_adapt_returns_is_checked(tmp_path: Path) -> None:
    class Half(FewShotMethod):
        def meta_fit(self, sources, ctx):
            self.names = [source.name for source in sources]

        def adapt(self, support, ctx):
            return lambda x: x[..., ::2]

    method: Any = Half()
    fitted(method, context(tmp_path))
    assert method.names == ["spleen", "lung", "colon"]
    assert method.parameters_count() is None
    with pytest.raises(RunFailed, match=r"by logits of that shape, got \(1, 1, 16, 8\)"):
        method.predict((0, torch.rand(1, 1, SIDE, SIDE)))


def test_dawouds_losses(tmp_path: Path) -> None:
    method = made("dawoud", loss="bce", entropy_weight=0.5, distillation_weight=2.0)
    net = Tiny(1, 1).eval()
    x, near, far = torch.rand(3, 2, 1, SIDE, SIDE)
    y = (x > 0.5).float()
    found = method.objective(BCE, net, [(x, y), (near, y), (far, y)])
    p = net(far).detach().sigmoid()
    entropies = {
        "binary": -(p * p.log() + (1 - p) * (1 - p).log()).mean(),
        "foreground": -(p * p.log()).mean(),
    }
    rest = BCE(net(x), y) + 2.0 * (net.features(x)[1] - net.features(near)[1]).square().mean()
    torch.testing.assert_close(found, rest + 0.5 * entropies["binary"])
    make_official(method)
    found = method.objective(BCE, net, [(x, y), (near, y), (far, y)])
    torch.testing.assert_close(found, rest + 0.5 * entropies["foreground"])


def test_dawoud_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    path = tmp_path / f"bare_{abs(hash(tmp_path)) % 10**12}.py"
    path.write_text(
        "from torch import nn\n\n\nclass Bare(nn.Conv2d):\n    def __init__(self, c, k):\n"
        "        super().__init__(c, k, 1)\n"
    )
    with pytest.raises(UserError, match=r"distils a feature map, and the network `.*:Bare` gives none"):
        fitted(made("dawoud"), context(tmp_path, network=f"{path}:Bare"))
    train = data()
    with pytest.raises(UserError, match="at least two sources, and `spleen` is the only one"):
        fitted(made("dawoud"), context(tmp_path), type(train)(train.sources[:1], train.supports))


def test_official_metamedseg_is_that_of_the_code() -> None:
    method = made("metamedseg")
    assert (method.update, method.distance, method.accumulate, method.gamma) == (
        "aw",
        "inverse",
        "formula",
        0.7,
    )
    make_official(method)
    assert (method.distance, method.accumulate, method.gamma) == ("complement", "official", 0.8)
    meta = {"a": torch.zeros(1)}
    tasks = [{"a": torch.tensor([1.0])}, {"a": torch.tensor([3.0])}]
    assert float(method.towards(meta, tasks)["a"]) == 2.0  # the code's error is in its weighted sum alone
    method.update = type(method.update)("idw")
    assert float(method.towards(meta, tasks)["a"]) == pytest.approx((0.9 * 1 + 3) * 0.1, abs=1e-3)
