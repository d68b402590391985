# SPDX-License-Identifier: Apache-2.0
"""The gate as it shows itself, what owners adopted, what may still be spent; and what processes lack."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import httpx

from sealroom.encoding import sha256, strict_json
from sealroom.errors import FormatError
from sealroom.model.units import epsilon_text
from sealroom.platform_policy import MAX_POLICY_BYTES, SAFE, PlatformPolicy
from sealroom_agents.chain import ChainReader
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.doctor.findings import Finding, State
from sealroom_agents.doctor.nodes import asking
from sealroom_agents.errors import ChainError
from sealroom_agents.exchange import exchange
from sealroom_agents.facts import ChainView
from sealroom_agents.studycard import fetch_gate

TIMEOUT_S = 10.0
"""How long a process may take to answer."""
MAX_BYTES = 256 * 1024
"""Largest answer that is read."""
SKEW_S = 5.0
"""Clocks that differ by more are told: challenges and leases are short."""
OPENING_GAS, SPARE = 700_000, 20
"""Gas of a transaction that opens a run or anchors one, and how many must be paid for."""
COMMANDS = {
    "chain": "`sealroom doctor --rpc URL` looks at one",
    "balance": "`cast send ADDRESS --value 1ether --rpc-url URL`",
    "watcher": "`sealroom watcher --config sealroom.toml`",
    "heartbeat": "`sealroom doctor --gate URL --rpc URL`",
    "database": "`sealroom db check`",
    "disk": "`df -h`",
    "index": "`sealroom doctor --rpc URL`",
    "audit": "`sealroom gate-log audit.jsonl --rpc URL`",
    "collateral": "`sealroom config show` names the PCCS",
}
"""What to type for a condition that does not hold."""
COMMAND = "`sealroom config check`"
LAST_RUNS = 1
"""So few runs left are told."""


def processes(named: Sequence[tuple[str, str]], *, clock: Callable[[], float]) -> Iterator[Finding]:
    """Each process by its name and URL: whether it lives, its clock, and every condition that it lacks."""
    for name, url in named:
        try:
            answer = exchange("GET", f"{url.rstrip('/')}/v1/readyz", timeout_s=TIMEOUT_S, limit=MAX_BYTES)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            yield Finding(
                name,
                State.BROKEN,
                f"{url} does not answer: {type(error).__name__}",
                f"start it: `sealroom {name} --config sealroom.toml`",
            )
            continue
        yield from _clock(name, answer.headers.get("date"), clock())
        yield from _conditions(name, url, answer.status, answer.body)


def _clock(name: str, date: str | None, now: float) -> Iterator[Finding]:
    try:
        skew = email.utils.parsedate_to_datetime(date or "").timestamp() - now
    except ValueError:
        return
    if abs(skew) > SKEW_S + 1:  # the header has whole seconds
        yield Finding(
            "clock",
            State.BROKEN,
            f"the clock of the {name} is {skew:+.0f} s off",
            "synchronise it there: `timedatectl set-ntp true`, `chronyc tracking`",
        )


def _conditions(name: str, url: str, status: int, data: bytes) -> Iterator[Finding]:
    try:
        told = strict_json(data, len(data), allow_floats=True)["conditions"] if status in (200, 503) else None
        conditions = [
            (str(c["name"]), bool(c["ok"]), str(c["message"]), str(c.get("hint", ""))) for c in told or ()
        ]
    except (FormatError, KeyError, TypeError, AttributeError):
        conditions = []
    if not conditions:
        yield Finding(
            name,
            State.UNKNOWN,
            f"{url}/v1/readyz answers {status}, and no conditions",
            f"is it a {name}, and of this version? `curl -sS {url}/v1/readyz`",
        )
    for condition, holds, message, hint in conditions:
        yield Finding(
            f"{name} {condition}",
            State.OK if holds else State.BROKEN,
            message,
            "" if holds else f"{hint}: {COMMANDS.get(condition, COMMAND)}",
        )


def adoption(
    url: str, reader: ChainReader, rpcs: Sequence[Rpc], consortia: Sequence[str], *, others: bool
) -> Iterator[Finding]:
    """The gate's gas money, whether nodes do what its policy asks for, and for each consortium whether it
    adopted this gate with its policy.

    others: tell of those that adopted another one, or none, too.
    """
    gate = fetch_gate(url)
    yield balance(rpcs[0], gate.signer, "the gate's signer")
    document = _policy(url)
    rules = PlatformPolicy.parse(document)
    yield from _emission(rules, rpcs)
    yield from _staleness(rules, rpcs)
    policy = sha256(document)
    root = gate.gate_root
    for consortium in consortia:
        view = reader.latest_view(consortium, whole=True).best
        if view is None:
            continue
        name = f"adopted {consortium[:10]}…"
        platform = view.platform
        if platform is None or platform.gate_root != root:
            if not others:
                continue
            told = "no gate" if platform is None else "another gate"
            yield Finding(
                name, State.BROKEN, f"the owners adopted {told}, and this one grants nothing to them",
                "k owners: `sealroom govern platform --gate URL --policy FILE`",
            )  # fmt: skip
        elif platform.policy_hash != policy:
            yield Finding(
                name, State.BROKEN, "the owners adopted this gate with another platform policy",
                "start the gate with their document: `sealroom gate --platform-policy FILE`",
            )  # fmt: skip
        else:
            yield Finding(name, State.OK, "this gate, with its platform policy")
        yield from caps(view)


def _policy(url: str) -> bytes:
    """The document of the gate's platform policy, or as much of it as one may have."""
    return exchange("GET", f"{url.rstrip('/')}/v1/policy", timeout_s=TIMEOUT_S, limit=MAX_POLICY_BYTES).body


