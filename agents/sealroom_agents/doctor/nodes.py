# SPDX-License-Identifier: Apache-2.0
"""Each RPC endpoint: does it answer, how far behind is finality, how many blocks of logs does it give?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sealroom_agents.chain.look import LOOK_GAS
from sealroom_agents.chain.rpc import Head, Rpc
from sealroom_agents.chains import LOCAL_CHAIN_IDS, OTHER_HEIGHTS, SUPPORTED
from sealroom_agents.doctor.findings import Finding, State
from sealroom_agents.errors import ChainError

STALE_S = 120
"""A newest block that is older is a node out of sync, or a chain that stands still."""
SKEW_S = 15
"""A block so far in the future is a clock that is wrong."""
LATE_FINALITY_S = 3600
"""A finalized block that is older is told: what waits for it waits long."""
RANGES = (10_000, 1_000, 100, 10)
"""Blocks of logs that are asked for at once, the most first."""
FEWEST_BLOCKS = 1_000
"""With fewer, following a chain costs many questions."""
NOBODY = "0x" + "11" * 20


@dataclass(frozen=True)
class Seen:
    """What one endpoint showed."""

    rpc: Rpc
    chain_id: int
    latest: Head
    finalized: Head


def look_at(
    urls: Sequence[str], *, chain_id: int | None, private_chain: int | None, clock: Callable[[], float]
) -> tuple[list[Finding], list[Seen]]:
    """Findings of all endpoints, and what those that answer showed."""
    findings: list[Finding] = []
    seen: list[Seen] = []
    for url in urls:
        rpc = Rpc(url)
        try:
            one = Seen(rpc, rpc.chain_id(), rpc.head("latest"), rpc.head("finalized"))
        except ChainError as error:
            findings.append(
                Finding(
                    "rpc",
                    State.BROKEN,
                    error.message,
                    f"ask it yourself: {asking(rpc)}; or replace it in [chain] rpc",
                )
            )
            continue
        seen.append(one)
        findings += [
            Finding("rpc", State.OK, f"{rpc.shown_url} answers, block {one.latest.number}"),
            *_chain(one, chain_id, private_chain),
            *_times(one, clock()),
            *_calls(one),
            *_logs(one),
        ]
    findings += _agreement(seen)
    if len(urls) == 1 and seen and seen[0].chain_id not in LOCAL_CHAIN_IDS:
        findings.append(
            Finding(
                "rpc",
                State.WARNING,
                "one endpoint only: what it says is believed",
                "name three in [chain] rpc, of different operators, then `sealroom config check`",
            )
        )
    return findings, seen


def asking(rpc: Rpc) -> str:
    """How a person asks a node for its newest block."""
    body = '{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}'
    return f"`curl -sS -H content-type:application/json -d '{body}' {rpc.shown_url}`"


def _chain(one: Seen, wanted: int | None, private_chain: int | None) -> Iterator[Finding]:
    if wanted is not None and one.chain_id != wanted:
        told = f"{one.rpc.shown_url} is of chain {one.chain_id}, not {wanted}"
        yield Finding(
            "chain",
            State.BROKEN,
            told,
            "take an endpoint of the right chain, or correct [chain] id; then `sealroom config check`",
        )
    elif one.chain_id in OTHER_HEIGHTS or one.chain_id not in (*SUPPORTED, private_chain):
        yield Finding(
            "chain", State.BROKEN, f"chain {one.chain_id} cannot be followed",
            f"deploy on another; for a private chain like Ethereum: `--private-chain {one.chain_id}`",
        )  # fmt: skip


def _times(one: Seen, now: float) -> Iterator[Finding]:
    age, lag = now - one.latest.timestamp, one.latest.timestamp - one.finalized.timestamp
    where = one.rpc.shown_url
    if age < -SKEW_S:
        yield Finding(
            "clock", State.BROKEN, f"the newest block of {where} is {-age:.0f} s in the future",
            "this machine's clock is behind: `timedatectl set-ntp true`, `chronyc tracking`",
        )  # fmt: skip
    elif age > STALE_S:
        yield Finding(
            "clock", State.WARNING, f"the newest block of {where} is {age:.0f} s old",
            "the node is out of sync, the chain stands still, or this clock is ahead: `chronyc tracking`",
        )  # fmt: skip
    else:
        yield Finding("clock", State.OK, f"the newest block of {where} is {max(age, 0):.0f} s old")
    state = State.OK if lag <= LATE_FINALITY_S else State.WARNING
    remedy = "" if state is State.OK else f"approvals and results wait for it: {asking(one.rpc)}"
    told = f"{where}: {one.latest.number - one.finalized.number} blocks, {lag} s behind"
    yield Finding("finality", state, told, remedy)


def _calls(one: Seen) -> Iterator[Finding]:
    """Whether the node takes a call with as much gas as the gate's have, at both of its blocks."""
    call = {"to": NOBODY, "data": "0x", "gas": hex(LOOK_GAS)}
    told = f"{one.rpc.shown_url} takes calls with {LOOK_GAS // 10**6} million gas"
    try:
        for tag in ("latest", "finalized"):
            one.rpc.request("eth_call", [call, tag])
    except ChainError as error:
        yield Finding(
            "calls", State.BROKEN, error.message,
            "the gate reads a block by one such call: take a provider, or a node's setting, that allows "
            f"{LOOK_GAS:,} gas (geth: `--rpc.gascap {LOOK_GAS}`)",
        )  # fmt: skip
        return
    yield Finding("calls", State.OK, told)


def _logs(one: Seen) -> Iterator[Finding]:
    """The most blocks that the node gives the logs of in one answer."""
    end = one.finalized.number
    for blocks in RANGES:
        start = max(0, end - blocks + 1)
        asked = {"address": NOBODY, "fromBlock": hex(start), "toBlock": hex(end)}
        try:
            one.rpc.request("eth_getLogs", [asked])
        except ChainError as error:
            refused = error.message
            continue
        state = State.OK if blocks >= FEWEST_BLOCKS else State.WARNING
        remedy = (
            ""
            if state is State.OK
            else "take a provider, or a plan, that gives 1,000: `sealroom doctor --rpc URL` tells"
        )
        yield Finding("logs", state, f"{one.rpc.shown_url} gives logs of {blocks:,} blocks at once", remedy)
        return
    yield Finding(
        "logs",
        State.BROKEN,
        refused,
        "events cannot be read there, take another provider: `sealroom doctor --rpc URL` tells",
    )


def _agreement(seen: Sequence[Seen]) -> Iterator[Finding]:
    """Whether all show the same block at the height that all of them call final."""
    if len(seen) < 2:
        return
    height = min(one.finalized.number for one in seen)
    hashes: dict[bytes, list[str]] = {}
    for one in seen:
        try:
            hashes.setdefault(one.rpc.head(height).hash, []).append(one.rpc.shown_url)
        except ChainError as error:
            yield Finding(
                "agreement",
                State.BROKEN,
                error.message,
                "replace that endpoint in [chain] rpc, then `sealroom config check`",
            )
    if len(hashes) > 1:
        told = "; ".join(f"{', '.join(urls)} 0x{digest.hex()[:8]}…" for digest, urls in hashes.items())
        yield Finding(
            "agreement",
            State.BROKEN,
            f"final block {height} differs: {told}",
            "one lies, or is of another chain: replace it in [chain] rpc, then `sealroom config check`",
        )
    else:
        yield Finding("agreement", State.OK, f"{len(seen)} endpoints show the same final block {height}")
