# SPDX-License-Identifier: Apache-2.0
"""One JSON-RPC endpoint that may be hostile: typed, bounded answers or `ChainError`, and nothing else.

`eth_call` goes out with an EIP-1898 block object, so that a node answers from exactly the block that was
named, or says that it can't: a block number may belong to another block after a reorganisation (CH-05).
Quantities and data are read as the Ethereum JSON-RPC specification writes them, and no longer than what is
asked for can be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError
from sealroom_agents.chain.transport import Endpoint, TooOften, shown
from sealroom_agents.errors import ChainError

DEFAULT_TIMEOUT_S = 10.0
"""Seconds that one exchange may take, from its first byte to its last."""
MAX_BATCH = 256
"""Calls in one batch."""
MAX_ANSWER_BYTES = 4 * 2**20
"""Bytes of one answer, whatever it is."""
MAX_MESSAGE_CHARACTERS = 200
"""What is kept of a node's words."""
MAX_REVERT_BYTES = 16 * 1024
"""Bytes of a revert that are read; the longest of our contracts' errors has a few hundred."""
MAX_QUANTITY = 2**63 - 1
"""Largest number that a node may answer where nothing else is said (block numbers, times, gas): what a
database can keep."""
REVERT_CODE = 3
"""JSON-RPC error code with which nodes report a revert."""
_BUSY_CODES = (429, -32007, -32016)
"""Numbers that providers have for nothing but too many requests."""
_BUSY_WORDS = re.compile(
    r"rate.?limit|request rate|request count|too many requests|requests? limit|per second", re.IGNORECASE
)
_QUANTITY = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})", re.ASCII)


@dataclass(frozen=True)
class Head:
    """One block's identity."""

    number: int
    """Block number."""
    hash: bytes
    """Block hash, 32 bytes."""
    timestamp: int
    """Unix seconds."""


@dataclass(frozen=True)
class RpcFailure:
    """A node's answer that is an error: `message` for people, `data` the returned bytes of a revert."""

    message: str
    """The node's words."""
    data: bytes
    """Revert data, or empty."""
    reverted: bool
    """Whether the contract said no, rather than the node."""
    code: int = 0
    """The error's number, 0 where it has none."""