def _emission(policy: PlatformPolicy, rpcs: Sequence[Rpc]) -> Iterator[Finding]:
    """Whether each node names the block at which results leave, where that is not the final one."""
    if policy.emit != SAFE:
        return
    for rpc in rpcs:
        try:
            told = f"{rpc.shown_url} names block {rpc.head('safe').number} as safe, at which results leave"
            yield Finding("emission", State.OK, told)
        except ChainError as error:
            yield Finding(
                "emission", State.BROKEN,
                f"results leave at a safe block by the platform policy, and there is none: {error.message}",
                f"take a node that names one: {asking(rpc)}; or adopt a policy that waits for the final one: "
                "`sealroom govern platform --gate URL --policy FILE`",
            )  # fmt: skip


def _staleness(policy: PlatformPolicy, rpcs: Sequence[Rpc]) -> Iterator[Finding]:
    """The nodes whose newest block is older than the platform policy lets the gate go by; others tell of a
    node that does not answer."""
    limit, now = policy.staleness_seconds, time.time()
    for rpc in rpcs:
        with suppress(ChainError):
            age = now - rpc.head("latest").timestamp
            if age > limit:
                yield Finding(
                    "staleness", State.BROKEN,
                    f"the newest block of {rpc.shown_url} is {age:.0f} s old, and by the platform policy the "
                    f"gate grants and renews on none older than {limit} s",
                    f"take a node that is in sync: {asking(rpc)}; where blocks come no faster, adopt a "
                    "policy that allows for it: `sealroom govern platform --gate URL --policy FILE`",
                )  # fmt: skip


def balance(rpc: Rpc, address: str, whose: str) -> Finding:
    """Whether an account can pay for the next transactions at today's price."""
    try:
        has, price = rpc.batch([("eth_getBalance", [address, "latest"]), ("eth_gasPrice", [])])
        wei, needed = rpc.quantity(has, 2**256 - 1), 2 * rpc.quantity(price) * OPENING_GAS * SPARE
    except ChainError as error:
        return Finding("balance", State.UNKNOWN, error.message, f"ask it yourself: {asking(rpc)}")
    told = f"{whose} {address} has {wei / 1e18:.6g} ether; {SPARE} transactions take {needed / 1e18:.6g}"
    if wei >= needed:
        return Finding("balance", State.OK, told)
    return Finding(
        "balance",
        State.WARNING if wei else State.BROKEN,
        told,
        f"send ether to it: `cast send {address} --value 1ether --rpc-url URL`",
    )


def caps(view: ChainView) -> Iterator[Finding]:
    """What the study and its datasets may still spend."""
    study = view.study
    if study is None:
        return
    left = study.max_runs - view.spending.runs
    told = f"{left} of {study.max_runs} runs are left"
    state = State.OK if left > LAST_RUNS else State.WARNING
    yield Finding(
        "caps", state, told, "" if left > LAST_RUNS else "have owners approve more: `sealroom govern propose`"
    )
    each = study.epsilon_micro // max(study.max_runs, 1)
    for dataset in view.datasets:
        for what, books in (("in its life", dataset.account), ("here", dataset.allowance)):
            rest = books.epsilon_cap - books.epsilon_spent
            if rest < each:
                has = f"{dataset.holder_id}/{dataset.name} has ε {epsilon_text(max(rest, 0))} left {what}"
                yield Finding(
                    "caps", State.WARNING, f"{has}, less than a run takes",
                    "its owner may allow more: `sealroom govern allow`, `sealroom govern lifetime`",
                )  # fmt: skip
