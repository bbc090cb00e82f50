"""What every task, method and dataset of the registry must keep."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
import torch
from omegaconf import OmegaConf

from bench import registry
from bench.card import Card
from bench.config import thawed
from bench.core import Dataset, Method, Task

TASKS, METHODS, DATASETS = (registry.names(noun) for noun in ("task", "method", "dataset"))
EVERYTHING = [(noun, name) for noun in registry.NOUNS for name in registry.names(noun)]


@pytest.mark.parametrize(("noun", "name"), EVERYTHING)
def test_the_card_read_from_the_source_is_the_card_of_the_class(noun, name):
    card = registry.card(noun, name)
    assert isinstance(card, Card)
    assert registry.load(noun, name).target.card == card


@pytest.mark.parametrize(("noun", "name"), EVERYTHING)
def test_the_card_is_complete(noun, name):
    card = registry.card(noun, name)
    assert card.title
    assert card.summary
    assert card.family
    assert card.licence
    if name != "folder":  # the user's own
        assert card.citation
        assert card.url.startswith("http")
    for difference in card.differences:
        for fact in dataclasses.astuple(difference):
            assert fact, difference
    if noun == "task":
        assert card.primary in card.metrics
        assert set(card.datasets) <= set(DATASETS)
    if noun == "dataset":
        assert card.files
        assert card.unit
    if noun == "method":
        assert card.differences


@pytest.mark.parametrize("name", TASKS)
def test_every_switch_of_a_task_card_exists(name):
    task = registry.load("task", name).target
    assert issubclass(task, Task)
    fields = {f.name for f in dataclasses.fields(task.protocol)}
    methods = {f.name for m in METHODS for f in dataclasses.fields(registry.load("method", m).target)}
    named = set()
    for difference in task.card.differences:
        group, _, field = difference.switch.partition(".")
        if group == "protocol":
            assert field in fields
            named.add(field)
        elif group == "method":
            assert field in methods
        else:
            assert difference.switch in task.card.metrics
    # Every value of the official profile is explained on the card, and the smoke values are fields.
    assert set(task.profiles["official"]) <= named
    assert set(task.smoke) <= fields


@pytest.mark.parametrize("name", TASKS)
def test_a_protocol_is_frozen_and_composes(name):
    protocol = registry.load("task", name).target.protocol
    with pytest.raises(dataclasses.FrozenInstanceError):
        protocol().precision = "x"
    OmegaConf.structured(thawed(protocol))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_a_configuration(name):
    method = registry.load("method", name).target
    assert issubclass(method, Method)
    node = OmegaConf.structured(method)
    assert set(node) == {f.name for f in dataclasses.fields(method)}
    assert set(method.official) <= set(node)
    assert method.family == registry.card("method", name).family


@pytest.mark.parametrize("name", METHODS)
def test_a_segmentation_network_keeps_its_shapes_and_survives_a_pickle(name):
    method = registry.load("method", name).target()
    if method.family != "segmentation":
        pytest.skip("another family")
    for channels, classes, size in ((1, 9, (64, 96)), (3, 2, (33, 47))):
        torch.manual_seed(0)
        net = method.build(channels, classes).eval()
        x = torch.randn(2, channels, *size)
        with torch.inference_mode():
            y = net(x)
            assert y.shape == (2, classes, *size)
            assert y.dtype == torch.float32
            assert torch.equal(pickle.loads(pickle.dumps(net))(x), y)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_passes_its_own_check(bench, name):
    # At the protocol's size this takes a minute a method; what is checked does not depend on the size.
    target = registry.load("method", name).target
    words = [f"method=fedavg+{name}" if hasattr(target, "wrap") else f"method={name}"]
    if target.family == "federated_classification":
        words.append("task=federated_fashion_mnist")  # the smallest network
    small = "protocol.batch_size=8" if target.family == "graph_generation" else "protocol.image_size=[32,48]"
    answer = bench("check", *words, small)
    assert answer.code == 0, answer.out + answer.err
    assert "would survive the real run" in answer.out


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_refuses_an_empty_folder_in_one_sentence(bench, name, tmp_path):
    assert issubclass(registry.load("dataset", name).target, Dataset)
    answer = bench("data", "verify", name, "--root", tmp_path)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert str(tmp_path) in answer.err
