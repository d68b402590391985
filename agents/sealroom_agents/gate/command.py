# SPDX-License-Identifier: Apache-2.0
"""`sealroom gate`: start the gate from its options and serve until a signal ends it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import from_hex
from sealroom.keys import KeyInterface
from sealroom.platform_policy import SAFE
from sealroom_agents.attestation import (
    INTEL,
    CollateralSource,
    DirectoryCollateral,
    Pccs,
    PccsCollateral,
    TrustRoot,
    load_simulated_root,
    require_local_chain,
    trust_under,
)
from sealroom_agents.chain import ChainReader, FollowedChain, Transactor
from sealroom_agents.chain.fees import GWEI
from sealroom_agents.chains import LOCAL_CHAIN_IDS
from sealroom_agents.config import Config, process_command, required
from sealroom_agents.config.model import DEFAULT_PCCS, Chain
from sealroom_agents.config.model import Gate as Settings
from sealroom_agents.errors import AttestationError, ConfigurationError, GateError
from sealroom_agents.gate.audit import AuditLog
from sealroom_agents.gate.booking import OPEN_WITHIN_S
from sealroom_agents.gate.boot import boot_apps, os_images
from sealroom_agents.gate.gpus import GpuJudge
from sealroom_agents.gate.http import create_app
from sealroom_agents.gate.operation import Operation
from sealroom_agents.gate.policy_file import load_policy
from sealroom_agents.gate.root import GateRoot
from sealroom_agents.gate.service import Gate, GateConfig
from sealroom_agents.gate.sessions import Sessions
from sealroom_agents.gate.webhook import BootApp, BootAuthority
from sealroom_agents.guest_socket import connect_guest
from sealroom_agents.host import announce, listen, read_token, serve
from sealroom_agents.telemetry.logs import log_to_stderr
from sealroom_agents.telemetry.metrics import serve_metrics

KEEP_ALIVE_S = 15
"""Seconds that an idle connection is kept."""
MAX_CONNECTIONS = 768
"""Connections at once: hundreds of enclaves renew, while as many wait for their keys."""
SWITCH_S = 0.001
"""How long one thread may compute while others, which renew leases, want to."""

POLICY_FILE = "platform-policy.json"
"""The simulated platform's own policy, in its folder."""
GPU_FOLDER = "gpu"
"""What the simulated platform publishes of its GPUs, in its folder."""

_log = logging.getLogger("sealroom_agents.gate")


@process_command("gate")
def command(config: Config) -> None:
    """Release data keys to attested enclaves, and to nothing else.

    The gate runs in its own confidential VM and takes its root key from dstack. It serves every consortium
    whose owners adopted it on chain. An enclave says hello, proves by a TDX quote what it runs, and gets its
    keys only when a quorum of owners pinned exactly that recipe, nobody revoked, and the ledger booked the
    run's privacy budget.

    \b
    On a local chain with a simulated platform:
      sealroom gate --rpc http://127.0.0.1:8545 --chain-id 31337 --platform platform/ \\
        --guest-agent gate.sock --watch-token-file watch.token --state gate/
    \b
    In production, inside its CVM:
      sealroom gate --rpc https://… --rpc https://… --rpc https://… --chain-id 1 \\
        --platform-policy policy.json --watch-token-file /run/secrets/watch-token --state /data --host 0.0.0.0

    The gate's signer pays for the transactions that open runs: fund the address that GET /v1/gate shows. A
    transaction that no block takes is replaced by one with a higher fee, up to --max-fee. No other program
    may send with this key.
    Exit status: 0 ended by a signal, 1 failed, 2 usage, 78 must not start as configured.
    """
    log_to_stderr(config.log.format)
    settings = required(config.gate, "gate", "state")
    _serve(config.chain, settings, config.simulator.platform)


