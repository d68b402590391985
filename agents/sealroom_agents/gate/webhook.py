# SPDX-License-Identifier: Apache-2.0
"""Answers to dstack's own KMS, so that it boots only what the owners allow.

Interface: dstack `kms/src/main_service/upgrade_authority.rs` and its `auth-eth` server: `POST /bootAuth/app`,
`POST /bootAuth/kms`, `GET /`. Three things differ from `auth-eth`, all to the strict side: hashes must have
their full length, the answer comes from a finalized block on which all nodes agree, and a revocation that any
node shows counts at once. Whatever goes wrong, the answer is no (fail closed).

The KMS asks this only when it hands out keys, never again: a key once released can't be taken back this way.
What stops a running enclave is its lease.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import ChainView, LatestView

MAX_TCB_STATUS_CHARS = 128
MAX_ADVISORIES = 128
MAX_ADVISORY_CHARS = 256
ZERO_ADDRESS = "0x" + 40 * "0"
UNAVAILABLE = "authorization backend unavailable"
"""dstack's own words for a back end that fails."""
_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]*)")

_log = logging.getLogger(__name__)


class AppReader(Protocol):
    """What the webhook asks of the chain."""

    def app_answer(self, app: str, boot_info: tuple[Any, ...]) -> tuple[str, bool, str]:
        """Owner of the app contract, and its own answer."""
        ...

    def finalized_view(self, consortium: str) -> ChainView:
        """The consortium at one finalized block."""
        ...

    def latest_view(self, consortium: str) -> LatestView:
        """The consortium at the latest block of any node."""
        ...


@dataclass(frozen=True)
class BootInfo:
    """One boot request of a dstack KMS."""

    app_id: str
    """App contract."""
    compose_hash: bytes
    """32 bytes."""
    instance_id: str
    """20 bytes as an address; zero where the app has none."""
    device_id: bytes
    """32 bytes."""
    mr_aggregated: bytes
    """32 bytes."""
    mr_system: bytes
    """32 bytes; zero where it was not given."""
    os_image_hash: bytes
    """32 bytes."""
    tcb_status: str
    """TCB status."""
    advisory_ids: tuple[str, ...]
    """Advisories."""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> BootInfo:
        """Read a request; unknown fields are ignored, as dstack adds some. Raises `FormatError`."""
        advisories = body.get("advisoryIds", [])
        if not isinstance(advisories, list) or len(advisories) > MAX_ADVISORIES:
            raise FormatError(Code.MALFORMED, f"advisoryIds must be a list of at most {MAX_ADVISORIES}")
        status = body.get("tcbStatus", "")
        for text, limit in (
            (status, MAX_TCB_STATUS_CHARS),
            *((one, MAX_ADVISORY_CHARS) for one in advisories),
        ):
            if not isinstance(text, str) or len(text) > limit:
                raise FormatError(Code.MALFORMED, "tcbStatus and advisoryIds must be short texts")
        instance = _hex(body, "instanceId", 20, empty=True)
        return cls(
            app_id="0x" + _hex(body, "appId", 20).hex(),
            compose_hash=_hex(body, "composeHash", 32),
            instance_id="0x" + instance.hex() if instance else ZERO_ADDRESS,
            device_id=_hex(body, "deviceId", 32),
            mr_aggregated=_hex(body, "mrAggregated", 32),
            mr_system=_hex(body, "mrSystem", 32, empty=True) or bytes(32),
            os_image_hash=_hex(body, "osImageHash", 32),
            tcb_status=status,
            advisory_ids=tuple(advisories),
        )

    def fields(self) -> tuple[Any, ...]:
        """In the order of the contract's `AppBootInfo`."""
        return (
            self.app_id,
            self.compose_hash,
            self.instance_id,
            self.device_id,
            self.mr_aggregated,
            self.mr_system,
            self.os_image_hash,
            self.tcb_status,
            list(self.advisory_ids),
        )


def answer(allowed: bool, reason: str = "") -> dict[str, Any]:
    """The three fields that the KMS demands."""
    return {"isAllowed": allowed, "gatewayAppId": "", "reason": reason}


class BootAuthority:
    """Judges boot requests from the chain."""

    def __init__(
        self, chain: AppReader, *, chain_id: int, kms_measurements: frozenset[bytes] = frozenset()
    ) -> None:
        """`kms_measurements`: aggregated measurements of KMS builds that the
        operator vouches for; none by default."""
        self._chain = chain
        self._chain_id = chain_id
        self._kms_measurements = kms_measurements

    def app(self, info: BootInfo) -> dict[str, Any]:
        """Whether an app may boot. Never raises for what the chain does: no answer is a no."""
        try:
            return self._app(info)
        except ChainError as error:
            _log.warning("boot of %s refused: %s", info.app_id, error)
            return answer(False, UNAVAILABLE)

    def kms(self, info: BootInfo) -> dict[str, Any]:
        """Whether another KMS may share its root key: only builds that the operator named."""
        if info.tcb_status != "UpToDate":
            return answer(False, "TCB status is not up to date")
        if info.mr_aggregated not in self._kms_measurements:
            return answer(False, "Aggregated MR not allowed")
        return answer(True)

    def status(self) -> dict[str, Any]:
        """What `GET /` tells the KMS. There is no DstackKms contract behind
        this authority: addresses are zero."""
        return {
            "status": "ok",
            "kmsContractAddr": ZERO_ADDRESS,
            "ethRpcUrl": "",
            "gatewayAppId": "",
            "chainId": self._chain_id,
            "appAuthImplementation": ZERO_ADDRESS,
            "appImplementation": ZERO_ADDRESS,
        }

    def _app(self, info: BootInfo) -> dict[str, Any]:
        owner, allowed, reason = self._chain.app_answer(info.app_id, info.fields())
        if not allowed:
            return answer(False, reason)
        view = self._chain.finalized_view(owner)
        if view.app != info.app_id:
            return answer(False, "App is not owned by a consortium")
        latest = self._chain.latest_view(owner)
        if view.revoked_by is not None or latest.revoked_by is not None or latest.standing != view.standing:
            return answer(False, "Revoked")
        if not view.live:
            return answer(False, "Study is not live")
        if view.platform is None or info.os_image_hash not in view.platform.os_images:
            return answer(False, "OS image is not allowed")
        return answer(True)


def _hex(body: Mapping[str, Any], name: str, size: int, *, empty: bool = False) -> bytes:
    value = body.get(name, "" if empty else None)
    match = _HEX.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match[1] == "" and not empty):
        raise FormatError(Code.MALFORMED, f"{name} must be hex of {size} bytes")
    if match[1] == "":
        return b""
    if len(match[1]) != 2 * size:
        # dstack's own server pads short values; a padded hash is another hash.
        raise FormatError(Code.MALFORMED, f"{name} must have exactly {size} bytes")
    return bytes.fromhex(match[1])
