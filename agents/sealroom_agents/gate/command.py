# SPDX-License-Identifier: Apache-2.0
"""`sealroom gate`: start the gate from its options and serve until a signal ends it."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

import click

from sealroom.codes import Code
from sealroom.encoding import from_hex
from sealroom.errors import FormatError
from sealroom.key_release.messages import MAX_LEASE_SECONDS
from sealroom.platform_policy import MAX_POLICY_BYTES, PlatformPolicy
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
from sealroom_agents.chain import ChainReader, Transactor
from sealroom_agents.chain.sending import GWEI
from sealroom_agents.chains import LOCAL_CHAIN_IDS, private_chain_option
from sealroom_agents.errors import AttestationError, ConfigurationError, GateError
from sealroom_agents.gate.audit import AuditLog
from sealroom_agents.gate.http import create_app
from sealroom_agents.gate.root import GateRoot, connect_guest
from sealroom_agents.gate.service import Gate, GateConfig
from sealroom_agents.gate.sessions import Sessions
from sealroom_agents.gate.webhook import BootAuthority
from sealroom_agents.host import address_option, announce, listen, log_to_stderr, read_token, serve

DEFAULT_PCCS = "https://api.trustedservices.intel.com"
"""Intel's own service; a PCCS nearer by is faster."""
KEEP_ALIVE_S = 15
"""Seconds that an idle connection is kept."""

POLICY_FILE = "platform-policy.json"
"""The simulated platform's own policy, in its folder."""

_log = logging.getLogger("sealroom_agents.gate")


@click.command()
@click.option(
    "--rpc", "rpc_urls", multiple=True, required=True, metavar="URL",
    help="RPC endpoint; give several, which must agree.",
)  # fmt: skip
@click.option(
    "--rpc-quorum", type=click.IntRange(1), help="Endpoints that must answer, and alike; by default all."
)
@click.option(
    "--chain-id", type=click.IntRange(1), required=True, help="The one chain that this gate serves."
)
@private_chain_option
@click.option(
    "--state", type=click.Path(path_type=Path), required=True, help="Folder for nonces, leases, audit log."
)
@click.option(
    "--watch-token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="File of mode 0600 with the token that the watcher shows (at least 32 characters).",
)
@click.option(
    "--lease", "lease_seconds", type=click.IntRange(1, MAX_LEASE_SECONDS), default=30, show_default=True,
    help="Seconds that a grant lives unless renewed.",
)  # fmt: skip
@click.option(
    "--consortium", "consortia", multiple=True, metavar="ADDRESS",
    help="Serve only this consortium; may be repeated.",
)  # fmt: skip
@click.option(
    "--accept-audit-break", metavar="DIGEST",
    help="Set an audit log aside that does not hold, and begin a new one; the refusal names the digest.",
)  # fmt: skip
@click.option(
    "--max-fee", "max_fee_gwei", type=click.IntRange(1), default=500, show_default=True, metavar="GWEI",
    help="Most that a transaction of the gate pays per gas.",
)  # fmt: skip
@click.option("--require-gpu", is_flag=True, help="Refused: no GPU evidence is verified yet.")
@click.option(
    "--pccs", metavar="URL",
    help=f"Where Intel's collateral comes from.  [default: {DEFAULT_PCCS}; with --platform its folder]",
)  # fmt: skip
@click.option(
    "--platform-policy", "policy_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The owners' platform policy, JSON; required without --platform. [PLATFORM/platform-policy.json]",
)  # fmt: skip
@click.option(
    "--kms-measurement", "kms_measurements", multiple=True, metavar="HASH",
    help="Aggregated measurement (32 bytes) of a dstack KMS build that may share its root key.",
)  # fmt: skip
@click.option(
    "--guest-agent",
    type=click.Path(path_type=Path),
    help="Guest agent's socket; local chains only. [/var/run/dstack.sock]",
)
@click.option(
    "--platform", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Trust the simulated platform in this folder instead of Intel; local chains only.",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8400, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--ready-file", type=click.Path(path_type=Path), help='Written when it listens: {"url": …}.')
