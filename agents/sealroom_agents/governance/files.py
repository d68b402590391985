# SPDX-License-Identifier: Apache-2.0
"""The desk's files: proposals, requests to sign, signatures. Read strictly, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account.messages import SignableMessage, encode_typed_data

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import Fields, address_bytes, from_hex, normal_address, strict_json, to_hex
from sealroom.errors import FormatError, KeyMaterialError
from sealroom.files import PUBLIC, write_atomic
from sealroom.model import (
    VOTES,
    AddMachines,
    AdoptPlatform,
    ApproveStudy,
    ChangeRoster,
    Machines,
    MachinesProposal,
    Owner,
    Platform,
    PlatformProposal,
    Revoke,
    Roster,
    RosterProposal,
    Study,
    Terms,
    Validity,
    Vote,
    Withdraw,
)
from sealroom.model.base import Nested, Record
from sealroom.model.consortium import in_order
from sealroom.model.kinds import Kind, Many
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.proposals import Content

MAX_FILE_BYTES = 256 * 1024
"""Largest proposal, request or signature file."""
MAX_SIGNATURE_BYTES = 16 * 1024
"""Signatures of contract wallets hold those of all their owners."""
FORMAT = 2
HASH_BYTES = 32
NO_HASH = bytes(HASH_BYTES)

BALLOTS: dict[type[Record], type[Vote]] = {
    Study: ApproveStudy,
    PlatformProposal: AdoptPlatform,
    MachinesProposal: AddMachines,
    RosterProposal: ChangeRoster,
}
"""The vote for each kind of content."""
ALIASES = {"SOC2": "SOC 2", "UK-GDPR": "UK GDPR", "UKGDPR": "UK GDPR"}
"""Other ways in which people write regimes."""


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object that a person or a tool wrote. Raises `file-malformed`."""
    with path.open("rb") as stream:
        data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ToolError(Code.FILE_TOO_LARGE, f"{path} is larger than {MAX_FILE_BYTES} bytes")
    try:
        return strict_json(data, MAX_FILE_BYTES)
    except FormatError as error:
        raise FormatError(error.code, f"{path}: {error.message}") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, text.encode(), mode=PUBLIC, replace=True)


# --- contents ----------------------------------------------------------------------------------------------


def load_terms(path: Path) -> Terms:
    """A study's terms, as `propose` writes them. Datasets may stand in any order."""
    return Terms.of_file(read_json(path), what=str(path))


def load_platform(path: Path) -> Platform:
    """A platform. Images and devices may stand in any order, the signer in any case."""
    given = in_order(read_json(path), "osImages", "devices", what=str(path))
    if "gateSigner" in given:
        given["gateSigner"] = normal_address(given["gateSigner"])
    return Platform.from_json(given, what=str(path))


def load_machines(path: Path) -> Machines:
    """Machines and images to be added, in any order."""
    return Machines.from_json(
        in_order(read_json(path), "osImages", "devices", what=str(path)), what=str(path)
    )


def read_owner(value: Any) -> Owner:
    """An owner as people write it: the address in any case, regimes also by their aliases."""
    given = dict(value) if isinstance(value, dict) else value
    if isinstance(given, dict):
        if "account" in given:
            given["account"] = normal_address(given["account"])
        if isinstance(regimes := given.get("regimes"), list):
            given["regimes"] = [ALIASES.get(str(regime), regime) for regime in regimes]
    name = given.get("id") if isinstance(given, dict) else None
    return Owner.from_json(given, what=None if name is None else f"the owner {str(name)[:32]!r}")


def load_owners(path: Path) -> tuple[Owner, ...]:
    """Owners to be seated: one object, or `{"owners": […]}`."""
    given = read_json(path)
    values = given["owners"] if isinstance(given.get("owners"), list) else [given]
    return tuple(read_owner(value) for value in values)


def load_content(path: Path) -> Content:
    """A proposal with what it follows, as the desk writes it with --out. Raises `FormatError`."""
    given = read_json(path)
    fields = Fields(given, str(path))
    fields.version(FORMAT)
    kind = fields.text("kind", limit=16)
    kinds: dict[str, type[Content]] = {
        "study": Study, "platform": PlatformProposal, "machines": MachinesProposal, "roster": RosterProposal,
    }  # fmt: skip
    if kind not in kinds:
        raise FormatError(Code.MALFORMED, f"{path} has kind that is none of {', '.join(kinds)}")
    content = kinds[kind].from_json(fields.object("content"), what=f"the content of {path}")
    fields.done()
    return content


def content_file(kind: str, content: Content) -> dict[str, Any]:
    """What `load_content` reads."""
    return {"version": FORMAT, "kind": kind, "content": content.to_json()}


def in_call(content: Content) -> tuple[Any, ...]:
    """The content as the contract's functions take it: a study alone, all else with its validity."""
    if isinstance(content, Study):
        return (content.solidity(),)
    parts: dict[type[Content], type[Record]] = {
        PlatformProposal: Platform,
        MachinesProposal: Machines,
        RosterProposal: Roster,
    }
    bare = parts[type(content)]
    validity = Validity(expiry=content.expiry, follows=content.follows)
    values = {each.attribute: getattr(content, each.attribute) for each in bare.parts()}
    return bare(**values).solidity(), validity.solidity()


# --- what is signed elsewhere ------------------------------------------------------------------------------


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

    def message(self) -> SignableMessage:
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

    def safe_message(self) -> SignableMessage:
        """The same, as what is signed."""
        return encode_typed_data(
            {"chainId": self.chain_id, "verifyingContract": self.vote.owner},
            {"SafeMessage": [{"name": "message", "type": "bytes"}]},
            {"message": self.digest},
        )


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
    owner = request.vote.owner
    signer = owner
    if len(signature) == typed.SIGNATURE_SIZE:
        if signature[64] < 2:
            signature = signature[:64] + bytes([signature[64] + 27])
        try:
            signer = typed.recover_digest(request.digest, signature)
            if signer != owner:
                signer = typed.recover_digest(typed.digest(request.safe_message()), signature)
        except KeyMaterialError:
            raise ToolError(Code.SIGNATURE_MALFORMED, "the signature recovers no account") from None
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


def gather(
    paths: Sequence[Path], *, kind: str, chain_id: int, consortium: str, proposal: bytes
) -> list[SignatureFile]:
    """Read signatures over one proposal, in the contract's order: by owner, then by signer, each once."""
    found: dict[tuple[bytes, bytes], SignatureFile] = {}
    for path in paths:
        one = SignatureFile.load(path)
        if (one.kind, one.chain_id, one.consortium, one.proposal) != (kind, chain_id, consortium, proposal):
            raise ToolError(
                Code.SIGNATURE_OF_ANOTHER,
                f"{path} is a signature for something else: {one.kind} {to_hex(one.proposal)}"
                f" of {one.consortium} on chain {one.chain_id}",
                f"wanted is {kind} {to_hex(proposal)} of {consortium} on chain {chain_id}",
            )
        found[address_bytes(one.owner), address_bytes(one.signer)] = one
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
