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

from eth_utils.crypto import keccak

from sealroom.model import ApproveStudy, Record, Revoke, Roster, Study, Validity, Withdraw
from sealroom_agents.chain.contracts import interface
from tests.contracts import safes
from tests.contracts.workshop import (
    DELTA_PICO,
    DEPLOYER,
    EPSILON_MICRO,
    GATE,
    LIMITS,
    MONTH_S,
    STRANGER,
    Consortium,
    Workshop,
)
from tests.local_chain import LocalChain, account, creation_code

SNAPSHOT = Path(__file__).with_name("gas-snapshot.json")
QUORUMS = ((2, 3), (3, 3), (5, 8))
"""k of n."""
RUN_DATASETS = (1, 4)
"""Over how many datasets runs are opened."""
MANY_RUNS = 16
"""How many runs are opened in one transaction, besides one."""
BATCH = 1_000
ZERO_BYTE_SAVES = 12
"""How much less gas a zero byte of call data takes than another one (EIP-2028)."""
LONG_REASON = "why " * 64
"""As many bytes of a reason as a consortium keeps."""
REASON = "consent withdrawn"
KINDS = (
    ("SafeL2 1.4.1", safes.V1_4_1, True),
    ("Safe 1.4.1", safes.V1_4_1, False),
    ("SafeL2 1.5.0", safes.V1_5_0, True),
    ("Safe 1.5.0", safes.V1_5_0, False),
)
LONG_REVOCATION = "revoke, a reason of 256 bytes"


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
    return f"approve, {k} signatures of {n}, {counted(datasets)}, {which}"


def open_name(which: str, datasets: int) -> str:
    """Name of a run's measurement; `which` is of the consortium, of the study or later."""
    return f"open, {counted(datasets)}, {which}"


