"""Requests that no partition can meet, each refused in one sentence that names the field to change."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import UserError
from bench.federated.partition import Split, balanced, fedap, ida, uneven

SMALL = np.repeat(np.arange(4), 40)
NAMES = tuple(map(str, range(160)))
L, I = Split.lesion_grouped, Split.image_level  # noqa: E741
BAD = {
    "clients 0": (lambda: ida(SMALL, NAMES, I, 0, clients=0), "`protocol.clients` takes"),
    "five of four classes": (
        lambda: ida(SMALL, NAMES, I, 0, classes_per_client=5),
        "`protocol.classes_per_client` takes a whole number from 1 to 4",
    ),
    "no class": (
        lambda: balanced(SMALL, 0, clients=2, classes_per_client=0),
        "`protocol.classes_per_client` takes",
    ),
    "negative seed": (lambda: balanced(SMALL, -1, clients=2, classes_per_client=1), "`seed` takes"),
    "too many for ida": (lambda: ida(SMALL, NAMES, I, 0, clients=100, classes_per_client=4), "40 images"),
    "too many for balanced": (
        lambda: balanced(SMALL, 0, clients=100, classes_per_client=2),
        "`protocol.clients=100`",
    ),
    "a cap below two": (
        lambda: balanced(SMALL, 0, clients=2, classes_per_client=1, most_per_client=1),
        "`protocol.most_per_client=1`",
    ),
    "too few for doubling": (
        lambda: uneven(SMALL, 0, clients=4, classes_per_client=4, most_per_class=40),
        "`protocol.most_per_class=40`",
    ),
    "one image a class": (
        lambda: uneven(SMALL, 0, clients=1, classes_per_client=1, most_per_class=1),
        "from 2, got 1",
    ),
    "an unknown client": (
        lambda: uneven(SMALL, 0, clients=2, classes_per_client=1, most_per_class=5, doubled=(2,)),
        "names client 2",
    ),
    "fedap never": (lambda: fedap(SMALL, NAMES, I, 0), "1, 1, 1, 1 by class, gave 2 clients in 1000 draws"),
    "fedap fewer": (lambda: fedap(SMALL, NAMES, I, 0, clients=1), "set `protocol.clients` to that"),
    "one lesion in two classes": (
        lambda: fedap(SMALL, ("x",) * 160, L, 0),
        "`protocol.split=image_level`",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_request_that_cannot_be_met_is_one_sentence(case):
    call, told = BAD[case]
    with pytest.raises(UserError) as error:
        call()
    assert told in str(error.value)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_a_client_of_one_lesion_is_refused_rather_than_left_without_test():
    labels = np.repeat(np.arange(2), 70)
    groups = tuple(f"{i // 35}" for i in range(140))  # two lesions a class, each a whole pack
    made = fedap(labels, groups, L, 0, clients=2)  # two lesions a client: one to train, one to test
    assert [(len(c.train), len(c.test)) for c in made.clients] == [(35, 35)] * 2
    with pytest.raises(UserError, match="has 2 lesions for 2 clients"):
        ida(labels, groups, L, 0, clients=2, classes_per_client=2)