class Rpc:
    """One endpoint. Thread safe."""

    def __init__(self, url: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._endpoint = Endpoint(url, timeout_s=timeout_s, limit=MAX_ANSWER_BYTES)
        self.url = url

    def __repr__(self) -> str:
        return f"Rpc({self.shown_url})"

    @property
    def shown_url(self) -> str:
        """Scheme and host: what may be logged."""
        return shown(self.url)

    def close(self) -> None:
        """Close its connections."""
        self._endpoint.close()

    @property
    def timeout_s(self) -> float:
        """Seconds that one exchange may take."""
        return self._endpoint.timeout_s

    def batch(self, calls: Sequence[tuple[str, list[Any]]], *, timeout_s: float | None = None) -> list[Any]:
        """Send `calls` as one batch; each answer is the JSON result, or an `RpcFailure`. `timeout_s`: seconds
        that it may take, where that is less than for any exchange.

        Raises `ChainError` `chain-unreachable` when the endpoint doesn't answer, or answers no JSON-RPC.
        """
        if not calls:
            return []
        if len(calls) > MAX_BATCH:
            raise ChainError(
                Code.CHAIN_UNREACHABLE, f"{len(calls)} calls exceed the batch limit of {MAX_BATCH}"
            )
        asked = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(calls)
        ]
        return self._answers(
            self._parsed(self._endpoint.post(json.dumps(asked).encode(), timeout_s=timeout_s)), len(calls)
        )

    def request(self, method: str, params: list[Any], *, refused: Code = Code.CHAIN_UNREACHABLE) -> Any:
        """One call; raises `ChainError` `refused` when the node answers with an error."""
        (answer,) = self.batch([(method, params)])
        if isinstance(answer, RpcFailure):
            raise ChainError(refused, f"{self.shown_url} refuses {method}: {answer.message}")
        return answer

    def chain_id(self) -> int:
        """The chain id that the node claims."""
        return self.quantity(self.request("eth_chainId", []))

    def head(self, block: str | int) -> Head:
        """The block of a tag (`latest`, `finalized`) or number."""
        name = block if isinstance(block, str) else hex(block)
        return self.as_head(self.request("eth_getBlockByNumber", [name, False]), block)

    def heads_of(self, numbers: Sequence[int]) -> tuple[Head, ...]:
        """The blocks of several numbers, in one exchange."""
        raw = self.batch([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
        return tuple(map(self.as_head, raw, numbers))

    def heads(self) -> tuple[Head, Head]:
        """The finalized block and the latest one, in one exchange."""
        tags = ("finalized", "latest")
        final, latest = self.batch([("eth_getBlockByNumber", [tag, False]) for tag in tags])
        return self.as_head(final, "finalized"), self.as_head(latest, "latest")

    def as_head(self, raw: Any, block: str | int) -> Head:
        """An answer that must be the block of a tag or number."""
        if isinstance(raw, RpcFailure):
            raise ChainError(Code.CHAIN_UNREACHABLE, f"{self.shown_url} refuses block {block}: {raw.message}")
        if not isinstance(raw, dict):
            name = block if isinstance(block, str) else hex(block)
            raise ChainError(Code.CHAIN_STALE, f"{self.shown_url} has no block {name}")
        head = Head(
            number=self.quantity(raw.get("number")),
            hash=self.data(raw.get("hash"), 32),
            timestamp=self.quantity(raw.get("timestamp")),
        )
        if isinstance(block, int) and head.number != block:
            raise self.malformed("another block than was asked for")
        return head

    def calls_at(
        self, block_hash: bytes, calls: Sequence[tuple[str, bytes]], *, gas: int | None = None
    ) -> list[bytes | RpcFailure]:
        """`eth_call` each `(address, data)` at exactly the block of `block_hash`
        (EIP-1898), each with at most `gas`."""
        at = {"blockHash": "0x" + block_hash.hex(), "requireCanonical": True}
        limit = {} if gas is None else {"gas": hex(gas)}
        answers = self.batch(
            [("eth_call", [{"to": to, "data": "0x" + data.hex(), **limit}, at]) for to, data in calls]
        )
        return [answer if isinstance(answer, RpcFailure) else self.data(answer) for answer in answers]

    def call_latest(self, to: str, data: bytes) -> bytes:
        """One `eth_call` at the node's head: for pages and hints. Raises `ChainError`."""
        return self.data(self.request("eth_call", [{"to": to, "data": "0x" + data.hex()}, "latest"]))

    def quantity(self, value: object, limit: int = MAX_QUANTITY) -> int:
        """A number as nodes write it, `0x` and hex digits without leading zeros, of at most `limit`."""
        if isinstance(value, str) and _QUANTITY.fullmatch(value) is not None:
            number = int(value, 16)
            if number <= limit:
                return number
        raise self.malformed("a malformed number")

    def data(self, value: object, size: int | None = None) -> bytes:
        """Bytes as nodes write them, `0x` and two hex digits each; exactly `size` of them if it is given."""
        raw = _bytes(value)
        if raw is None:
            raise self.malformed("malformed bytes")
        if size is not None and len(raw) != size:
            raise self.malformed(f"{len(raw)} bytes where {size} must be")
        return raw

    def malformed(self, what: str) -> ChainError:
        """The error of a node that answers something else than the protocol says."""
        return ChainError(Code.CHAIN_UNREACHABLE, f"{self.shown_url} answers {what}")

    def _parsed(self, raw: bytes) -> Any:
        try:
            whole = strict_json(b'{"answer":%b}' % raw, len(raw) + 11, allow_floats=True)
        except FormatError as error:
            raise self.malformed("no JSON-RPC") from error
        if len(whole) != 1:  # bytes that close the object early and name more
            raise self.malformed("no JSON-RPC")
        return whole["answer"]

    def _answers(self, answers: Any, count: int) -> list[Any]:
        if isinstance(answers, dict) and answers.get("error") is not None:
            # The whole batch is refused: too many calls, or too often.
            failure = _failure(answers["error"])
            if asked_too_often(failure):
                raise TooOften(Code.CHAIN_UNREACHABLE, f"{self.shown_url} is asked too often")
            message = failure.message
            raise ChainError(Code.CHAIN_UNREACHABLE, f"{self.shown_url} refuses a batch: {message}")
        if not isinstance(answers, list) or len(answers) != count:
            raise self.malformed("a batch with something else")
        found: dict[int, Any] = {}
        for answer in answers:
            number = answer.get("id") if isinstance(answer, dict) else None
            if type(number) is not int or not 0 <= number < count or number in found:
                raise self.malformed("a batch with something else")
            if answer.get("error") is not None:
                found[number] = _failure(answer["error"])
            elif "result" in answer:
                found[number] = answer["result"]
            else:
                raise self.malformed("no JSON-RPC")
        return [found[number] for number in range(count)]


def _failure(error: Any) -> RpcFailure:
    if not isinstance(error, dict):
        return RpcFailure(message=words(error), data=b"", reverted=False)
    message, data = words(error.get("message")), _revert_data(error.get("data"))
    code = error.get("code")
    code = code if type(code) is int else 0
    reverted = bool(data) or code == REVERT_CODE or "revert" in message.lower()
    return RpcFailure(message=message, data=data, reverted=reverted, code=code)


def asked_too_often(failure: RpcFailure) -> bool:
    """Whether the node wants to be asked less often. Providers say so inside an answer too, some of them with
    the number that others have for an answer that is too long."""
    return failure.code in _BUSY_CODES or _BUSY_WORDS.search(failure.message) is not None


def words(text: Any) -> str:
    """A node's words, cut, without what a terminal or a log would take for more than text."""
    cut = text[:MAX_MESSAGE_CHARACTERS] if isinstance(text, str) else ""
    return "".join(character if character.isprintable() else "?" for character in cut)


def _revert_data(data: Any) -> bytes:
    """Nodes put the revert's bytes under `data`, some one level deeper."""
    if isinstance(data, dict):
        data = data.get("data")
    if not isinstance(data, str) or len(data) > 2 + 2 * MAX_REVERT_BYTES:
        return b""
    return _bytes(data) or b""


def _bytes(text: object) -> bytes | None:
    """Bytes of `0x` and two hex digits each; `None` for anything else."""
    if not isinstance(text, str) or not text.startswith("0x"):
        return None
    try:
        raw = bytes.fromhex(text[2:])
    except ValueError:
        return None
    # White space between the bytes is passed over by `fromhex`, and by nothing else.
    return raw if 2 + 2 * len(raw) == len(text) else None
