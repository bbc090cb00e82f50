"""`python -m bench.federated.hospitals`: a data folder for every client of a deployment.

    python -m bench.federated.hospitals out=DIR task=federated_ham10k data_root=... [protocol.<field>=v ...]

writes `DIR/client_000`, `DIR/client_001`, ...: the training images of one client each, as the partition of
the protocol gives them. Copy each folder to its hospital; a run refuses a hospital that holds anything else.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.config import compose
from bench.data import dataset_named, locate
from bench.errors import UserError
from bench.federated.shards import write_shards
from bench.plan import make
from bench.words import parse


def write(words: list[str]) -> int:
    """Write the folders of the run that `bench run` would make of the same words; returns how many."""
    given = [word for word in words if not word.startswith("out=")]
    out = next((word.partition("=")[2] for word in words if word.startswith("out=")), "")
    if not out:
        raise UserError("`out=DIR` is missing; it says where the client folders go.")
    if not any(word.startswith("method=") for word in given):
        given.append("method=fedavg")  # any method: the partition is the same for all
    request = parse("run", given)
    plan = make(compose(request.overrides), request)
    dataset = dataset_named(plan.dataset)
    place = locate(plan.dataset, dataset, plan.data, plan.data_root)
    if place.notice:
        print(place.notice, file=sys.stderr)
    train = plan.task.load(dataset.load(place.root), plan.protocol).train
    pairs = ((client.images, client.labels) for client in train.clients)
    return len(write_shards(Path(out).expanduser(), pairs, train.noisy))


if __name__ == "__main__":
    try:
        print(f"{write(sys.argv[1:])} client folders written")
    except UserError as error:
        print(f"bench: {error}", file=sys.stderr)
        raise SystemExit(2) from error
