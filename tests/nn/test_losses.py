"""Both losses against literal NumPy formulas."""

import numpy as np
import pytest
import torch

from bench.nn.losses import DiceCE, Loss, build_loss, official_loss


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def cross_entropy(z, target):
    p = np.take_along_axis(softmax(z), target[:, None], 1)
    return -np.log(p).mean()


def clean(z, target):
    """Cross entropy and Eq. 8.1 for each class over the whole batch."""
    p, eps, dice = softmax(z), 1e-4, []
    for k in range(z.shape[1]):
        t = target == k
        dice.append(1 - (2 * p[:, k][t].sum() + eps) / (p[:, k].sum() + t.sum() + eps))
    return cross_entropy(z, target) + np.mean(dice)


def official(z, target):
    """oct.md section 3: softmax in the model, once more in each part, exp() in the Dice part."""
    p = softmax(z)
    o, dice = np.exp(softmax(p)), []
    for k in range(z.shape[1]):
        t = target == k
        dice.append(1 - 2 * o[:, k][t].sum() / (o[:, k].sum() + t.sum() + 1e-4))
    return cross_entropy(p, target) + np.mean(dice)


@pytest.mark.parametrize(("loss", "formula"), [(Loss.dice_ce, clean), (Loss.official, official)])
@pytest.mark.parametrize("num_classes", [2, 4, 9])
@pytest.mark.parametrize("present", ["all", "one", "some"])
@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 8, 8), (1, 1, 1)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_loss_is_the_literal_formula(loss, formula, num_classes, present, shape, scale):
    rng = np.random.default_rng(num_classes)
    z = scale * rng.normal(size=(shape[0], num_classes, *shape[1:]))
    top = {"all": num_classes, "one": 1, "some": max(1, num_classes - 1)}[present]
    target = rng.integers(0, top, size=shape)
    value = build_loss(loss)(torch.from_numpy(z), torch.from_numpy(target))
    assert value.shape == ()
    assert float(value) == pytest.approx(formula(z, target), rel=1e-9)


def test_perfect_prediction_costs_nothing_even_where_a_class_is_absent():
    target = torch.randint(0, 3, (2, 6, 6))
    logits = 100 * torch.nn.functional.one_hot(target, 4).movedim(-1, 1).float()
    assert float(DiceCE()(logits, target)) == pytest.approx(0, abs=1e-5)
    # The official loss cannot reach zero: its probabilities are softmax outputs of softmax outputs.
    assert float(official_loss(logits, target)) > 1


@pytest.mark.parametrize("loss", list(Loss))
def test_gradient_is_finite_and_points_down(loss):
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 6, 6, requires_grad=True)
    target = torch.randint(0, 3, (2, 6, 6))
    compute = build_loss(loss)
    before = compute(logits, target)
    before.backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    with torch.no_grad():
        assert compute(logits - logits.grad, target) < before


def test_batch_is_one_pool_not_a_mean_of_images():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 2, 4, 4), torch.stack([torch.zeros(4, 4), torch.ones(4, 4)]).long()
    compute = build_loss(Loss.dice_ce)
    single = [compute(logits[i : i + 1], target[i : i + 1]) for i in range(2)]
    assert not torch.isclose(compute(logits, target), torch.stack(single).mean(), atol=1e-3)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="focal"):
        build_loss("focal")  # pyright: ignore[reportArgumentType]
