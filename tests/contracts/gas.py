# SPDX-License-Identifier: Apache-2.0
"""Gas of every call of the contracts, and of what a Safe that owns dstack's app itself pays instead.

`measure()` gives the numbers. The ones of our own calls are the same at every run: gas-snapshot.json keeps
them, a test compares them, and

    python -m tests.contracts.gas --write

renews them after a change that was meant.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealroom import typed
from tests.contracts import safes
from tests.contracts.workshop import (
    DELTA_PICO,
    DEPLOYER,
    EPSILON_MICRO,
    GATE,
    MONTH_S,
    RUNS,
    STRANGER,
    Consortium,
    Study,
    Workshop,
    sign,
    with_another,
)
from tests.local_chain import LocalChain, account

SNAPSHOT = Path(__file__).with_name("gas-snapshot.json")
QUORUMS = ((2, 3), (3, 3), (5, 8))
"""k of n."""
RUN_DATASETS = (1, 4)
"""Over how many datasets runs are opened."""
BATCH = 1_000
REASON = "consent withdrawn"
KINDS = (
    ("SafeL2 1.4.1", safes.V1_4_1, True),
    ("Safe 1.4.1", safes.V1_4_1, False),
    ("SafeL2 1.5.0", safes.V1_5_0, True),
    ("Safe 1.5.0", safes.V1_5_0, False),
)
EOA = "EOA"


@dataclass(frozen=True)
class SafePath:
    """What one Safe that owns dstack's app pays."""

    first: int
    """Its first transaction ever: `addComposeHash`."""
    add: int
    """A later `addComposeHash`."""
    remove: int
    """A later `removeComposeHash`."""
    replace: int
    """Both in one transaction, through MultiSendCallOnly."""


@dataclass(frozen=True)
class Measured:
    """All of one run of the measurements."""

    ours: dict[str, int]
    """Gas of each of our own calls, by its name."""
    safes: dict[tuple[str, int, int], SafePath]
    """By kind of Safe, k and n."""
    eoa_remove: int
    """`removeComposeHash` by an EOA that owns dstack's app: what stopping costs without any quorum."""


def measure() -> Measured:
    """All measurements, on one chain."""
    with LocalChain.start() as chain:
        workshop = Workshop(chain)
        return Measured(
            ours=_Ours(workshop).all(),
            safes={(kind, k, n): path for k, n in QUORUMS for kind, path in _safes(workshop, k, n)},
            eoa_remove=_eoa(workshop),
        )


def measure_ours() -> dict[str, int]:
    """The measurements that gas-snapshot.json keeps."""
    with LocalChain.start() as chain:
        return _Ours(Workshop(chain)).all()


def used(receipt: dict[str, Any]) -> int:
    return int(receipt["gasUsed"], 16)


def pin_name(which: str, k: int, n: int, datasets: int) -> str:
    """Name of a pin's measurement; `which` is first, replacement or after a revocation."""
    return f"approveWithSignatures, {k}-of-{n}, {counted(datasets)}, {which}"


def open_name(which: str, datasets: int) -> str:
    """Name of a run's measurement; `which` is of the consortium, of the study or later."""
    return f"open, {counted(datasets)}, {which}"


def counted(datasets: int) -> str:
    return f"{datasets} dataset{'s' if datasets > 1 else ''}"


def batch_name(count: int) -> str:
    return f"anchorBatch, {count:,} receipts"


