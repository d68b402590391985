# SPDX-License-Identifier: Apache-2.0
"""Gas of our calls beside that of a genuine Safe which owns dstack's app, on one anvil, with the targets.

Both sides gather k ECDSA signatures off chain, and a stranger hands them in. Ours also carries the whole
study, books it, checks the consent of each dataset's owner, and drops the recipe before. It is measured over
one dataset, and over k datasets of k owners.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.contracts.gas import (
    BATCH,
    KINDS,
    LONG_REVOCATION,
    QUORUMS,
    RUN_DATASETS,
    Measured,
    batch_name,
    counted,
    each_name,
    measure,
    pin_name,
)

PEER = KINDS[0][0]
"""The Safe that most wallets make."""
PIN_RATIO = 1.25
"""Over one dataset."""
REVOKE_GAS = 60_000
EACH_GAS = 60_000
"""One of many runs that are opened together."""
ANCHORED_GAS = 3_000


def run() -> Iterator[str]:
    measured = measure()
    yield from _table(_against_safe(measured), "| what | ours | Safe's | ratio | target |")
    yield ""
    yield from _table(_alone(measured), "| what | ours | target |")
    yield ""
    yield from _table(_safes(measured), "| Safe | add, its first | add | remove | add and remove |")
    yield ""
    yield from _table(_all(measured), "| call | gas |")


def _table(rows: Iterator[str], head: str) -> Iterator[str]:
    yield head
    yield "|" + "---|" * (head.count("|") - 1)
    yield from rows


def _against_safe(measured: Measured) -> Iterator[str]:
    for k, n in QUORUMS:
        for datasets in (1, k):
            yield from _pins(measured, k, n, datasets)
    for k, n in QUORUMS:
        revoke = measured.ours[f"revoke, {k}-of-{n}"]
        yield _row(f"{k}-of-{n}: revoke : remove", revoke, measured.safes[PEER, k, n].remove, None)
    yield _row("revoke : remove by an EOA that owns the app", revoke, measured.eoa_remove, None)


def _pins(measured: Measured, k: int, n: int, datasets: int) -> Iterator[str]:
    safe = measured.safes[PEER, k, n]
    first, later = (measured.ours[pin_name(which, k, n, datasets)] for which in ("first", "replacement"))
    what, target = f"{k}-of-{n}, {counted(datasets)}", PIN_RATIO if datasets == 1 else None
    returned = measured.ours[pin_name("after a revocation", k, n, datasets)]
    yield _row(f"{what}: first pin : first add", first, safe.first, target)
    yield _row(f"{what}: replacement : add", later, safe.add, target)
    yield _row(f"{what}: replacement : add and remove", later, safe.replace, target)
    yield _row(f"{what}: pin after a revocation : add", returned, safe.add, None)


def _alone(measured: Measured) -> Iterator[str]:
    for name in ("revoke, 2-of-3", LONG_REVOCATION):
        yield _limit(name, measured.ours[name], REVOKE_GAS)
    for datasets in RUN_DATASETS:
        yield _limit(each_name(datasets), measured.ours[each_name(datasets)], EACH_GAS)
    yield _limit("anchor, each of a batch of 1,000", measured.ours[batch_name(BATCH)] // BATCH, ANCHORED_GAS)


def _safes(measured: Measured) -> Iterator[str]:
    for (kind, k, n), path in measured.safes.items():
        yield f"| {kind}, {k}-of-{n} | {path.first:,} | {path.add:,} | {path.remove:,} | {path.replace:,} |"


def _all(measured: Measured) -> Iterator[str]:
    for name, gas in measured.ours.items():
        yield f"| {name} | {gas:,} |"


def _row(what: str, ours: int, theirs: int, target: float | None) -> str:
    ratio = ours / theirs
    return f"| {what} | {ours:,} | {theirs:,} | {ratio:.3f} | {_verdict(ratio, target)} |"


def _limit(what: str, ours: int, target: int) -> str:
    return f"| {what} | {ours:,} | {_verdict(ours, target)} |"


def _verdict(value: float, target: float | None) -> str:
    if target is None:
        return ""
    return f"≤ {target:,} {'holds' if value <= target else 'MISSED'}"
