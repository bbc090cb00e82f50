"""Which image stands in which client, and there in train or test: the partitions of thesis chapter 6.

Pure functions of labels, groups and a seed. `groups` name what belongs together (a lesion). Under
`Split.lesion_grouped` a group is never torn apart; under `Split.image_level` every image stands alone, as in
the papers. Legend: N images, K classes, S clients.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from bench.errors import UserError
from bench.federated.drawing import Stream, apportion, class_slots, derived_seed
from bench.federated.partition_types import Client, Partition, Split
from bench.federated.units import (
    DIVIDE,
    HOLD,
    SAMPLE,
    SIZE,
    check_request,
    client_of,
    cut,
    divided,
    packs_of,
    pools_of,
    units_of,
)

__all__ = ["Client", "Partition", "Split", "balanced", "fedap", "ida", "pair_classes", "uneven"]

DRAWS = (
    1000  # how often `fedap` draws before it gives up; 34 of 36 possible clients take five draws on average
)
LIGHTEST, HEAVIEST = 1, 10  # weights of the clients of `ida`


def fedap(
    labels: np.ndarray,
    groups: Sequence[str],
    split: Split,
    seed: int,
    *,
    clients: int = 34,
    cap: int = 500,
    group_size: int = 35,
    test_share: float = 0.2,
) -> Partition:
    """FedAP's clients: two packs of images from two classes each (thesis 6.5; specification, section 1).

    At most `cap` random images a class are kept and cut into floor(n / group_size) packs. Clients draw two
    distinct classes uniformly among those with packs left until fewer than two such classes remain. How many
    clients that gives is chance, so draws follow one another, each with a seed derived from `seed`, until
    there are `clients`. A random `test_share` of a client's images is its test set.

    Under `lesion_grouped` packs are filled with whole lesions, to exactly `group_size` where sizes allow and
    never above, and whole lesions go to test, as near to `test_share` as sizes allow.

    Args:
        labels: (N,) class numbers from 0.
        groups: N group names.
        split: What is kept together.
        seed: Whole number from 0.
        clients: S.
        cap: Images kept a class at most.
        group_size: Images in a pack.
        test_share: Share of a client's images that are its test set.

    Raises:
        UserError: No draw gives `clients` clients, or a group stands in two classes.
    """
    check_request(labels, seed, clients)
    units = units_of(labels, groups, split)
    packs = [min(cap, sum(len(u) for u in of if len(u) <= group_size)) // group_size for of in units]
    reached = set()
    for attempt in range(DRAWS):
        drawn = derived_seed(seed, attempt)
        pairs = pair_classes(packs, drawn)
        reached.add(len(pairs))
        if len(pairs) == clients:
            break
    else:
        low, high = min(reached), max(reached)
        span = f"{low}" if low == high else f"{low} to {high}"
        raise UserError(
            f"`protocol.clients={clients}` cannot be had: {sum(packs)} packs of {group_size} images, "
            f"{', '.join(map(str, packs))} by class, gave {span} clients "
            f"in {DRAWS} draws; set `protocol.clients` to {'that' if low == high else 'one of these'}"
            f"{' or use more data' if high < clients else ''}."
        )
    filled = [packs_of(of, c, packs[c], cap, group_size, drawn) for c, of in enumerate(units)]
    members = [[u for c in pair for u in filled[c].pop()] for pair in pairs]
    return divided(members, test_share, seed, drawn)


def pair_classes(packs: Sequence[int], seed: int) -> list[tuple[int, int]]:
    """Draw pairs of distinct classes, uniformly among classes with packs left, until fewer than two remain.

    Args:
        packs: Packs of each class, (K,).
        seed: Whole number from 0.

    Returns:
        One pair of class numbers a client.
    """
    stream = Stream(seed)
    left = list(packs)
    pairs = []
    while len(open_ := [c for c, n in enumerate(left) if n]) > 1:
        first = open_.pop(stream.below(len(open_)))
        second = open_[stream.below(len(open_))]
        left[first] -= 1
        left[second] -= 1
        pairs.append((first, second))
    return pairs


def ida(
    labels: np.ndarray,
    groups: Sequence[str],
    split: Split,
    seed: int,
    *,
    clients: int = 10,
    classes_per_client: int = 7,
    test_share: float = 0.1,
) -> Partition:
    """IDA's unbalanced clients: random classes and a random number of samples each (thesis, Table 6.3).

    The thesis gives no rule, so this one is ours. Each class is held by as equal as possible a number of
    clients. Every client has a random weight, a whole number from 1 to 10, and each class is divided among
    its holders in proportion to their weights (whole lesions under `lesion_grouped`), at least two units
    each. So every image of a held class is used exactly once, clients differ in size up to about tenfold,
    and with all classes per client the class mix is nearly the same everywhere while the sizes are not.

    Args:
        labels: (N,) class numbers from 0.
        groups: N group names.
        split: What is kept together.
        seed: Whole number from 0.
        clients: S.
        classes_per_client: Classes each client holds, 1 to K.
        test_share: Share of a client's images that are its test set.

    Raises:
        UserError: A bad number, a class too small for its holders, or a group that stands in two classes.
    """
    check_request(labels, seed, clients, classes_per_client)
    units = units_of(labels, groups, split)
    held = class_slots(clients, len(units), classes_per_client, Stream(seed, HOLD))
    stream = Stream(seed, SIZE)
    weights = [LIGHTEST + stream.below(HEAVIEST - LIGHTEST + 1) for _ in range(clients)]
    members: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for c, of in enumerate(units):
        holders = [s for s in range(clients) if c in held[s]]
        if len(of) < 2 * len(holders):
            what = "images" if split is Split.image_level else "lesions"
            raise UserError(
                f"Class {c} (counted from 0) has {len(of)} {what} for {len(holders)} clients, which need two "
                f"each; lower `protocol.clients={clients}` or "
                f"`protocol.classes_per_client={classes_per_client}`."
            )
        if not holders:
            continue
        order = iter(Stream(seed, SAMPLE, c).order(len(of)))
        for s, count in zip(holders, apportion(len(of), [weights[s] for s in holders], 2), strict=True):
            members[s] += [of[next(order)] for _ in range(count)]
    return divided(members, test_share, seed, seed)


def balanced(
    labels: np.ndarray,
    seed: int,
    *,
    clients: int,
    classes_per_client: int,
    test_share: float = 0.1,
    most_per_client: int | None = None,
) -> Partition:
    """Equal clients: as many classes and as many samples each (thesis, Tables 6.1 and 6.2).

    Each class is held by as equal as possible a number of clients, and every class of every client gets the
    same number of images: as many as the scarcest class allows. The data is pooled first; a random
    `test_share` of each client's images is its test set. Every image stands alone.

    Args:
        labels: (N,) class numbers from 0.
        seed: Whole number from 0.
        clients: S.
        classes_per_client: Classes each client holds, 1 to K.
        test_share: Share of a client's images that are its test set.
        most_per_client: Images a client holds at most, test included; None for no limit.

    Raises:
        UserError: A bad number, or fewer than two images for a client.
    """
    check_request(labels, seed, clients, classes_per_client)
    pools = pools_of(labels, seed)
    held = class_slots(clients, len(pools), classes_per_client, Stream(seed, HOLD))
    holders = np.bincount(np.concatenate(held), minlength=len(pools))
    each = min(len(pool) // n for pool, n in zip(pools, holders.tolist(), strict=True) if n)
    if most_per_client is not None:
        each = min(each, most_per_client // classes_per_client)
    if each * classes_per_client < 2 or each < 1:
        limit = "" if most_per_client is None else f" and `protocol.most_per_client={most_per_client}`"
        raise UserError(
            f"`protocol.clients={clients}` with `protocol.classes_per_client={classes_per_client}`{limit} "
            f"leaves {each} images a class and client, but a client needs one to train and one to test with; "
            "use fewer clients or more data."
        )
    members = []
    used = [0] * len(pools)
    for own in held:
        members.append(np.concatenate([pools[c][used[c] : used[c] + each] for c in own]))
        for c in own:
            used[c] += each
    return Partition(
        tuple(cut(m, test_share, Stream(seed, DIVIDE, s)) for s, m in enumerate(members)), seed, seed
    )


def uneven(
    labels: np.ndarray,
    seed: int,
    *,
    clients: int,
    classes_per_client: int,
    most_per_class: int,
    test_share: float = 0.1,
    doubled: Collection[int] = (),
) -> Partition:
    """Clients with random class sizes, some of them with twice the training samples (thesis, Figure 6.4).

    Every class of every client has a random number of images, 2 to `most_per_class`, of which a random
    `test_share` (at least one) is tested on. A client in `doubled` then gets as many further training images
    of each class as it has. Nothing else depends on `doubled`: all test sets and the other clients' train
    sets stay the same. The draw is refused at once if not all clients could be doubled.

    Args:
        labels: (N,) class numbers from 0.
        seed: Whole number from 0.
        clients: S.
        classes_per_client: Classes each client holds, 1 to K.
        most_per_class: Images of one class in one client at most, before doubling.
        test_share: Share of the images of a client's class that are in its test set.
        doubled: Numbers of the clients with twice the training images.

    Raises:
        UserError: A bad number, or too few images of a class.
    """
    check_request(labels, seed, clients, classes_per_client)
    if most_per_class < 2:
        raise UserError(f"`protocol.most_per_class` takes a whole number from 2, got {most_per_class}.")
    strangers = sorted(s for s in doubled if not 0 <= s < clients)
    if strangers:
        raise UserError(
            f"`doubled` names client {strangers[0]}, but clients are numbered 0 to {clients - 1}."
        )
    pools = pools_of(labels, seed)
    held = class_slots(clients, len(pools), classes_per_client, Stream(seed, HOLD))
    stream = Stream(seed, SIZE)
    sizes = [[2 + stream.below(most_per_class - 1) for _ in own] for own in held]
    tests = [[max(1, round(test_share * n)) for n in row] for row in sizes]
    first, extra = [0] * len(pools), [0] * len(pools)  # next free image, then where the further ones begin
    for own, row in zip(held, sizes, strict=True):
        for c, n in zip(own, row, strict=True):
            extra[c] += n
    train, test = [[[] for _ in range(clients)] for _ in range(2)]
    for s, own in enumerate(held):
        for c, n, m in zip(own, sizes[s], tests[s], strict=True):
            test[s].append(pools[c][first[c] : first[c] + m])
            train[s].append(pools[c][first[c] + m : first[c] + n])
            first[c] += n
            more, extra[c] = extra[c], extra[c] + n - m
            if s in doubled:
                train[s].append(pools[c][more : more + n - m])
    for c, pool in enumerate(pools):
        if extra[c] > len(pool):
            raise UserError(
                f"Class {c} (counted from 0) has {len(pool)} images, but its clients were drawn {extra[c]} "
                f"(doubling included); lower `protocol.most_per_class={most_per_class}` or "
                f"`protocol.clients={clients}`."
            )
    return Partition(tuple(map(client_of, train, test)), seed, seed)
