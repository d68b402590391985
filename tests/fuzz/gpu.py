# SPDX-License-Identifier: Apache-2.0
"""Targets of GPU evidence: the evidence itself, reference manifests, and answers about certificates."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from sealroom.errors import SealroomError
from sealroom_agents.attestation.gpu import (
    Fetched,
    Material,
    State,
    read_evidence,
    read_material,
    standing,
    verify_rim,
    walk_gpus,
    write_material,
)
from sealroom_agents.attestation.gpu.ocsp import Pair
from tests.minted_gpu import DRIVER_RIM, NOW, VBIOS, VBIOS_INDICES, VBIOS_RIM, Mint, answer, responder

NONCE = bytes(range(32))


@cache
def mint() -> Mint:
    """Who signed what is changed here."""
    return Mint()


@cache
def asked() -> Pair:
    """A certificate whose standing is asked for, and its issuer."""
    return walk_gpus(mint().evidence(NONCE), nonce=NONCE, now=NOW, trust=mint().trust).asked[0]


def evidence(data: bytes) -> None:
    """Evidence that holds has a report that the minted device signed."""
    found = walk_gpus(data, nonce=NONCE, now=NOW, trust=mint().trust)
    if found.state is not State.UNVERIFIED:
        genuine = read_evidence(evidence_seeds()[0])[0].report
        for device in read_evidence(data):
            assert device.report.signed[4:36] == NONCE
            assert (device.report.measurements, device.report.fwid) == (genuine.measurements, genuine.fwid)


def rim(data: bytes) -> None:
    """A manifest that holds says what was signed."""
    with suppress(SealroomError):
        found = verify_rim(data, now=NOW, root=mint().trust.rims)
        assert (found.version, found.golden.keys()) == (VBIOS, set(VBIOS_INDICES))


def status(data: bytes) -> None:
    """An answer that holds ends when the signed one does."""
    with suppress(SealroomError):
        assert standing(asked(), data, now=NOW, max_age_s=None).until > NOW


def material(data: bytes) -> None:
    """What is read as material is written so, and no otherwise."""
    with suppress(SealroomError):
        assert write_material(read_material(data)) == data


@cache
def material_seeds() -> list[bytes]:
    """Two manifests, and two answers."""
    rims = {name: (Fetched(rim_seeds()[0], NOW),) for name in (VBIOS_RIM, DRIVER_RIM)}
    return [write_material(Material(rims, status_seeds()))]


@cache
def evidence_seeds() -> list[bytes]:
    """One device."""
    return [mint().evidence(NONCE)]


@cache
def rim_seeds() -> list[bytes]:
    """One manifest."""
    return [mint().rim(VBIOS, VBIOS_INDICES)]


@cache
def status_seeds() -> list[bytes]:
    """The issuer's own answer, and one of its responder."""
    delegate, key = responder(mint().device, mint().device.certificates.index(asked()[1]))
    return [mint().answer(asked()), answer(asked(), key, responder=delegate)]