def _serve(nodes: Chain, settings: Settings, platform: Path | None) -> None:
    sys.setswitchinterval(SWITCH_S)
    chain_id = required(nodes.id, "chain", "id")
    watch_token = read_token(settings.watch_token_file)
    # What must not start at all is decided first, before any file or node is touched.
    guest = connect_guest(chain_id=chain_id, environment=os.environ, guest_agent=settings.guest_agent)
    policy = load_policy(settings.platform_policy or (None if platform is None else platform / POLICY_FILE))
    trust = trust_under(policy, trust_root(platform, chain_id))
    gpus = None
    if policy.gpu is not None:
        material = settings.gpu_material or (None if platform is None else platform / GPU_FOLDER)
        gpus = GpuJudge.open(policy.gpu, material, trust=trust)
    if len(nodes.rpc) == 1 and chain_id not in LOCAL_CHAIN_IDS:
        _log.warning("one RPC endpoint only: this gate's view of the chain rests on it alone")
    sessions = Sessions.open(settings.state)
    collateral = _collateral(
        platform, settings.pccs, trust=trust, state=settings.state, margin_s=policy.lease_seconds
    )
    accepted = settings.accept_audit_break
    audit = AuditLog(
        settings.state / "audit.jsonl", sessions, clock=_now,
        accept_break=None if accepted is None else from_hex(accepted, 32),
    )  # fmt: skip
    reader = ChainReader(
        nodes.urls,
        quorum=nodes.quorum,
        expected_chain_id=chain_id,
        private_chain=nodes.private_chain,
        finalized_floor=sessions.highest("finalized"),
    )
    reader.chain_id()
    root = GateRoot(
        guest, chain_id=chain_id, trust=trust, collateral=collateral, policy=policy, clock=_now,
        keys=KeyInterface(settings.guest_keys),
    )  # fmt: skip
    sender = Transactor(
        nodes.urls,
        root.signer_key.reveal(),
        quorum=nodes.quorum,
        chain_id=chain_id,
        max_fee_wei=settings.max_fee * GWEI,
        # Until a block shows that the last of its runs can be opened no more.
        receipt_timeout_s=OPEN_WITHIN_S + 15.0,
    )
    faults: list[str] = []

    def fault() -> None:
        # As a signal would end it: what is under way is answered first.
        faults.append("bookings")
        os.kill(os.getpid(), signal.SIGTERM)

    operation = Operation(
        chain=reader,
        root=root,
        collateral=collateral,
        audit=audit,
        sessions=sessions,
        state=settings.state,
        max_fee_wei=settings.max_fee * GWEI,
        clock=_now,
    )
    # Anybody may ask about apps and final blocks: what that does to nodes counts for nothing else.
    asked = ChainReader(
        nodes.urls, quorum=nodes.quorum, expected_chain_id=chain_id, private_chain=nodes.private_chain
    )
    chain = FollowedChain(reader, reader.follow(safe=policy.emit == SAFE), asked=asked)
    gate = Gate(
        config=GateConfig(chain_id=chain_id, consortia=frozenset(settings.consortia)),
        root=root,
        chain=chain,
        sender=sender,
        trust=trust,
        collateral=collateral,
        sessions=sessions,
        audit=audit,
        clock=_now,
        ready=operation.ready,
        fault=fault,
        gpus=gpus,
    )
    gate.require_adopted_policy()
    # The gate boots as itself, whoever else is named: else no KMS that asks it could boot it again.
    authority = BootAuthority(
        asked,
        chain_id=chain_id,
        os_images=os_images(policy),
        kms_measurements=frozenset(from_hex(one, 32) for one in settings.kms_measurements),
        gates=boot_apps(settings.boot_gates, "--boot-gate") | {BootApp(root.app, root.compose_hash)},
        gateways=boot_apps(settings.boot_gateways, "--boot-gateway"),
    )
    gate.started()
    operation.start(gate, chain)
    try:
        with listen(settings.host, settings.port) as (listener, url):
            serve_metrics(settings.metrics, operation.conditions)
            _log.info("chain %d, listening on %s", chain_id, url)
            app = create_app(gate, authority, watch_token=watch_token, conditions=operation.conditions)
            serve(
                app,
                listener,
                ready=lambda: announce(settings.ready_file, url=url),
                keep_alive_s=KEEP_ALIVE_S,
                connections=MAX_CONNECTIONS,
            )
    finally:
        operation.close()
        gate.close()
        audit.close()
        sessions.close()
        chain.close()
        reader.close()
        asked.close()
        sender.close()
    if faults:
        raise GateError(
            Code.INTERNAL,
            "an unforeseen error has ended a part of the gate",
            "start the gate again; see its log",
        )


def trust_root(platform: Path | None, chain_id: int) -> TrustRoot:
    """Root of trust, without the owners' rules. Raises `ConfigurationError`."""
    if platform is None:
        return INTEL
    trust = load_simulated_root(platform / "root.der")
    try:
        require_local_chain(trust, chain_id)
    except AttestationError as error:
        raise ConfigurationError(error.code, error.message, error.hint) from error
    return trust


def _collateral(
    platform: Path | None, pccs: str | None, *, trust: TrustRoot, state: Path, margin_s: int
) -> CollateralSource:
    """A simulated platform has its collateral in its folder, unless a PCCS is named."""
    if platform is not None and pccs is None:
        return DirectoryCollateral(platform)
    return PccsCollateral(
        Pccs(pccs or DEFAULT_PCCS), trust=trust, folder=state / "collateral", clock=_now, margin_s=margin_s
    )


def _now() -> int:
    return int(time.time())
