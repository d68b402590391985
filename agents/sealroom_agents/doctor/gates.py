# SPDX-License-Identifier: Apache-2.0
"""The gate as it shows itself, what owners adopted, what may still be spent; and what processes lack."""

from __future__ import annotations

import email.utils
import json
from collections.abc import Callable, Iterator, Sequence

import httpx

from sealroom.encoding import sha256
from sealroom.model.units import epsilon_text
from sealroom_agents.chain import ChainReader
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.doctor.findings import Finding, State
from sealroom_agents.errors import ChainError
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
LAST_RUNS = 1
"""So few runs left are told."""


def processes(named: Sequence[tuple[str, str]], *, clock: Callable[[], float]) -> Iterator[Finding]:
    """Each process by its name and URL: whether it lives, its clock, and every condition that it lacks."""
    for name, url in named:
        try:
            with (
                httpx.Client(timeout=TIMEOUT_S) as client,
                client.stream("GET", f"{url.rstrip('/')}/v1/readyz") as answer,
            ):
                data = b""
                for piece in answer.iter_bytes():
                    data += piece
                    if len(data) > MAX_BYTES:
                        break
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            yield Finding(
                name,
                State.BROKEN,
                f"{url} does not answer: {type(error).__name__}",
                f"start it: sealroom {name}",
            )
            continue
        yield from _clock(name, answer.headers.get("date"), clock())
        yield from _conditions(name, url, answer.status_code, data)


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
            "synchronise it: chrony, NTS",
        )


def _conditions(name: str, url: str, status: int, data: bytes) -> Iterator[Finding]:
    try:
        told = json.loads(data)["conditions"] if status in (200, 503) else None
        conditions = [
            (str(c["name"]), bool(c["ok"]), str(c["message"]), str(c.get("hint", ""))) for c in told or ()
        ]
    except (ValueError, KeyError, TypeError):
        conditions = []
    if not conditions:
        yield Finding(
            name,
            State.UNKNOWN,
            f"{url}/v1/readyz answers {status}, and no conditions",
            "is it of this version?",
        )
    for condition, holds, message, hint in conditions:
        yield Finding(
            f"{name} {condition}", State.OK if holds else State.BROKEN, message, "" if holds else hint
        )


def adoption(
    url: str, reader: ChainReader, rpc: Rpc, consortia: Sequence[str], *, others: bool
) -> Iterator[Finding]:
    """The gate's gas money, and for each consortium whether it adopted this gate with its policy.

    others: tell of those that adopted another one, or none, too.
    """
    gate = fetch_gate(url)
    yield balance(rpc, gate.signer, "the gate's signer")
    policy = sha256(httpx.get(f"{url.rstrip('/')}/v1/policy", timeout=TIMEOUT_S).content)
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
                "k owners: sealroom govern platform --gate URL --policy FILE",
            )  # fmt: skip
        elif platform.policy_hash != policy:
            yield Finding(
                name, State.BROKEN, "the owners adopted this gate with another platform policy",
                "start the gate with their document, or have k owners adopt a new platform",
            )  # fmt: skip
        else:
            yield Finding(name, State.OK, "this gate, with its platform policy")
        yield from caps(view)


def balance(rpc: Rpc, address: str, whose: str) -> Finding:
    """Whether an account can pay for the next transactions at today's price."""
    try:
        has, price = rpc.batch([("eth_getBalance", [address, "latest"]), ("eth_gasPrice", [])])
        wei, needed = rpc.quantity(has, 2**256 - 1), 2 * rpc.quantity(price) * OPENING_GAS * SPARE
    except ChainError as error:
        return Finding("balance", State.UNKNOWN, error.message, "look at the endpoint")
    told = f"{whose} {address} has {wei / 1e18:.6g} ether; {SPARE} transactions take {needed / 1e18:.6g}"
    if wei >= needed:
        return Finding("balance", State.OK, told)
    return Finding("balance", State.WARNING if wei else State.BROKEN, told, f"send ether to {address}")


def caps(view: ChainView) -> Iterator[Finding]:
    """What the study and its datasets may still spend."""
    study = view.study
    if study is None:
        return
    left = study.max_runs - view.spending.runs
    told = f"{left} of {study.max_runs} runs are left"
    state = State.OK if left > LAST_RUNS else State.WARNING
    yield Finding(
        "caps", state, told, "" if left > LAST_RUNS else "have owners approve more: sealroom govern propose"
    )
    each = study.epsilon_micro // max(study.max_runs, 1)
    for dataset in view.datasets:
        for what, books in (("in its life", dataset.account), ("here", dataset.allowance)):
            rest = books.epsilon_cap - books.epsilon_spent
            if rest < each:
                has = f"{dataset.holder_id}/{dataset.name} has ε {epsilon_text(max(rest, 0))} left {what}"
                yield Finding(
                    "caps", State.WARNING, f"{has}, less than a run takes",
                    "its owner may allow more: sealroom govern allow, lifetime",
                )  # fmt: skip