class _Ours:
    def __init__(self, workshop: Workshop) -> None:
        self._shop = workshop
        self._gas: dict[str, int] = {}

    def all(self) -> dict[str, int]:
        for k, n in QUORUMS:
            for datasets in (1, k):
                self._pins(k, n, datasets)
        self._story()
        for datasets in RUN_DATASETS:
            self._runs(datasets)
        self._batches()
        self._expiry()
        return self._gas

    def _note(self, name: str, receipt: dict[str, Any]) -> dict[str, Any]:
        if name in self._gas:
            raise KeyError(name)
        self._gas[name] = used(receipt)
        return receipt

    def _pins(self, k: int, n: int, datasets: int) -> None:
        house = self._shop.consortium(n, k, datasets=datasets)
        for which in ("first", "replacement"):
            pinned = self._shop.pin(house, self._shop.study(house), owners=k)
            self._note(pin_name(which, k, n, datasets), pinned)
        revoked = self._shop.call(0, house.address, "revoke", REASON)
        if datasets == k:
            self._note(f"revoke, {k}-of-{n}", revoked)
        pinned = self._shop.pin(house, self._shop.study(house), owners=k)
        self._note(pin_name("after a revocation", k, n, datasets), pinned)

    def _story(self) -> None:
        """Each call that owners make one by one, in a consortium of four, three of whom grant."""
        shop = self._shop
        factory = shop.deploy("Factory", shop.ledger)
        house = shop.consortium(4, 3, datasets=3)
        rows = [member.solidity() for member in house.members]
        created = safes.call("create((address,bytes32,bytes2,uint16)[],uint8,bytes32)", rows, 3, shop.draw())
        self._note("create, 4 owners", shop.chain.send(DEPLOYER, factory, created))
        for which in ("first of an owner", "later"):
            arguments = shop.draw(), shop.draw(), shop.draw(), shop.draw(), 1968, which.replace(" ", "-")
            self._note(
                f"registerDataset, {which}", shop.call(3, house.address, "registerDataset", *arguments)
            )
        cap = EPSILON_MICRO, DELTA_PICO, RUNS
        for which in ("first", "changed"):
            receipt = shop.call(0, shop.ledger, "setCap", house.address, house.datasets[0], cap)
            self._note(f"setCap, {which}", receipt)
        self._platforms(house)
        self._votes(house)
        self._roster(house)

    def _platforms(self, house: Consortium) -> None:
        shop = self._shop
        platform = shop.platform()
        for n, what in enumerate(("first vote", "later vote", "adopts")):
            receipt = shop.call(n, house.address, "adoptPlatform", platform.solidity())
            self._note(f"adoptPlatform, {what}", receipt)
        platform, epoch = shop.platform(), shop.epoch(house)
        signers, signatures = shop.collect(
            3, lambda owner: typed.adopt_platform(platform, owner=owner, epoch=epoch, **shop.domain(house))
        )
        arguments = platform.solidity(), signers, signatures
        receipt = shop.call(STRANGER, house.address, "adoptPlatformWithSignatures", *arguments)
        self._note("adoptPlatformWithSignatures, 3, replaces", receipt)

    def _votes(self, house: Consortium) -> None:
        shop = self._shop
        study = shop.study(house)
        content = study.solidity()
        self._note("propose, 3 datasets", shop.call(0, house.address, "propose", content))
        for n, what in enumerate(("first vote", "later vote", "pins")):
            self._note(f"approve, {what}", shop.call(n, house.address, "approve", content))
        study = shop.study(house)
        proposal = study.id
        shop.call(0, house.address, "approve", study.solidity())
        self._note("withdraw", shop.call(0, house.address, "withdraw", proposal))
        epoch = shop.epoch(house)
        message = typed.withdraw(proposal, owner=account(1), epoch=epoch, **shop.domain(house))
        arguments = proposal, account(1), epoch, sign(message, 1)
        receipt = shop.call(STRANGER, house.address, "withdrawWithSignature", *arguments)
        self._note("withdrawWithSignature", receipt)
        message = typed.revoke(REASON, owner=account(2), epoch=epoch, **shop.domain(house))
        given = account(2), REASON, epoch, sign(message, 2)
        receipt = shop.call(STRANGER, house.address, "revokeWithSignature", *given)
        self._note("revokeWithSignature", receipt)
        self._note("revoke, nothing active", shop.call(1, house.address, "revoke", REASON))

    def _roster(self, house: Consortium) -> None:
        shop = self._shop
        after = with_another(house.members)
        rows = [member.solidity() for member in after]
        for n, what in enumerate(("first vote", "later vote", "seats")):
            receipt = shop.call(n, house.address, "changeOwners", rows, 3)
            self._note(f"changeOwners, 4 owners, {what}", receipt)
        epoch = shop.epoch(house)
        signers, signatures = shop.collect(
            3,
            lambda owner: typed.change_owners(
                house.members, 3, owner=owner, epoch=epoch, **shop.domain(house)
            ),
        )
        rows = [member.solidity() for member in house.members]
        arguments = rows, 3, signers, signatures
        receipt = shop.call(STRANGER, house.address, "changeOwnersWithSignatures", *arguments)
        self._note("changeOwnersWithSignatures, 4 owners, 3, seats", receipt)

    def _runs(self, datasets: int) -> None:
        house, study = self._running(datasets)
        opened = self._note(open_name("first run of the consortium", datasets), self._shop.open(house, study))
        self._note(f"anchor, first of the consortium, {datasets}", self._shop.anchor(opened))
        opened = self._note(open_name("later run of a study", datasets), self._shop.open(house, study))
        self._note(f"anchor, later, {datasets}", self._shop.anchor(opened))
        study = self._shop.study(house)
        self._shop.pin(house, study, owners=datasets)
        self._note(open_name("first run of a study", datasets), self._shop.open(house, study))

    def _batches(self) -> None:
        house, study = self._running(1)
        next_ = 1
        for count in (1, 10, BATCH):
            self._shop.open_many(house, study, count)
            numbers = list(range(next_, next_ + count))
            next_ += count
            arguments = house.address, study.epoch, numbers, [self._shop.draw() for _ in numbers]
            receipt = self._shop.call(GATE, self._shop.ledger, "anchorBatch", *arguments)
            self._note(batch_name(count), receipt)

    def _running(self, datasets: int) -> tuple[Consortium, Study]:
        """A consortium with a study pinned on its capped datasets; all owners grant."""
        shop = self._shop
        house = shop.consortium(datasets, datasets, datasets=datasets)
        shop.cap(house)
        shop.adopt(house, threshold=datasets)
        study = shop.study(house)
        shop.pin(house, study, owners=datasets)
        return house, study

    def _expiry(self) -> None:
        """Last, since time moves on."""
        house, _ = self._running(1)
        self._shop.chain.advance(2 * MONTH_S)
        self._note("unpin, expired", self._shop.call(STRANGER, house.address, "unpin"))