def each_name(datasets: int) -> str:
    """Name of what each of many runs takes that are opened together."""
    return f"open, {counted(datasets)}, each of {MANY_RUNS} runs"


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
        study = self._shop.study(house)
        pinned = self._shop.pin(house, study, owners=k)
        name = pin_name("after a revocation", k, n, datasets)
        self._note(name, pinned)
        # Its basis, and so each signature, hangs on a block's hash, another one at each run: counted as if
        # none of them had a zero byte.
        by = self._shop.signed(house, k, lambda owner: ApproveStudy(owner=owner, study=study))
        zeros = sum(part.count(0) for part in (study.basis, *(signature for _, signature in by)))
        self._gas[name] += ZERO_BYTE_SAVES * zeros

    def _story(self) -> None:
        """Each call that owners make one by one, in a consortium of four, three of whom grant."""
        shop = self._shop
        code = _without_metadata(creation_code("Consortium"))
        factory = shop.deploy("Factory", shop.ledger, keccak(code))
        house = shop.consortium(4, 3, datasets=3)
        rows = [member.solidity() for member in house.members]
        arguments = rows, 3, shop.draw(), code
        created = interface("Factory").encode("create", *arguments)
        self._note("create, 4 owners", shop.chain.send(DEPLOYER, factory, created))
        self._data(house)
        self._platforms(house)
        self._votes(house)
        self._roster(house)

    def _data(self, house: Consortium) -> None:
        shop = self._shop
        dataset = house.datasets[0]
        owner = house.holders[dataset]
        given = shop.version().solidity(), EPSILON_MICRO, DELTA_PICO
        self._note("register", shop.call(3, shop.ledger, "register", "registry", *given))
        more = shop.call(owner, shop.ledger, "addVersion", dataset, shop.version().solidity())
        self._note("addVersion", more)
        limits = LIMITS.solidity()
        for which in ("first", "changed"):
            receipt = shop.call(owner, shop.ledger, "allow", dataset, house.address, limits)
            self._note(f"allow, {which}", receipt)
        receipt = shop.call(owner, shop.ledger, "setLifetime", dataset, EPSILON_MICRO, DELTA_PICO + 1)
        self._note("setLifetime", receipt)
        self._note("offer, 1 dataset", shop.call(owner, shop.ledger, "offer", [dataset], account(STRANGER)))

    def _platforms(self, house: Consortium) -> None:
        shop = self._shop
        platform = shop.platform()
        self._one_by_one(house, "adoptPlatform", "adopts", platform, shop.validity(shop.state(house).charter))
        self._note("adoptPlatform, 3 signatures, replaces", shop.adopt(house, owners=3))
        machines = shop.machines()
        self._one_by_one(house, "addMachines", "adds", machines, shop.validity(shop.state(house).charter))

    def _votes(self, house: Consortium) -> None:
        shop = self._shop
        content = shop.study(house).solidity()
        for n, what in enumerate(("first vote", "later vote", "pins")):
            receipt = shop.call(n, house.address, "approve", content, [])
            self._note(f"approve, {what}", receipt)
        study = shop.study(house)
        shop.call(0, house.address, "approve", study.solidity(), [])
        self._note("withdraw", shop.call(0, house.address, "withdraw", study.id))
        given = shop.signature(house, 1, Withdraw(owner=account(1), proposal=study.id))
        receipt = shop.call(STRANGER, house.address, "withdrawWithSignature", study.id, given)
        self._note("withdrawWithSignature", receipt)
        given = shop.signature(house, 2, Revoke(owner=account(2), reason=REASON, returns=0))
        receipt = shop.call(STRANGER, house.address, "revokeWithSignature", REASON, given)
        self._note("revokeWithSignature", receipt)
        self._note("revoke, nothing live", shop.call(1, house.address, "revoke", REASON))
        shop.pin(house, shop.study(house), owners=3)
        self._note(LONG_REVOCATION, shop.call(3, house.address, "revoke", LONG_REASON))

    def _roster(self, house: Consortium) -> None:
        shop = self._shop
        self._note("confirm", shop.call(3, house.address, "confirm"))
        self._note("offerSeat", shop.call(3, house.address, "offerSeat", account(STRANGER)))
        smaller = Roster(remove=("hospital-3",), add=(), threshold=3)
        terms = shop.validity(shop.state(house).roster_digest)
        self._one_by_one(house, "changeRoster", "removes one", smaller, terms)
        larger = Roster(remove=(), add=(shop.member(4),), threshold=3)
        self._note("changeRoster, 3 signatures, seats one", shop.change(house, larger, owners=3))

    def _one_by_one(
        self, house: Consortium, function: str, effect: str, content: Record, terms: Validity
    ) -> None:
        """Three owners vote, each in a transaction of its own; the last vote takes effect."""
        for n, what in enumerate(("first vote", "later vote", effect)):
            given = content.solidity(), terms.solidity()
            self._note(f"{function}, {what}", self._shop.call(n, house.address, function, *given, []))

    def _runs(self, datasets: int) -> None:
        house, study = self._running(datasets)
        opened = self._note(open_name("first run of the consortium", datasets), self._shop.open(house, study))
        self._note(f"anchor, first of the consortium, {datasets}", self._shop.anchor(opened))
        opened = self._note(open_name("later run of a study", datasets), self._shop.open(house, study))
        self._note(f"anchor, later, {datasets}", self._shop.anchor(opened))
        self._gas[each_name(datasets)] = used(self._shop.open(house, study, MANY_RUNS)) // MANY_RUNS
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
            digests = [self._shop.draw() for _ in numbers]
            arguments = house.address, self._shop.state(house).standing, numbers, digests
            receipt = self._shop.call(GATE, self._shop.ledger, "anchorBatch", *arguments)
            self._note(batch_name(count), receipt)

    def _running(self, datasets: int) -> tuple[Consortium, Study]:
        """A consortium with a study pinned on datasets that it may spend; all owners grant."""
        shop = self._shop
        house = shop.consortium(datasets, datasets, datasets=datasets)
        shop.allow(house)
        shop.adopt(house, owners=datasets)
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


def _without_metadata(code: bytes) -> bytes:
    """As long, without the hash over all sources, whose zero bytes in call data change with each comment."""
    size = int.from_bytes(code[-2:], "big") + 2
    return code[:-size] + b"\x11" * size


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
