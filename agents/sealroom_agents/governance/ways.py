# SPDX-License-Identifier: Apache-2.0
"""How an act of an owner leaves the desk.

* sent: a transaction of the account that was named;
* `--safe FILE`: a file for the transaction builder of the Safe that the owner is;
* `--calldata`: the bare call, for any other wallet;
* `--request FILE`: EIP-712 typed data, to be signed elsewhere; `--sign FILE` signs it here at once;
* `--signatures FILE …`: signatures that were collected are handed in, and the account only pays.

Before anything leaves, the call is tried at the block that was read, from the account that will make it: a
refusal costs nothing, and comes in words.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError
from eth_account.messages import SignableMessage
from eth_utils.crypto import keccak

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import address_bytes, to_hex
from sealroom.model import Vote
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import RpcFailure
from sealroom_agents.errors import ChainError, ToolError
from sealroom_agents.governance.files import (
    Request,
    SignatureFile,
    gather,
    signature_over,
    write_json,
)
from sealroom_agents.governance.node import Node
from sealroom_agents.governance.refusals import refusal
from sealroom_agents.governance.standing import Standing


@dataclass(frozen=True)
class Sent:
    """A transaction that was mined."""

    tx: str
    block: int
    gas: int

    def json(self) -> dict[str, Any]:
        return {"tx": self.tx, "block": self.block, "gas": self.gas}


class Wallet(Protocol):
    """An account that can sign and send: a keystore, or one of Ape's."""

    @property
    def address(self) -> str:
        """Lower case."""

    def sign(self, message: SignableMessage) -> bytes:
        """65 bytes."""

    def send(self, to: str, data: bytes) -> Sent:
        """One transaction, mined."""


@dataclass(frozen=True)
class Call:
    """One call of a contract."""

    contract: str
    """Name of its ABI."""
    to: str
    function: str
    arguments: tuple[Any, ...]

    @property
    def data(self) -> bytes:
        """Selector and arguments."""
        return interface(self.contract).encode(self.function, *self.arguments)

    def json(self) -> dict[str, Any]:
        return {"to": self.to, "value": "0", "function": self.function, "data": to_hex(self.data)}


@dataclass(frozen=True)
class Ballot:
    """What an owner can sign in place of sending, and how it is handed in."""

    kind: str
    """Name of the vote's type, such as `ApproveStudy`."""
    proposal: bytes
    """Id of the proposal; zero for a revocation."""
    vote: Callable[[str], Vote]
    """The vote of an owner's account."""
    handed_in: Callable[[Sequence[tuple[str, bytes]]], Call]
    """The call for signatures, in the contract's order."""


@dataclass(frozen=True)
class Act:
    """Something that an owner, or anybody, does."""

    title: str
    """In words, for wallets: `Approve the study 0x…`."""
    calls: tuple[Call, ...]
    """What the owner's account sends."""
    content: object = None
    """The proposal's content, for the words of a refusal."""
    ballot: Ballot | None = None
    """`None` for what can only be sent."""


@dataclass(frozen=True)
class Way:
    """How it leaves: at most one of the files."""

    wallet: Callable[[], Wallet] | None
    """Opens the account that sends or signs; `None` where none was named."""
    account: str | None
    """That account's address, where it is known without opening it."""
    owner: str | None = None
    safe: Path | None = None
    calldata: bool = False
    request: Path | None = None
    sign: Path | None = None
    signatures: tuple[Path, ...] = ()

    def check(self) -> None:
        """Raises `usage` where two ways are named at once."""
        chosen = [
            name
            for name, given in (
                ("--safe", self.safe),
                ("--calldata", self.calldata),
                ("--request", self.request),
                ("--sign", self.sign),
                ("--signatures", self.signatures),
            )
            if given
        ]
        if len(chosen) > 1:
            raise ToolError(Code.WAY_UNCLEAR, f"{' and '.join(chosen)} exclude each other", "choose one way")
        if self.owner and self.sign:
            raise ToolError(
                Code.WAY_UNCLEAR, "--sign signs with the account itself", "for another owner: --request"
            )

    @property
    def acting(self) -> str | None:
        """The account whose act it is."""
        return self.owner or self.account


@dataclass(frozen=True)
class Outcome:
    """What became of an act."""

    facts: dict[str, Any]
    lines: list[tuple[str, str]]
    sent: bool
    """Whether it is on chain."""