def _safes(shop: Workshop, k: int, n: int) -> list[tuple[str, SafePath]]:
    """Each kind of Safe with n owners, k of whom sign; a stranger hands in, as with ours."""
    found = []
    for kind, package, emits_details in KINDS:
        published = safes.deploy(shop.chain, package, emits_details=emits_details)
        safe = published.create(range(n), k)
        app = shop.upstream_app(safe.address)
        added = [shop.draw() for _ in range(3)]
        first = safe.execute(app, _add(added[0]), range(k))
        add = safe.execute(app, _add(added[1]), range(k))
        remove = safe.execute(app, _remove(added[0]), range(k))
        both = safes.packed([(app, _add(added[2])), (app, _remove(added[1]))])
        replace = safe.execute(published.multi_send, both, range(k), operation=safes.DELEGATECALL)
        found.append((kind, SafePath(used(first), used(add), used(remove), used(replace))))
    return found


def _eoa(shop: Workshop) -> int:
    app = shop.upstream_app(account(0))
    recipe = shop.draw()
    shop.chain.send(0, app, _add(recipe))
    return used(shop.chain.send(0, app, _remove(recipe)))


def _add(recipe: bytes) -> bytes:
    return safes.call("addComposeHash(bytes32)", recipe)


def _remove(recipe: bytes) -> bytes:
    return safes.call("removeComposeHash(bytes32)", recipe)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Gas of our own calls.")
    parser.add_argument("--write", action="store_true", help="renew gas-snapshot.json")
    write = parser.parse_args(arguments).write
    ours = measure_ours()
    if write:
        SNAPSHOT.write_text(json.dumps(ours, indent=2) + "\n")
    for name, gas in ours.items():
        print(f"{gas:>10,}  {name}")


if __name__ == "__main__":
    main()
