# SPDX-License-Identifier: Apache-2.0
"""Answers to dstack's own KMS, so that it boots only what the owners allow.

Interface: dstack `kms/src/main_service/upgrade_authority.rs` and its `auth-eth` server: `POST /bootAuth/app`,
`POST /bootAuth/kms`, `GET /`. Three things differ from `auth-eth`, all to the strict side: hashes must have
their full length, the answer comes from a finalized block on which all nodes agree, and a revocation that any
node shows counts at once. Whatever goes wrong, the answer is no (fail closed).

Two kinds of apps belong to no consortium, and boot all the same: the gate itself, else a KMS that asks the
gate could never boot it, and the dstack gateway through which it is reached. Both are named by app and
recipe. The names stand in the app-compose of whoever answers: of the gate, whose compose hash the owners
adopt with their platform, or of the KMS, where `sealroom kms-webhook` runs beside it and needs no gate. So
nobody adds one without the owners' seeing another hash. Nothing but a TDX machine of dstack's boots: no other
kind of TEE is verified here.

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
from sealroom.encoding import from_hex, normal_address
from sealroom.errors import FormatError
from sealroom_agents.errors import ChainError, ConfigurationError
from sealroom_agents.facts import ChainView, LatestView

MAX_TCB_STATUS_CHARS = 128
MAX_ADVISORIES = 128
MAX_ADVISORY_CHARS = 256
ZERO_ADDRESS = "0x" + 40 * "0"
TEE_VARIANT = "dstack-tdx"
"""The one kind of machine that boots: other kinds have other quotes, and nothing here judges them."""
UNAVAILABLE = "authorization backend unavailable"
"""dstack's own words for a back end that fails."""
NOT_UP_TO_DATE = "TCB status is not up to date"
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
    tee_variant: str
    """What kind of machine the KMS says it is; empty where it does not say."""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> BootInfo:
        """Read a request; unknown fields are ignored, as dstack adds some. Raises `FormatError`."""
        advisories = body.get("advisoryIds", [])
        if not isinstance(advisories, list) or len(advisories) > MAX_ADVISORIES:
            raise FormatError(Code.MALFORMED, f"advisoryIds must be a list of at most {MAX_ADVISORIES}")
        status = body.get("tcbStatus", "")
        # dstack 0.5.11 calls it `attestationMode`.
        variant = body.get("teeVariant", body.get("attestationMode", ""))
        for text, limit in (
            (status, MAX_TCB_STATUS_CHARS),
            (variant, MAX_TCB_STATUS_CHARS),
            *((one, MAX_ADVISORY_CHARS) for one in advisories),
        ):
            if not isinstance(text, str) or len(text) > limit:
                raise FormatError(Code.MALFORMED, "tcbStatus, teeVariant and advisoryIds must be short texts")
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
            tee_variant=variant,
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


@dataclass(frozen=True)
class BootApp:
    """An app that may boot without a consortium: the gate, its next version, or a dstack gateway."""

    app_id: str
    """Its contract, or whatever address the KMS knows it by."""
    compose_hash: bytes
    """The one recipe that may boot under it, 32 bytes."""

    @classmethod
    def parse(cls, text: str) -> BootApp:
        """Read APP:COMPOSE, an address and a hash. Raises `FormatError`."""
        app, _, compose = text.partition(":")
        return cls(normal_address(app), from_hex(compose.lower(), 32))


def answer(allowed: bool, reason: str = "", *, gateway: str = "") -> dict[str, Any]:
    """The three fields that the KMS demands."""
    return {"isAllowed": allowed, "gatewayAppId": gateway, "reason": reason}


class BootAuthority:
    """Judges boot requests from the chain."""

    def __init__(
        self,
        chain: AppReader,
        *,
        chain_id: int,
        os_images: frozenset[bytes] = frozenset(),
        kms_measurements: frozenset[bytes] = frozenset(),
        gates: frozenset[BootApp] = frozenset(),
        gateways: frozenset[BootApp] = frozenset(),
    ) -> None:
        """`os_images`: those of the platform policy, for gates and gateways. `kms_measurements`: aggregated
        measurements of KMS builds that may share the root key. None by default.

        Raises `ConfigurationError` `configuration` where gateways are of several apps: a KMS knows one.
        """
        apps = {one.app_id for one in gateways}
        if len(apps) > 1:
            raise ConfigurationError(
                Code.CONFIGURATION, "the gateways are of several apps, and a KMS tells its guests of one"
            )
        self._chain = chain
        self._chain_id = chain_id
        self._os_images = os_images
        self._kms_measurements = kms_measurements
        self._boot_apps = gates | gateways
        self._gateway = next(iter(apps), "")

    def app(self, info: BootInfo) -> dict[str, Any]:
        """Whether an app may boot. Never raises for what the chain does: no answer is a no."""
        if (refusal := _other_tee(info)) is not None:
            return refusal
        if any(info.app_id == one.app_id for one in self._boot_apps):
            return self._own(info)
        try:
            return self._app(info)
        except ChainError as error:
            _log.warning("boot of %s refused: %s", info.app_id, error)
            return answer(False, UNAVAILABLE)

    def kms(self, info: BootInfo) -> dict[str, Any]:
        """Whether another KMS may share its root key: only builds that the operator named."""
        if (refusal := _other_tee(info)) is not None:
            return refusal
        if info.tcb_status != "UpToDate":
            return answer(False, NOT_UP_TO_DATE)
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
            "gatewayAppId": self._gateway,
            "chainId": self._chain_id,
            "appAuthImplementation": ZERO_ADDRESS,
            "appImplementation": ZERO_ADDRESS,
        }

    def _own(self, info: BootInfo) -> dict[str, Any]:
        """The gate or a gateway: no chain is asked, so a KMS can boot the gate whatever the chain does."""
        if BootApp(info.app_id, info.compose_hash) not in self._boot_apps:
            return answer(False, "This version of the app is not named")
        if info.tcb_status != "UpToDate":
            return answer(False, NOT_UP_TO_DATE)
        if info.os_image_hash not in self._os_images:
            return answer(False, "OS image is not allowed")
        return answer(True, gateway=self._gateway)

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


def _other_tee(info: BootInfo) -> dict[str, Any] | None:
    if info.tee_variant == TEE_VARIANT:
        return None
    named = repr(info.tee_variant) if info.tee_variant else "not named"
    return answer(False, f"The TEE is {named}, and must be {TEE_VARIANT}")


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
