# SPDX-License-Identifier: Apache-2.0
"""What `sealroom upload` and `sealroom fetch` say before they do anything: what would go where, and what is
there already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sealroom_agents.cli.rehearsal import rehearsed
from sealroom_agents.cli.terminal import plural, size

if TYPE_CHECKING:
    from sealroom_agents.owner.transfer.ahead import Ahead
    from sealroom_agents.owner.transfer.fetching import Coming, Expected
    from sealroom_agents.owner.transfer.places import There


def question(sealed: Path, place: str, ahead: Ahead) -> str:
    """What a person is asked before a file is sent."""
    there = ahead.there
    about = f" (the store has {_begun(there)}, of a run before)" if there.begun else ""
    over = f", and replace what is there, {size(there.size)}" if there.size is not None else ""
    if not there.known:
        over = ", where what is there is not known"
    return f"send {sealed}, {size(ahead.info.sealed_size)}{about}, to {place}{over}?"


def rehearse_upload(sealed: Path, place: str, ahead: Ahead, *, read_back: bool, as_json: bool) -> None:
    """What would be sent, and what the store has."""
    from sealroom.encoding import to_hex

    there, info = ahead.there, ahead.info
    would = [("send", f"{sealed} to {place}: {size(info.sealed_size)} in {plural(there.parts, 'part')}")]
    if there.begun:
        would.append(("go on", f"with a run before: the store has {_begun(there)}"))
    if there.size is not None:
        would.append(("replace", f"what is there: {size(there.size)}"))
    if not there.known:
        replaced = ", and a PUT replaces it" if place.startswith("http") else ""
        would.append(("find", f"what is there only by sending: the store does not tell{replaced}"))
    would.append(("compare", "all of it, fetched again" if read_back else "nothing: --no-read-back"))
    facts = {
        "url": place,
        "datasetId": to_hex(info.dataset_id),
        "headerDigest": to_hex(info.header_digest),
        "sha256": None if ahead.digest is None else to_hex(ahead.digest),
        "size": info.sealed_size,
        "parts": there.parts,
        "there": {"known": there.known, "size": there.size},
        "begun": {"parts": there.begun, "bytes": there.begun_bytes},
        "readBack": read_back,
    }
    rehearsed(would, facts, as_json=as_json)


def rehearse_fetch(out: Path, place: str, coming: Coming, expected: Expected, *, as_json: bool) -> None:
    """What would be fetched, and what lies here."""
    from sealroom.encoding import to_hex

    info = coming.info
    long = "of a length that the server does not tell" if coming.size is None else size(coming.size)
    parts = "" if info is None else f" in {plural(info.header.parts, 'part')}"
    would = [("fetch", f"{place}: {long}{parts}")]
    if coming.here:
        would.append(("keep", f"{plural(coming.here, 'part')} of a run before, {size(coming.here_bytes)}"))
    elif info is None:
        would.append(("begin", "anew: the server has no ranges"))
    would.append(("write", str(out)))
    if info is not None and expected.registration is not None:
        would.append(("compare", "each part with its index, which is the registered one"))
    else:
        would.append(("compare", "all of it at the end: nothing that came vouches for it before"))
    facts: Mapping[str, object] = {
        "url": place,
        "sealed": str(out),
        "datasetId": None if info is None else to_hex(info.dataset_id),
        "headerDigest": None if info is None else to_hex(info.header_digest),
        "size": coming.size,
        "parts": None if info is None else info.header.parts,
        "begun": {"parts": coming.here, "bytes": coming.here_bytes},
    }
    rehearsed(would, facts, as_json=as_json)


def _begun(there: There) -> str:
    return f"{plural(there.begun, 'part')}, {size(there.begun_bytes)}"
