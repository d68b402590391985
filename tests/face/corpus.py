# SPDX-License-Identifier: Apache-2.0
"""Envelopes and model files, walked by `sealroom verify`'s code and by the page's, which must say the same.

A corpus is a folder of cases. Python says of each what it finds; then one process runs the page's modules
over all of them, bundled as the page bundles them, in Node.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sealroom.encoding import to_hex
from sealroom.envelope import Envelope, parse_envelope
from sealroom.errors import SealroomError
from sealroom_agents import verification
from sealroom_agents.attestation import INTEL_UNDER_ANY_POLICY, TrustRoot
from sealroom_agents.chain import ChainReader
from sealroom_agents.verification import NOTHING, Link, Pin
from sealroom_agents.verification.model_file import is_model_file, model_links, read_model
from tests.face.bundling import ROOT, bundled

RUNNER_TIMEOUT_S = 600
UNREADABLE = "recipe-"
"""How the codes begin of a recipe that cannot be read. Which one is told first is for the tests of the two
readers: the command reads any YAML, the page the accepted form alone."""
LINK = ("name", "ok", "code", "check")


@dataclass(frozen=True)
class Case:
    """One file, with what the verifier knows from elsewhere."""

    data: bytes
    trust: TrustRoot = INTEL_UNDER_ANY_POLICY
    pin: Pin = NOTHING
    now: int = 4_000_000_000
    """Unix seconds: the verifier's clock."""
    hashes: Mapping[int, bytes] | None = None
    """Hashes of blocks that it was given."""
    node: str | None = None
    """URL of the node that it asks."""


def told(case: Case) -> dict[str, Any]:
    """What `sealroom verify` says of a case, as far as the page has to say the same."""
    try:
        held = read_model(case.data) if is_model_file(case.data) else None
        envelope = parse_envelope(case.data) if held is None else held.envelope
        links: list[Link] = [] if held is None else model_links(held)
        if verification.first_broken(links) is None:
            links += _walked(envelope, case)
    except SealroomError as error:
        return {"code": str(error.code)}
    verdict = verification.verdict_of(
        links, pin=case.pin, on_chain=case.node is not None, simulated=case.trust.is_simulated
    )
    return {
        "links": [{key: _plain(getattr(one, key)) for key in LINK} for one in links],
        "details": [one.detail for one in links if one.ok],
        "verdict": str(verdict.outcome),
        "unproven": list(verdict.unproven),
        "unchecked": list(verdict.unchecked),
        "enclaveProven": verdict.enclave_proven,
        "anchored": verdict.anchored,
        "blocks": [
            {
                "number": one.number,
                "hash": to_hex(one.hash),
                "shows": list(one.shows),
                "vouchers": list(one.vouchers),
            }
            for one in verdict.blocks
        ],
    }  # fmt: skip


def _walked(envelope: Envelope, case: Case) -> list[Link]:
    reader = ChainReader([case.node], private_chain=True) if case.node is not None else None
    try:
        return list(
            verification.walk(
                envelope, trust=case.trust, pin=case.pin, now=case.now, hashes=case.hashes, chain=reader
            )
        )
    finally:
        if reader is not None:
            reader.close()


def told_by_page(cases: Mapping[str, Case], folder: Path) -> dict[str, dict[str, Any]]:
    """What the page's modules say of each case, by its name. `folder` is emptied into: one of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    places = []
    for place, (name, case) in enumerate(cases.items()):
        stem = f"{place:04}"
        places.append(name)
        (folder / f"{stem}.data").write_bytes(case.data)
        written: dict[str, Any] = {
            "file": f"{stem}.data",
            "pin": None,
            "root": None,
            "now": case.now,
            "hashes": {str(number): to_hex(one) for number, one in (case.hashes or {}).items()},
            "node": case.node,
        }
        if case.pin.origins:
            (folder / f"{stem}.pin").write_bytes(case.pin.encode())
            written["pin"] = f"{stem}.pin"
        if case.trust.root_der is not None:
            (folder / f"{stem}.root").write_bytes(case.trust.root_der)
            written["root"] = f"{stem}.root"
        (folder / f"{stem}.case").write_text(json.dumps(written))
    command = ["node", str(_runner()), str(folder)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=RUNNER_TIMEOUT_S)
    found = [json.loads(line) for line in said.stdout.splitlines()]
    return {places[int(each.pop("name"))]: each for each in found}


def require_agreement(cases: Mapping[str, Case], folder: Path) -> None:
    """Fail where the page says something else than the command, of what holds as well as of what breaks."""
    page, differ = told_by_page(cases, folder), {}
    for name, case in cases.items():
        mine, other = told(case), page[name]
        for told_besides in ("ms", "detail"):
            other.pop(told_besides, None)
        if "links" in other:
            other["details"] = [link["detail"] for link in other["links"] if link["ok"]]
            other["links"] = [{key: link[key] for key in LINK} for link in other["links"]]
        for key in {*other, *mine}:
            both = (str(other.get(key)), str(mine.get(key)))
            if key == "code" and all(code.startswith(UNREADABLE) for code in both):
                continue
            if other.get(key) != mine.get(key):
                differ[f"{name}, {key}"] = {"page": other.get(key), "command": mine.get(key)}
    assert not differ, json.dumps(differ, indent=1, default=str)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value


@cache
def _runner() -> Path:
    return bundled(ROOT / "tests/face/verify_corpus.ts", Path(tempfile.mkdtemp(prefix="sealroom-corpus-")))
