# SPDX-License-Identifier: Apache-2.0
"""What is signed elsewhere: requests as EIP-712 typed data, and the signatures that come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import Fields, from_hex, to_hex
from sealroom.errors import FormatError, KeyMaterialError
from sealroom.model import VOTES, Revoke, Vote, Withdraw
from sealroom.model.base import Nested, Record
from sealroom.model.kinds import Kind, Many
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.files import FORMAT, HASH_BYTES, NO_HASH, read_json

NOBODY = "0x" + 40 * "0"
MAX_SIGNATURE_BYTES = 16 * 1024
"""Signatures of contract wallets hold those of all their owners."""


@dataclass(frozen=True)
class Request:
    """What an owner is asked to sign, on a machine that need not see the chain.

    The file is EIP-712 typed data, as any wallet takes it. An owner that is a Safe signs it by the
    signatures of its own owners over `safe_message`.
    """

    vote: Vote
    chain_id: int
    consortium: str

    @classmethod
    def load(cls, path: Path) -> Request:
        """Read typed data as `json` writes it. All but the values is fixed, so nothing can hide in it."""
        data = read_json(path)
        fields = Fields(data, str(path))
        domain = Fields(fields.object("domain"), f"the domain of {path}")
        kinds = {vote.struct: vote for vote in VOTES}
        hint = "any action of the desk writes one with --request"
        struct = fields.text("primaryType", limit=32)
        if struct not in kinds:
            raise ToolError(Code.VOTE_REQUEST_MALFORMED, f"{path} is no request to an owner", hint)
        try:
            message = _of_typed(kinds[struct], fields.object("message"), "its message")
            # Read once more, strictly: what a contract could hold is not all that a vote may say.
            vote = kinds[struct].from_json(kinds[struct].of_abi(message).to_json(), what="its message")
        except FormatError as error:
            raise ToolError(
                Code.VOTE_REQUEST_MALFORMED, f"{path} is no request: {error.message}", hint
            ) from error
        request = cls(
            vote=vote,
            chain_id=domain.integer("chainId", 1),
            consortium=domain.address("verifyingContract"),
        )
        if request.json() != data:
            raise ToolError(
                Code.VOTE_REQUEST_MALFORMED, f"{path} holds more than a request, or another form", hint
            )
        return request

    def json(self) -> dict[str, Any]:
        """EIP-712 typed data."""
        return typed.typed_data(self.vote, typed.consortium_domain(self.chain_id, self.consortium))

    def message(self) -> typed.Signable:
        """What the owner signs."""
        return typed.vote(self.vote, chain_id=self.chain_id, consortium=self.consortium)

    @property
    def digest(self) -> bytes:
        """Digest of that, 32 bytes."""
        return typed.digest(self.message())

    @property
    def proposal(self) -> bytes:
        """Id of the proposal; zero for a revocation."""
        return proposal_of(self.vote)

    def safe_typed_data(self) -> dict[str, Any]:
        """What each of a Safe's own owners signs, when the owner is that Safe (Safe's `SafeMessage`)."""
        return {
            "domain": {"chainId": self.chain_id, "verifyingContract": self.vote.owner},
            "primaryType": "SafeMessage",
            "types": {
                "EIP712Domain": [
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                "SafeMessage": [{"name": "message", "type": "bytes"}],
            },
            "message": {"message": to_hex(self.digest)},
        }

    def safe_message(self) -> typed.Signable:
        """The same, as what is signed."""
        return safe_message(self.chain_id, self.vote.owner, self.digest)


def safe_message(chain_id: int, safe: str, digest: bytes) -> typed.Signable:
    """What an owner of a Safe signs, so that the Safe has signed a digest."""
    struct_hash = keccak(keccak(text="SafeMessage(bytes message)") + keccak(digest))
    return typed.structure(struct_hash, {"chainId": chain_id, "verifyingContract": safe})


def proposal_of(vote: Vote) -> bytes:
    """Id of what a vote is about; zero for a revocation, which is about everything."""
    if isinstance(vote, Withdraw):
        return vote.proposal
    if isinstance(vote, Revoke):
        return NO_HASH
    (content,) = (getattr(vote, part.attribute) for part in vote.parts() if part.attribute != "owner")
    return bytes(content.id)


@dataclass(frozen=True)
class SignatureFile:
    """One signature, gathered off chain: an owner's, or one of a Safe's owners' towards the Safe's."""

    kind: str
    """Name of the vote's type, such as `ApproveStudy`."""
    chain_id: int
    consortium: str
    proposal: bytes
    """Id of the proposal; zero for a revocation."""
    digest: bytes
    """Digest of what the owner signs: it covers the words and counters that the id does not."""
    owner: str
    """The owner whose vote it is."""
    signer: str
    """Who signed: the owner, or one of the owners of the Safe that the owner is."""
    signature: bytes
    path: Path | None = field(default=None, compare=False)
    """Where it was read."""

    @classmethod
    def load(cls, path: Path) -> SignatureFile:
        """Read a signature. Raises `FormatError`."""
        fields = Fields(read_json(path), str(path))
        fields.version(FORMAT)
        signature = cls(
            kind=fields.text("kind", limit=32),
            chain_id=fields.integer("chainId", 1),
            consortium=fields.address("consortium"),
            proposal=fields.hex("proposal", HASH_BYTES),
            digest=fields.hex("digest", HASH_BYTES),
            owner=fields.address("owner"),
            signer=fields.address("signer"),
            signature=from_hex(fields.text("signature", limit=2 * MAX_SIGNATURE_BYTES + 2)),
        )
        fields.done()
        return signature

    def json(self) -> dict[str, Any]:
        """What `load` reads."""
        return {
            "version": FORMAT,
            "kind": self.kind,
            "chainId": self.chain_id,
            "consortium": self.consortium,
            "proposal": to_hex(self.proposal),
            "digest": to_hex(self.digest),
            "owner": self.owner,
            "signer": self.signer,
            "signature": to_hex(self.signature),
        }


