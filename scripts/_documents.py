# SPDX-License-Identifier: Apache-2.0
"""The files of governance, and what they say: proposals, platforms, registrations, signatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account.messages import SignableMessage
from scripts._command import Complaint, read_json, write_json

from sealroom import typed
from sealroom.encoding import Fields, address_bytes, from_hex, normal_address, to_hex
from sealroom.errors import FormatError
from sealroom.model import ApproveStudy, Cap, Platform, Registration, Study, Terms
from sealroom.model.consortium import in_order
from sealroom.model.units import read_delta, read_epsilon

HASH_BYTES = 32
MAX_SIGNATURE_BYTES = 16 * 1024
"""Signatures of contract wallets hold those of all their owners."""
NO_HASH = bytes(HASH_BYTES)


def load_study(path: Path, *, epoch: int, nonce: int) -> Study:
    """Read a proposal. Datasets may stand in any order."""
    return Terms.of_file(read_json(path), what=str(path)).at(epoch=epoch, nonce=nonce)


def load_platform(path: Path) -> Platform:
    """Read a platform. Images and devices may stand in any order, the signer in any case."""
    given = in_order(read_json(path), "osImages", "devices", what=str(path))
    if "gateSigner" in given:
        given["gateSigner"] = normal_address(given["gateSigner"])
    return Platform.from_json(given, what=str(path))


def load_registration(path: Path) -> Registration:
    """Read what `sealroom seal` wrote for the chain. A file that is no table has no rows to count."""
    given = read_json(path)
    if given.get("rows", 0) is None:
        given["rows"] = 0
    return Registration.from_json(given, what=str(path))


def read_cap(epsilon: str, delta: str, runs: int) -> Cap:
    """A cap from the options of a command."""
    return Cap(
        epsilon_micro=read_epsilon(epsilon, "--cap"), delta_pico=read_delta(delta, "--delta"), runs=runs
    )


@dataclass(frozen=True)
class Request:
    """What an owner is asked to sign, on a machine that need not see the chain."""

    vote: ApproveStudy
    chain_id: int
    consortium: str

    @classmethod
    def load(cls, path: Path) -> Request:
        """Read typed data as `save` writes it. All but the values is fixed, so nothing can hide in it."""
        data = read_json(path)
        fields = Fields(data, str(path))
        domain = Fields(fields.object("domain"), f"the domain of {path}")
        other, hint = f"{path} is not a request to approve a study", "`approve --request` writes one"
        try:
            vote = ApproveStudy.from_json(fields.object("message"), what="its message")
        except FormatError as error:
            raise Complaint(f"{other}: {error.message}", hint) from error
        request = cls(
            vote=vote,
            chain_id=domain.integer("chainId", 1),
            consortium=domain.address("verifyingContract"),
        )
        if request.json() != data:
            raise Complaint(other, hint)
        return request

    def json(self) -> dict[str, Any]:
        """EIP-712 typed data, as any wallet takes it."""
        return typed.typed_data(self.vote, typed.consortium_domain(self.chain_id, self.consortium))

    def message(self) -> SignableMessage:
        """What is signed."""
        return typed.approve_study(
            self.vote.study, owner=self.vote.owner, chain_id=self.chain_id, consortium=self.consortium
        )


@dataclass(frozen=True)
class SignatureFile:
    """One owner's signature, gathered off chain."""

    kind: str
    """`ApproveStudy`, `AdoptPlatform`, `ChangeOwners`, `Withdraw` or `Revoke`."""
    chain_id: int
    consortium: str
    proposal: bytes
    """Id of the study, platform or roster; for a revocation, zero."""
    owner: str
    signature: bytes

    @classmethod
    def load(cls, path: Path) -> SignatureFile:
        """Read a signature."""
        fields = Fields(read_json(path), str(path))
        fields.version()
        signature = cls(
            kind=fields.text("kind", limit=32),
            chain_id=fields.integer("chainId", 1),
            consortium=fields.address("consortium"),
            proposal=fields.hex("proposal", HASH_BYTES),
            owner=fields.address("owner"),
            signature=from_hex(fields.text("signature", limit=2 * MAX_SIGNATURE_BYTES + 2)),
        )
        fields.done()
        return signature

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        write_json(
            path,
            {
                "version": 1,
                "kind": self.kind,
                "chainId": self.chain_id,
                "consortium": self.consortium,
                "proposal": to_hex(self.proposal),
                "owner": self.owner,
                "signature": to_hex(self.signature),
            },
        )


def gather(
    paths: Sequence[Path], *, kind: str, chain_id: int, consortium: str, proposal: bytes
) -> list[SignatureFile]:
    """Read signatures over one proposal, in the contract's order: by address, each owner once."""
    by_owner: dict[str, SignatureFile] = {}
    for path in paths:
        found = SignatureFile.load(path)
        wanted = (kind, chain_id, consortium, proposal)
        if (found.kind, found.chain_id, found.consortium, found.proposal) != wanted:
            raise Complaint(
                f"{path} is a signature for something else: {found.kind} {to_hex(found.proposal)}"
                f" of {found.consortium} on chain {found.chain_id}",
                f"wanted is {kind} {to_hex(proposal)} of {consortium} on chain {chain_id}",
            )
        by_owner[found.owner] = found
    return sorted(by_owner.values(), key=lambda signature: address_bytes(signature.owner))