def perform(
    act: Act,
    way: Way,
    node: Node,
    standing: Standing | None,
    *,
    consortium: str,
    confirm: Callable[[str], None],
) -> Outcome:
    """Let an act leave in the way that was chosen. Raises what the contract would refuse, in words."""
    way.check()
    if way.signatures:
        return _hand_in(act, way, node, standing, consortium=consortium, confirm=confirm)
    if way.request or way.sign:
        return _ask(act, way, node, standing, consortium=consortium, confirm=confirm)
    account = way.acting
    if account is not None:
        for call in act.calls[:1]:  # the others count on the first
            _try(call, account, node, standing, act.content)
    if way.safe is not None:
        return _safe_file(act, way, node)
    if way.calldata:
        calls = [call.json() for call in act.calls]
        lines = [
            line
            for call in act.calls
            for line in (("to", call.to), ("function", _signature(call)), ("data", to_hex(call.data)))
        ]
        return Outcome({"chainId": node.chain_id, "calls": calls}, [("act", act.title), *lines], sent=False)
    wallet = _open(way)
    confirm(f"{act.title}: send {len(act.calls)} transaction{'s' * (len(act.calls) > 1)}?")
    sent = [_send(call, wallet, node, standing, act.content) for call in act.calls]
    return Outcome(
        {**sent[-1].json(), **({"transactions": [one.json() for one in sent]} if len(sent) > 1 else {})},
        [("transaction", f"{one.tx} in block {one.block}, {one.gas:,} gas") for one in sent],
        sent=True,
    )


# --- the ways ----------------------------------------------------------------------------------------------


def _safe_file(act: Act, way: Way, node: Node) -> Outcome:
    from sealroom_agents.owner import safe as safes

    if way.owner is None:
        raise ToolError(Code.WAY_UNCLEAR, "--safe needs the Safe's address", "pass --owner 0x…")
    safe = contract_wallet(node, way.owner)
    if safe is None:
        raise ToolError(
            Code.WAY_UNCLEAR,
            f"{way.owner} is no Safe on chain {node.chain_id}",
            "an account with a key sends by itself: --account, --keystore or --calldata",
        )
    content = safes.batch(
        chain_id=node.chain_id,
        safe=way.owner,
        calls=[
            safes.SafeCall(
                to=call.to,
                function=call.function,
                inputs=_inputs(call),
                values=call.arguments,
            )
            for call in act.calls
        ],
        name=act.title,
        description=f"Sealroom: {act.title}",
        created_ms=int(time.time() * 1000),
    )
    path = way.safe
    if path is None:
        raise ToolError(Code.WAY_UNCLEAR, "--safe names no file")
    write_json(path, content)
    facts = {
        "file": str(path),
        "safe": way.owner,
        "checksum": content["meta"]["checksum"],
        "calls": [call.json() for call in act.calls],
    }
    lines = [
        ("act", act.title),
        ("Safe", f"{way.owner}  {safe.threshold} of {len(safe.owners)}"),
        ("file", str(path)),
        (
            "next",
            "load it in the Safe's transaction builder, compare, sign and execute; nothing counts before",
        ),
    ]
    return Outcome(facts, lines, sent=False)