def signature_over(request: Request, signature: bytes) -> SignatureFile:
    """A signature made elsewhere, once it is known whose it is. Raises `signature-malformed`.

    65 bytes are an owner's, or one of a Safe's owners'; anything longer is a contract wallet's own, and is
    checked on chain when it is handed in.
    """
    if len(signature) == typed.SIGNATURE_SIZE and signature[64] < 2:
        signature = signature[:64] + bytes([signature[64] + 27])
    owner = request.vote.owner
    signer = signer_of(signature, owner=owner, chain_id=request.chain_id, digest=request.digest)
    if signer is None:
        raise ToolError(Code.SIGNATURE_MALFORMED, "the signature recovers no account")
    return SignatureFile(
        kind=request.vote.struct,
        chain_id=request.chain_id,
        consortium=request.consortium,
        proposal=request.proposal,
        digest=request.digest,
        owner=owner,
        signer=signer,
        signature=signature,
    )


def signer_of(signature: bytes, *, owner: str, chain_id: int, digest: bytes) -> str | None:
    """Who made a signature for an owner's vote: the owner, or else who signed the message of the Safe that
    the owner may be. `None` where it recovers no account."""
    if len(signature) != typed.SIGNATURE_SIZE:
        return owner
    try:
        signer = typed.recover_digest(digest, signature)
        if signer != owner:
            signer = typed.recover_digest(typed.digest(safe_message(chain_id, owner, digest)), signature)
    except KeyMaterialError:
        return None
    return signer


def gather(
    paths: Sequence[Path], *, kind: str, chain_id: int, consortium: str, proposal: bytes
) -> list[SignatureFile]:
    """Read signatures over one proposal, by owner, then by signer; each signature once.

    Signers are recovered from the signatures: what a file says of its signer is not believed, so that no
    file can take another's place. One that recovers no account has the zero address for its signer.
    """
    found: dict[tuple[str, str, bytes], SignatureFile] = {}
    for path in paths:
        one = SignatureFile.load(path)
        if (one.kind, one.chain_id, one.consortium, one.proposal) != (kind, chain_id, consortium, proposal):
            raise ToolError(
                Code.SIGNATURE_OF_ANOTHER,
                f"{path} is a signature for something else: {one.kind} {to_hex(one.proposal)}"
                f" of {one.consortium} on chain {one.chain_id}",
                f"wanted is {kind} {to_hex(proposal)} of {consortium} on chain {chain_id}",
            )
        signer = signer_of(one.signature, owner=one.owner, chain_id=chain_id, digest=one.digest)
        one = replace(one, signer=signer or NOBODY, path=path)
        found.setdefault((one.owner, one.signer, one.signature), one)
    return [found[key] for key in sorted(found)]


def _of_typed(record: type[Record], message: Any, what: str) -> dict[str, Any]:
    """A message's values as an ABI decoder hands them out: bytes for hex, all else as it stands."""
    if not isinstance(message, Mapping):
        raise FormatError(Code.MALFORMED, f"{what} must be an object")
    found = {}
    for part in record.parts():
        if part.name not in message:
            raise FormatError(Code.MALFORMED, f"{what} lacks {part.name}")
        found[part.name] = _value(part.kind, message[part.name], f"{what}'s {part.name}")
    return found


def _value(kind: Kind, value: Any, what: str) -> Any:
    if isinstance(kind, Nested):
        return _of_typed(kind.record, value, what)
    if isinstance(kind, Many):
        if not isinstance(value, list):
            raise FormatError(Code.MALFORMED, f"{what} must be an array")
        return [_value(kind.kind, item, f"{what}[{place}]") for place, item in enumerate(value)]
    if kind.solidity.startswith("bytes"):
        return from_hex(value)
    if kind.solidity.startswith("uint") and type(value) is not int:
        raise FormatError(Code.MALFORMED, f"{what} is not an integer")
    return value
