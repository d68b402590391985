# SPDX-License-Identifier: Apache-2.0
"""A gate that an owner proposes to adopt from the page, with its policy and machines: the page's script
computes the fields from the gate's own answer and the policy, or a person types them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, Field

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import FormatError
from sealroom.model import Platform, PlatformProposal, Validity
from sealroom.model.units import time_text
from sealroom_agents.chain.owner_events import ProposedPlatform
from sealroom_agents.chains import LOCAL_CHAIN_IDS
from sealroom_agents.console import spellings
from sealroom_agents.console.changes import Doubt
from sealroom_agents.console.display import short
from sealroom_agents.index import Portrait

HASH = re.compile(r"0x[0-9a-f]{64}")
MAX_LIST_TEXT = 4400
"""Longest list of hashes, characters: 64 of them, one a line."""
Typed = Annotated[str, Field(max_length=100)]
Listed = Annotated[str, Field(max_length=MAX_LIST_TEXT)]


class PlatformFields(BaseModel):
    """What its form sends, as people typed it."""

    root: Typed = ""
    """Fingerprint of the gate's root key."""
    signer: Typed = ""
    """Account of the gate's signer."""
    compose: Typed = ""
    """Compose hash of the gate's own app."""
    policy: Typed = ""
    """Hash of the platform policy."""
    images: Listed = ""
    """OS images, apart by white space or commas."""
    devices: Listed = ""
    """Machines, in the same way."""


def proposal(
    portrait: Portrait, wanted: PlatformFields, *, days: int, expiry: int
) -> tuple[PlatformProposal, str]:
    """What is proposed, and the command line that proposes it. expiry: unix seconds. Raises `FormatError`."""
    view = portrait.facts.view
    images, devices = _hashes(wanted.images, "an OS image"), _hashes(wanted.devices, "a machine")
    value = {
        "gateRoot": _hash(wanted.root, "the gate's root key"),
        "gateSigner": spellings.address(wanted.signer),
        "gateCompose": _hash(wanted.compose, "the gate's own recipe"),
        "policyHash": _hash(wanted.policy, "the platform policy"),
        "osImages": images,
        "devices": devices,
    }
    platform = Platform.from_json(value, what="the platform")
    named = [f" --os-image {one}" for one in images] + [f" --device {one}" for one in devices]
    root = " --simulated-root root.der" if view.chain_id in LOCAL_CHAIN_IDS else ""
    command = f"platform --gate URL --policy platform-policy.json{''.join(named)}{root} --days {days}"
    return platform.under(Validity(expiry=expiry, follows=view.charter)), command


def doubts(portrait: Portrait, content: PlatformProposal, *, now: float) -> Iterator[Doubt]:
    """What is worth a look: no machine, or the same that waits already. now: unix seconds."""
    view = portrait.facts.view
    if not content.devices and not view.allow_any_device:
        yield Doubt(False, "It names no machine: no enclave can run before owners add one by a second vote.")
    terms = Validity(expiry=content.expiry, follows=content.follows)
    open_ = {one.id for one in portrait.facts.pending}
    for event in portrait.votes.of(ProposedPlatform):
        same = event.platform.under(event.terms)
        if same.id == content.id or same.id not in open_ or event.terms.expiry <= now:
            continue
        if event.platform.under(terms).id == content.id:
            yield Doubt(
                False,
                f"The same waits already as {short(to_hex(same.id))}, until "
                f"{time_text(event.terms.expiry)}: approve that one, so that votes do not split.",
            )


def _hash(text: str, what: str) -> str:
    if not HASH.fullmatch(text):
        raise FormatError(Code.MALFORMED, f"{what} is named by a hash: 0x and 64 hex digits in lower case")
    return text


def _hashes(text: str, what: str) -> list[str]:
    return sorted({_hash(one, what) for one in re.split(r"[\s,]+", text) if one})