def _ask(
    act: Act,
    way: Way,
    node: Node,
    standing: Standing | None,
    *,
    consortium: str,
    confirm: Callable[[str], None],
) -> Outcome:
    if act.ballot is None:
        raise ToolError(Code.WAY_UNCLEAR, "this can only be sent, not signed", "use --safe or --calldata")
    wallet = _open(way) if way.sign else None
    owner = wallet.address if wallet is not None else way.acting
    if owner is None:
        raise ToolError(Code.WAY_UNCLEAR, "whose signature is asked for is not said", "pass --owner 0x…")
    if standing is not None:
        standing.require_owner(owner)
    vote = act.ballot.vote(owner)
    request = Request(vote=vote, chain_id=node.chain_id, consortium=consortium)
    facts: dict[str, Any] = {
        "vote": vote.struct,
        "owner": owner,
        "proposal": to_hex(request.proposal),
        "digest": to_hex(request.digest),
    }
    lines = [("asks for", act.title), ("of", standing.name(owner) if standing else owner)]
    if wallet is not None and way.sign is not None:
        confirm(f"{act.title}: sign 1 message, send nothing?")
        signed = signature_over(request, wallet.sign(request.message()))
        write_json(way.sign, signed.json())
        return Outcome(
            {**facts, "file": str(way.sign)},
            [("signed", act.title), ("owner", owner), ("written to", str(way.sign)),
             ("next", "it counts once somebody hands it in with --signatures")],
            sent=False,
        )  # fmt: skip
    path = way.request
    if path is None:
        raise ToolError(Code.WAY_UNCLEAR, "--request names no file")
    write_json(path, request.json())
    facts["file"] = str(path)
    lines.append(("written to", str(path)))
    safe = contract_wallet(node, owner)
    if safe is not None:
        beside = path.with_suffix(".safe-message.json")
        write_json(beside, request.safe_typed_data())
        facts["safeMessage"] = str(beside)
        lines += [
            ("Safe", f"{safe.threshold} of {len(safe.owners)} of its owners sign"),
            ("for wallets", f"{beside}: what each of the Safe's owners signs"),
        ]
    lines.append(("next", "`govern sign --request FILE` signs it, or takes a signature that a wallet made"))
    return Outcome(facts, lines, sent=False)


def _hand_in(
    act: Act,
    way: Way,
    node: Node,
    standing: Standing | None,
    *,
    consortium: str,
    confirm: Callable[[str], None],
) -> Outcome:
    if act.ballot is None:
        raise ToolError(Code.WAY_UNCLEAR, "this can only be sent, not signed", "leave --signatures out")
    found = gather(
        way.signatures,
        kind=act.ballot.kind,
        chain_id=node.chain_id,
        consortium=consortium,
        proposal=act.ballot.proposal,
    )
    by_owner: dict[str, list[SignatureFile]] = {}
    for one in found:
        by_owner.setdefault(one.owner, []).append(one)
    signed = []
    for owner, parts in by_owner.items():
        request = Request(vote=act.ballot.vote(owner), chain_id=node.chain_id, consortium=consortium)
        stale = next((one for one in parts if one.digest != request.digest), None)
        if stale is not None:
            raise ToolError(
                Code.SIGNATURE_OF_ANOTHER,
                f"{owner} signed other words, or under another count of its returns",
                "hand it in with the same options with which it was asked for",
            )
        signed.append((owner, assembled(node, owner, parts)))
    signed.sort(key=lambda one: address_bytes(one[0]))
    call = act.ballot.handed_in(signed)
    wallet = _open(way)
    _try(call, wallet.address, node, standing, act.content)
    confirm(f"{act.title}: hand in {len(signed)} signature{'s' * (len(signed) != 1)}?")
    sent = _send(call, wallet, node, standing, act.content)
    return Outcome(
        {**sent.json(), "owners": [owner for owner, _ in signed]},
        [("transaction", f"{sent.tx} in block {sent.block}, {sent.gas:,} gas")],
        sent=True,
    )


# --- contract wallets --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ContractWallet:
    """A Safe: who its owners are, and how many of them sign."""

    address: str
    owners: tuple[str, ...]
    threshold: int


def contract_wallet(node: Node, address: str) -> ContractWallet | None:
    """The Safe at an address; `None` for an account with a key, or another contract."""
    code = node.code(address)
    if not code or code.startswith(bytes.fromhex("ef0100")):
        return None
    answers = []
    for signature, kind in (("getOwners()", "address[]"), ("getThreshold()", "uint256")):
        (answer,) = node.rpcs[0].calls_at(node.head.hash, [(address, keccak(text=signature)[:4])])
        if isinstance(answer, RpcFailure):
            return None
        try:
            answers.append(abi_decode([kind], answer)[0])
        except (DecodingError, OverflowError, ValueError):
            return None
    owners, threshold = answers
    return ContractWallet(address, tuple(str(one).lower() for one in owners), int(threshold))