def command(
    rpc_urls: tuple[str, ...],
    rpc_quorum: int | None,
    chain_id: int,
    private_chain: int | None,
    state: Path,
    watch_token_file: Path,
    lease_seconds: int,
    consortia: tuple[str, ...],
    accept_audit_break: str | None,
    max_fee_gwei: int,
    require_gpu: bool,
    pccs: str | None,
    policy_file: Path | None,
    kms_measurements: tuple[str, ...],
    guest_agent: Path | None,
    platform: Path | None,
    host: str,
    port: int,
    ready_file: Path | None,
) -> None:
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
    log_to_stderr()
    if require_gpu:
        raise ConfigurationError(
            Code.GPU_EVIDENCE_UNVERIFIED,
            "--require-gpu: this version cannot verify a GPU's evidence, so it cannot demand it",
            "start without it; recipes that demand a GPU are refused",
        )
    _serve(
        rpc_urls=rpc_urls,
        rpc_quorum=rpc_quorum,
        private_chain=private_chain,
        config=GateConfig(
            chain_id=chain_id,
            lease_seconds=lease_seconds,
            consortia=frozenset(address_option(one, "consortium") for one in consortia),
        ),
        state=state,
        watch_token=read_token(watch_token_file),
        pccs=pccs,
        policy_file=policy_file,
        kms_measurements=frozenset(_digest(one, Code.KMS_MEASUREMENT) for one in kms_measurements),
        accept_audit_break=None
        if accept_audit_break is None
        else _digest(accept_audit_break, Code.ACCEPT_AUDIT_BREAK),
        max_fee_wei=max_fee_gwei * GWEI,
        guest_agent=guest_agent,
        platform=platform,
        host=host,
        port=port,
        ready_file=ready_file,
    )


def _serve(
    *,
    rpc_urls: tuple[str, ...],
    rpc_quorum: int | None,
    private_chain: int | None,
    config: GateConfig,
    state: Path,
    watch_token: str,
    pccs: str | None,
    policy_file: Path | None,
    kms_measurements: frozenset[bytes],
    accept_audit_break: bytes | None,
    max_fee_wei: int,
    guest_agent: Path | None,
    platform: Path | None,
    host: str,
    port: int,
    ready_file: Path | None,
) -> None:
    # What must not start at all is decided first, before any file or node is touched.
    client = connect_guest(chain_id=config.chain_id, environment=os.environ, guest_agent=guest_agent)
    policy = load_policy(policy_file or (None if platform is None else platform / POLICY_FILE))
    root_of_trust = trust_root(platform, config.chain_id)
    trust = trust_under(policy, root_of_trust)
    if len(rpc_urls) == 1 and config.chain_id not in LOCAL_CHAIN_IDS:
        _log.warning("one RPC endpoint only: this gate's view of the chain rests on it alone")
    sessions = Sessions.open(state)
    collateral = _collateral(platform, pccs, trust=trust, state=state, margin_s=config.lease_seconds)
    audit = AuditLog(state / "audit.jsonl", sessions, clock=_now, accept_break=accept_audit_break)
    chain = ChainReader(
        rpc_urls,
        quorum=rpc_quorum,
        expected_chain_id=config.chain_id,
        private_chain=private_chain,
        finalized_floor=sessions.highest("finalized"),
    )
    chain.chain_id()
    root = GateRoot(
        client, chain_id=config.chain_id, trust=trust, collateral=collateral, policy=policy, clock=_now
    )
    faults: list[str] = []

    def fault() -> None:
        # As a signal would end it: what is under way is answered first.
        faults.append("bookings")
        os.kill(os.getpid(), signal.SIGTERM)

    gate = Gate(
        config=config,
        root=root,
        chain=chain,
        sender=Transactor(rpc_urls[0], root.signer_key.reveal(), max_fee_wei=max_fee_wei),
        trust=trust,
        collateral=collateral,
        sessions=sessions,
        audit=audit,
        clock=_now,
        fault=fault,
    )
    gate.require_adopted_policy()
    authority = BootAuthority(chain, chain_id=config.chain_id, kms_measurements=kms_measurements)
    gate.started()
    try:
        with listen(host, port) as (listener, url):
            _log.info("chain %d, listening on %s", config.chain_id, url)
            app = create_app(gate, authority, watch_token=watch_token)
            serve(app, listener, ready=lambda: announce(ready_file, url=url), keep_alive_s=KEEP_ALIVE_S)
    finally:
        gate.close()
        audit.close()
        sessions.close()
        chain.close()
    if faults:
        raise GateError(
            Code.INTERNAL, "an unforeseen error has ended the bookings", "start the gate again; see its log"
        )


def load_policy(path: Path | None) -> PlatformPolicy:
    """The owners' platform policy. Raises `ConfigurationError`: `platform-policy-missing`,
    `platform-policy`."""
    if path is None:
        raise ConfigurationError(
            Code.PLATFORM_POLICY_MISSING,
            "the gate judges machines by the owners' platform policy, and was given none",
            "pass --platform-policy FILE with the document whose hash the owners adopt",
        )
    try:
        with path.open("rb") as stream:
            return PlatformPolicy.parse(stream.read(MAX_POLICY_BYTES + 1))
    except OSError as error:
        raise ConfigurationError(Code.PLATFORM_POLICY, f"cannot read {path}: {error.strerror}") from error
    except FormatError as error:
        raise ConfigurationError(Code.PLATFORM_POLICY, f"{path}: {error.message}") from error


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


def _digest(text: str, option: Code) -> bytes:
    try:
        return from_hex(text.lower() if text.startswith("0x") else "0x" + text.lower(), 32)
    except FormatError as error:
        raise ConfigurationError(option, f"--{option} {text!r} is {error}") from error


def _now() -> int:
    return int(time.time())
