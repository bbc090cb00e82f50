"""Meta-trained weights of an earlier run: taken where nothing that was learned could differ, else not."""

from __future__ import annotations

import json

import pytest
from conftest import only_record
from fewshot_runs import phantom, record, words

from bench.fewshot import reuse
from bench.fewshot.method import FewShotMethod

AGAIN = "used again"


@pytest.fixture(scope="module")
def root(bench_home):
    return phantom(bench_home)


@pytest.fixture
def empty_home(monkeypatch, tmp_path):
    """No weights of other tests."""
    monkeypatch.setattr(reuse, "home", lambda: tmp_path / "home")
    return tmp_path / "home"


def run(bench, root, out, **changes):
    answer = bench("run", *words(root, out, **{"method": "reptile", "seed": 3, **changes}))
    assert answer.code == 0, answer.err
    return answer.err, record(out)["metrics"]


def test_another_k_takes_the_weights_and_gives_what_learning_anew_gives(bench, root, tmp_path, empty_home):
    first, _ = run(bench, root, tmp_path / "a", shots=1)
    assert AGAIN not in first
    second, taken = run(bench, root, tmp_path / "b", shots=2)
    assert AGAIN in second
    for path in empty_home.rglob("*.pt"):
        path.unlink()
    third, anew = run(bench, root, tmp_path / "c", shots=2)
    assert AGAIN not in third
    assert taken == anew


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 4},
        {"method__inner_lr": 0.02},
        {"protocol__inner_epochs": 2},
        {"method": "metamedseg"},
        {"protocol__normalisation": "volume_zscore"},
        {"protocol__max_source": 2},
    ],
)
def test_whatever_meta_training_reads_makes_it_learn_anew(bench, root, tmp_path, empty_home, changes):
    run(bench, root, tmp_path / "a")
    said, _ = run(bench, root, tmp_path / "b", **changes)
    assert AGAIN not in said


def test_time_that_was_saved_counts_in_the_cost(bench, root, tmp_path, empty_home):
    run(bench, root, tmp_path / "a", shots=1)
    (path,) = empty_home.rglob("*.pt")
    kept = reuse.read(path.stem)
    assert kept is not None
    reuse.write(path.stem, kept["state"], 1234.0)
    run(bench, root, tmp_path / "b", shots=2)
    assert json.loads(only_record(tmp_path / "b").read_text())["cost"]["fit_s"] > 1234


def test_damaged_weights_are_made_again(bench, root, tmp_path, empty_home):
    run(bench, root, tmp_path / "a", shots=1)
    (path,) = empty_home.rglob("*.pt")
    path.write_bytes(b"no weights")
    said, _ = run(bench, root, tmp_path / "b", shots=2)
    assert AGAIN not in said


class Watched:
    """A protocol that notes which of its fields are read."""

    def __init__(self, protocol):
        self.__dict__["protocol"] = protocol
        self.__dict__["read"] = set()

    def __getattr__(self, name):
        self.read.add(name)
        return getattr(self.protocol, name)


@pytest.mark.parametrize("name", ["transfer", "reptile", "metamedseg", "dawoud"])
def test_meta_training_reads_nothing_that_the_key_leaves_out(name, tmp_path):
    from fewshot_toy import context, data, made

    method = made(name)
    assert method.shares
    ctx = context(tmp_path)
    method.setup(ctx)
    ctx.protocol = Watched(ctx.protocol)
    method.meta_fit(data().sources, ctx)
    assert ctx.protocol.read
    assert not ctx.protocol.read & set(reuse.ADAPTING)


def test_a_method_of_a_user_shares_nothing_unless_it_says_so():
    assert FewShotMethod.shares is False
