# SPDX-License-Identifier: Apache-2.0
"""One JSON-RPC endpoint: bounded, timed, retried only where a second try is harmless.

`eth_call` goes out with an EIP-1898 block object, so that a node answers from exactly the block that was
named, or says that it can't. web3's own contract calls turn a block hash back into a number, which a
reorganisation may have given to another block (CH-05); so this module speaks to the provider itself.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential
from web3 import HTTPProvider
from web3.types import RPCEndpoint

from sealroom_agents.errors import ChainError

DEFAULT_TIMEOUT_S = 5.0
"""Seconds that one request may take."""
ATTEMPTS = 3
"""Tries of one request; only a transport failure is tried again."""
MAX_BATCH = 256
"""Calls in one batch."""
REVERT_CODE = 3
"""JSON-RPC error code with which nodes report a revert."""
_TRANSPORT_ERRORS = (requests.exceptions.RequestException, ConnectionError, TimeoutError)


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


class Rpc:
    """One endpoint. Thread safe: each thread has its own HTTP session."""

    def __init__(self, url: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        if not url.startswith(("http://", "https://")):
            raise ChainError(
                "configuration", f"{url!r} is no http(s) URL", "give an RPC URL such as http://127.0.0.1:8545"
            )
        self.url = url
        self._timeout_s = timeout_s
        self._local = threading.local()

    def __repr__(self) -> str:
        # The path of an RPC URL is often an access token, so only scheme and host are shown.
        return f"Rpc({self.shown_url})"

    @property
    def shown_url(self) -> str:
        """Scheme and host: what may be logged."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.split('/', 1)[0].rpartition('@')[2]}"

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Send `calls` as one batch; each answer is the JSON result, or an `RpcFailure`.

        Raises `ChainError` `chain-unreachable` when the endpoint doesn't answer, or answers no JSON-RPC.
        """
        if not calls:
            return []
        if len(calls) > MAX_BATCH:
            raise ChainError("chain-unreachable", f"{len(calls)} calls exceed the batch limit of {MAX_BATCH}")
        try:
            for attempt in Retrying(
                stop=stop_after_attempt(ATTEMPTS),
                wait=wait_exponential(multiplier=0.05, max=1.0),
                retry=retry_if_exception_type(_TRANSPORT_ERRORS),
                reraise=True,
            ):
                with attempt:
                    raw: Any = self._provider.make_batch_request(
                        [(RPCEndpoint(method), params) for method, params in calls]
                    )
        except _TRANSPORT_ERRORS as error:
            raise ChainError(
                "chain-unreachable",
                f"{self.shown_url} does not answer: {type(error).__name__}",
                "check the RPC endpoint and the network to it",
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ChainError("chain-unreachable", f"{self.shown_url} answers no JSON-RPC") from error
        if not isinstance(raw, list) or len(raw) != len(calls):
            raise ChainError("chain-unreachable", f"{self.shown_url} answers a batch with something else")
        return [self._result(answer) for answer in raw]

    def request(self, method: str, params: list[Any]) -> Any:
        """One call; raises `ChainError` `chain-unreachable` also when the node answers with an error."""
        (answer,) = self.batch([(method, params)])
        if isinstance(answer, RpcFailure):
            raise ChainError("chain-unreachable", f"{self.shown_url} refuses {method}: {answer.message}")
        return answer

    def chain_id(self) -> int:
        """The chain id that the node claims."""
        return self._quantity(self.request("eth_chainId", []))

    def head(self, block: str | int) -> Head:
        """The block of a tag (`latest`, `finalized`) or number."""
        name = block if isinstance(block, str) else hex(block)
        raw = self.request("eth_getBlockByNumber", [name, False])
        if not isinstance(raw, dict):
            raise ChainError("chain-stale", f"{self.shown_url} has no block {name}")
        try:
            head = Head(
                number=self._quantity(raw["number"]),
                hash=bytes.fromhex(raw["hash"].removeprefix("0x")),
                timestamp=self._quantity(raw["timestamp"]),
            )
        except (KeyError, ValueError, AttributeError) as error:
            raise ChainError("chain-unreachable", f"{self.shown_url} answers a malformed block") from error
        if len(head.hash) != 32:
            raise ChainError("chain-unreachable", f"{self.shown_url} answers a malformed block")
        return head

    def calls_at(self, block_hash: bytes, calls: Sequence[tuple[str, bytes]]) -> list[bytes | RpcFailure]:
        """`eth_call` each `(address, data)` at exactly the block of `block_hash` (EIP-1898)."""
        at = {"blockHash": "0x" + block_hash.hex(), "requireCanonical": True}
        answers = self.batch(
            [("eth_call", [{"to": to, "data": "0x" + data.hex()}, at]) for to, data in calls]
        )
        return [answer if isinstance(answer, RpcFailure) else self._bytes(answer) for answer in answers]

    @property
    def _provider(self) -> HTTPProvider:
        provider = getattr(self._local, "provider", None)
        if provider is None:
            session = requests.Session()
            # No proxy, certificate bundle or password from the environment: it isn't measured (AT-21).
            session.trust_env = False
            provider = HTTPProvider(
                self.url,
                request_kwargs={"timeout": self._timeout_s, "allow_redirects": False},
                session=session,
                exception_retry_configuration=None,
            )
            self._local.provider = provider
        return provider

    def _result(self, answer: Any) -> Any:
        if not isinstance(answer, dict):
            raise ChainError("chain-unreachable", f"{self.shown_url} answers no JSON-RPC")
        error = answer.get("error")
        if error is None:
            return answer.get("result")
        if not isinstance(error, dict):
            return RpcFailure(message=str(error)[:200], data=b"", reverted=False)
        message, data = str(error.get("message", ""))[:200], _revert_data(error.get("data"))
        reverted = bool(data) or error.get("code") == REVERT_CODE or "revert" in message.lower()
        return RpcFailure(message=message, data=data, reverted=reverted)

    def _quantity(self, value: Any) -> int:
        try:
            return int(value, 16)
        except (TypeError, ValueError) as error:
            raise ChainError("chain-unreachable", f"{self.shown_url} answers a malformed number") from error

    def _bytes(self, value: Any) -> bytes:
        try:
            return bytes.fromhex(value.removeprefix("0x"))
        except (AttributeError, ValueError) as error:
            raise ChainError("chain-unreachable", f"{self.shown_url} answers malformed bytes") from error


def _revert_data(data: Any) -> bytes:
    """Nodes put the revert's bytes under `data`, some one level deeper."""
    if isinstance(data, dict):
        data = data.get("data")
    if not isinstance(data, str):
        return b""
    try:
        return bytes.fromhex(data.removeprefix("0x"))
    except ValueError:
        return b""