def assembled(node: Node, owner: str, parts: Sequence[SignatureFile]) -> bytes:
    """One owner's signature, of what was gathered for it. Raises `signature-of-another`, `safe-signatures`.

    A Safe's signature is those of its owners one after the other, by address (EIP-1271, as its fallback
    handler reads it).
    """
    whole = [one for one in parts if one.signer == owner]
    if whole:
        return whole[0].signature
    safe = contract_wallet(node, owner)
    if safe is None:
        raise ToolError(
            Code.SIGNATURE_OF_ANOTHER,
            f"{', '.join(one.signer for one in parts)} signed, and {owner} is the owner",
            "sign with the owner's own account",
        )
    strangers = [one.signer for one in parts if one.signer not in safe.owners]
    if strangers:
        raise ToolError(
            Code.SAFE_SIGNATURES,
            f"{', '.join(strangers)} is no owner of the Safe {owner}",
            f"its owners are {', '.join(safe.owners)}",
        )
    if len(parts) < safe.threshold:
        raise ToolError(
            Code.SAFE_SIGNATURES,
            f"the Safe {owner} signs with {safe.threshold} of its owners, and {len(parts)} signed",
            f"lacking are {safe.threshold - len(parts)} of "
            f"{', '.join(one for one in safe.owners if one not in {part.signer for part in parts})}",
        )
    chosen = sorted(parts, key=lambda one: address_bytes(one.signer))[: safe.threshold]
    return b"".join(one.signature for one in chosen)


# --- trying and sending ------------------------------------------------------------------------------------


def _try(call: Call, account: str, node: Node, standing: Standing | None, content: object) -> None:
    asked = {"from": account, "to": call.to, "data": to_hex(call.data)}
    (answer,) = node.rpcs[0].batch([("eth_call", [asked, "latest"])])
    if isinstance(answer, RpcFailure):
        if answer.data:
            raise refusal(answer.data, standing=standing, content=content)
        raise ChainError(Code.CHAIN_UNREACHABLE, f"the node does not try the call: {answer.message}")


def _send(call: Call, wallet: Wallet, node: Node, standing: Standing | None, content: object) -> Sent:
    _try(call, wallet.address, node, standing, content)
    return wallet.send(call.to, call.data)


def _open(way: Way) -> Wallet:
    if way.wallet is None:
        raise ToolError(
            Code.WAY_UNCLEAR,
            "no account was named that could send or sign",
            "name one, or use --safe, --calldata or --request with --owner",
        )
    return way.wallet()


def _inputs(call: Call) -> Sequence[dict[str, Any]]:
    """The function's arguments, from the contract's ABI."""
    for item in interface(call.contract).abi:
        if item["type"] == "function" and item["name"] == call.function:
            return [dict(part) for part in item["inputs"]]
    raise KeyError(call.function)


def _signature(call: Call) -> str:
    return interface(call.contract).signature(call.function)


class KeystoreWallet:
    """An account from an Ethereum keystore file, which sends through one node."""

    def __init__(self, path: Path, *, url: str, passphrase: Callable[[str], str]) -> None:
        from sealroom_agents.owner import keystore

        locked = keystore.read(path)
        self._signer = locked.unlock(passphrase(str(path)))
        self._url = url

    @property
    def address(self) -> str:
        return self._signer.address

    def sign(self, message: SignableMessage) -> bytes:
        return typed.sign(message, self._signer.key.reveal())

    def send(self, to: str, data: bytes) -> Sent:
        from sealroom_agents.chain.transactor import Transactor

        result = Transactor(self._url, self._signer.key.reveal(), receipt_timeout_s=MINED_WITHIN_S).send(
            to, data
        )
        return Sent(tx=result.tx, block=result.block_number, gas=result.gas_used)


MINED_WITHIN_S = 180.0
"""How long a transaction may wait for its block."""


def read_signature(text: str) -> bytes:
    """A signature as `0x…`, or a file that holds it as text or as a wallet's JSON. Raises
    `signature-malformed`."""
    given = text.strip()
    if not given.startswith("0x"):
        try:
            given = Path(given).read_text(encoding="ascii", errors="replace")[: 2 * 16 * 1024].strip()
        except OSError as error:
            raise ToolError(Code.SIGNATURE_MALFORMED, f"cannot read {text}: {error.strerror}") from None
        if given.startswith("{"):
            try:
                given = str(json.loads(given).get("signature", ""))
            except ValueError:
                given = ""
    try:
        data = bytes.fromhex(given.removeprefix("0x"))
    except ValueError:
        data = b""
    if not given.startswith("0x") or len(data) < typed.SIGNATURE_SIZE:
        raise ToolError(
            Code.SIGNATURE_MALFORMED,
            "a signature is 0x and at least 130 hex digits, or a file that holds that",
            "`--request` wrote what is to be signed",
        )
    return data
