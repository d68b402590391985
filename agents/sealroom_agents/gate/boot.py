# SPDX-License-Identifier: Apache-2.0
"""`sealroom kms-webhook`: the answers that a dstack KMS asks for, without a gate. And the routes of both.

A KMS that asks the gate alone can't boot the gate for the first time, nor after all of them have stopped. So
it asks this process, which runs beside the KMS in its machine, holds no key, and reads the chain itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from sealroom.codes import Code
from sealroom.encoding import from_hex, strict_json
from sealroom.errors import FormatError
from sealroom.key_release.messages import MAX_BODY
from sealroom.platform_policy import PlatformPolicy
from sealroom_agents.chain import ChainReader
from sealroom_agents.chains import private_chain_option
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.gate.door import Answer, Call, Door, Lane, Route, told
from sealroom_agents.gate.policy_file import load_policy
from sealroom_agents.gate.webhook import BootApp, BootAuthority, BootInfo, answer
from sealroom_agents.host import announce, listen, serve
from sealroom_agents.telemetry.logs import FORMATS, log_to_stderr

BOOTS_AT_ONCE = 8
"""Boot requests judged at once; each reads the chain, for any caller."""
MALFORMED = "invalid authorization request"
"""dstack's own words for a request that its server cannot read."""
DEFAULT_PORT = 8401
KEEP_ALIVE_S = 15

_log = logging.getLogger(__name__)


def boot_routes(authority: BootAuthority) -> dict[tuple[str, str], Route]:
    """`GET /`, `POST /bootAuth/app` and `POST /bootAuth/kms`, as dstack's KMS asks."""
    boots = Lane("boot", BOOTS_AT_ONCE)

    def judged(decide: Callable[[BootInfo], dict[str, Any]]) -> Route:
        async def route(call: Call) -> Answer:
            body = await call.body(MAX_BODY, _MALFORMED)
            try:
                info = BootInfo.parse(strict_json(body.take(), MAX_BODY))
            except FormatError:
                return _MALFORMED
            return told(200, await boots(lambda: decide(info)))

        return route

    async def status(call: Call) -> Answer:
        return told(200, authority.status())

    return {
        ("GET", "/"): status,
        ("POST", "/bootAuth/app"): judged(lambda info: authority.app(info)),
        ("POST", "/bootAuth/kms"): judged(lambda info: authority.kms(info)),
    }


_MALFORMED = told(400, answer(False, MALFORMED))


def create_webhook(authority: BootAuthority) -> Door:
    """The webhook alone."""

    async def healthz(call: Call) -> Answer:
        return told(200, {"status": "ok"})

    return Door({**boot_routes(authority), ("GET", "/v1/healthz"): healthz})


def boot_apps(texts: Iterable[str], option: str) -> frozenset[BootApp]:
    """Apps as options name them. Raises `ConfigurationError`."""
    try:
        return frozenset(BootApp.parse(one) for one in texts)
    except FormatError as error:
        raise ConfigurationError(
            Code.CONFIGURATION, f"{option}: {error.message}", "write APP:COMPOSE, an address and a hash"
        ) from error


def os_images(policy: PlatformPolicy) -> frozenset[bytes]:
    """The images of a platform policy."""
    return frozenset(image.digest for image in policy.os_images)


@click.command("kms-webhook")
@click.option(
    "--rpc", "rpc_urls", multiple=True, required=True, metavar="URL",
    help="RPC endpoint; give several, which must agree.",
)  # fmt: skip
@click.option(
    "--rpc-quorum", type=click.IntRange(1), help="Endpoints that must answer, and alike; by default all."
)
@click.option("--chain-id", type=click.IntRange(1), required=True, help="The one chain that it reads.")
@private_chain_option
@click.option(
    "--platform-policy", "policy_file", required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The owners' platform policy, JSON: gate and gateway boot its OS images only.",
)  # fmt: skip
@click.option(
    "--boot-gate", "gates", multiple=True, metavar="APP:COMPOSE",
    help="A gate that may boot, by its app and compose hash; repeatable.",
)  # fmt: skip
@click.option(
    "--boot-gateway", "gateways", multiple=True, metavar="APP:COMPOSE",
    help="A dstack gateway that may boot; repeatable for versions of one app.",
)  # fmt: skip
@click.option(
    "--kms-measurement", "kms_measurements", multiple=True, metavar="HASH",
    help="Aggregated measurement (32 bytes) of a dstack KMS build that may share its root key.",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True,
    help="Port; 0 takes a free one.",
)  # fmt: skip
@click.option(
    "--log-format", type=click.Choice(FORMATS), default="text", show_default=True, help="For people, or JSON."
)
@click.option("--ready-file", type=click.Path(path_type=Path), help='Written when it listens: {"url": …}.')
def kms_webhook(
    rpc_urls: tuple[str, ...],
    rpc_quorum: int | None,
    chain_id: int,
    private_chain: int | None,
    policy_file: Path,
    gates: tuple[str, ...],
    gateways: tuple[str, ...],
    kms_measurements: tuple[str, ...],
    host: str,
    port: int,
    log_format: str,
    ready_file: Path | None,
) -> None:
    """Tell a dstack KMS what it may boot: what owners pinned on chain, the gate, and its gateway.

    Run it beside the KMS in the KMS's own machine, so that what is named here is measured with it. It holds
    no key. A KMS that asks the gate itself could not boot the gate.

    \b
    Example:
      sealroom kms-webhook --rpc URL --rpc URL --rpc URL --chain-id 1 --platform-policy policy.json \\
        --boot-gate 0xAPP:0xCOMPOSE
    """
    log_to_stderr(log_format)
    try:
        measurements = frozenset(from_hex(one.lower(), 32) for one in kms_measurements)
    except FormatError as error:
        raise ConfigurationError(Code.KMS_MEASUREMENT, f"--kms-measurement: {error.message}") from error
    chain = ChainReader(rpc_urls, quorum=rpc_quorum, expected_chain_id=chain_id, private_chain=private_chain)
    authority = BootAuthority(
        chain,
        chain_id=chain_id,
        os_images=os_images(load_policy(policy_file)),
        kms_measurements=measurements,
        gates=boot_apps(gates, "--boot-gate"),
        gateways=boot_apps(gateways, "--boot-gateway"),
    )
    try:
        with listen(host, port) as (listener, url):
            _log.info("chain %d, listening on %s", chain_id, url)
            app = create_webhook(authority)
            serve(app, listener, ready=lambda: announce(ready_file, url=url), keep_alive_s=KEEP_ALIVE_S)
    finally:
        chain.close()
