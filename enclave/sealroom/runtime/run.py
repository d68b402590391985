# SPDX-License-Identifier: Apache-2.0
"""One run, in order: attest, receive the keys, compute under the lease, sign, hand out.

The order matters twice. The sandbox is started before there is any key in this process, so that nothing
secret can be in what it inherits. And the lease is checked last, after everything is signed and right before
the envelope appears.

Nothing leaves, neither a result nor a failure's code, before the gate has said that the run's opening is
final. Until then a reorganisation may take the opening back, and with it the ε that was booked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.envelope import build_envelope, result_digest
from sealroom.envelope.noise import mechanisms
from sealroom.envelope.statement import Statement, StatementPrivacy, quote_body_digest
from sealroom.errors import KeyReleaseError, SealroomError
from sealroom.key_release import (
    Challenge,
    EvidenceMessage,
    GateIdentity,
    GrantReply,
    Hello,
    check_kms_chain,
    evidence_digest,
    report_data,
    transcript_1,
    verify_challenge,
    verify_grant,
)
from sealroom.keys import KemPrivateKey, Secret, address_of, generate_signer
from sealroom.privacy.slots import seconds_to_slot
from sealroom.recipe import Recipe, parse
from sealroom.recipe.result import build_result
from sealroom.runtime.datasets import Datasets
from sealroom.runtime.gate_client import Gate, HttpGate
from sealroom.runtime.guest_agent import Guest, Quote
from sealroom.runtime.lease import Lease, LeaseEnd, clock
from sealroom.runtime.sandbox import Sandbox, Service
from sealroom.sealed.target import sealed_output

ENVELOPE_NAME = "envelope.json"
GPU_EVIDENCE = b""
"""None yet: the gate verifies none, and refuses what it cannot verify."""

OnStop = Callable[[Callable[[], None]], None]
"""Takes what stops a run, to be called when the host wants the enclave to end."""
STOPPED = LeaseEnd(
    cause=Code.STOPPED,
    message="the host stops the enclave: keys wiped, job killed, emit refused from here on",
)


class Report(Protocol):
    """Where the phases of a run are told."""

    def __call__(self, phase: str, **facts: Any) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked of this enclave.

    Comes from the host, and decides nothing: the gate checks it against the chain.
    """

    run_id: bytes
    """32 bytes."""
    consortium: str
    chain_id: int
    gate_url: str
    datasets: Path
    """Folder with OWNER/NAME.tar."""
    out: Path
    """Folder in which the envelope appears."""
    guest_agent: Path | None = None
    """Another guest agent's socket; local chains only."""
    channel: Path | None = None
    """Folder in which the service `job` listens; without it, this process starts the launcher of its job."""


@dataclass(frozen=True, kw_only=True)
class _Session:
    """The keys of this run, made fresh for it, and what was said with them."""

    kem: KemPrivateKey
    signer: Secret
    address: str
    """Address of `signer`."""
    identity: GateIdentity
    hello: Hello
    challenge: Challenge
    transcript: bytes
    """T0."""
    quote: Quote


def execute(
    order: Order,
    *,
    environment: Mapping[str, str],
    report: Report,
    gate: Gate | None = None,
    on_stop: OnStop = lambda stop: None,
) -> Path:
    """Carry out one run; returns the envelope's path.

    `on_stop` is handed what ends the lease from outside, once there is one. Raises `SealroomError`;
    `LeaseEnded` when the lease ended.
    """
    guest = Guest.connect(chain_id=order.chain_id, environment=environment, simulator=order.guest_agent)
    gate = gate or HttpGate(order.gate_url)
    beside = nullcontext() if order.channel is None else Service(order.channel)
    with beside as service, Sandbox.start(service=service) as sandbox:
        info = guest.info()
        recipe = parse(info.compose)
        threading.Thread(target=_warm_up, args=(recipe,), name="warm-up", daemon=True).start()
        datasets = Datasets.locate(
            order.datasets, recipe, chain_id=order.chain_id, consortium=order.consortium
        )
        report("attesting", composeHash=to_hex(recipe.compose_hash))
        session = _attest(order, recipe, guest=guest, gate=gate)
        granted = clock()
        reply = gate.evidence(_evidence(session, datasets))
        grant_hash = _check_grant(reply, order, recipe, session=session, datasets=datasets)
        report("granted", block=reply.grant.block_number, opened=to_hex(reply.opened.tx))

        wiping = threading.Lock()

        def wipe() -> None:
            with wiping:
                datasets.wipe()
                session.signer.wipe()

        def end(_: LeaseEnd) -> None:
            wipe()
            sandbox.kill()

        lease = Lease(
            gate,
            run_id=order.run_id,
            chain_id=order.chain_id,
            consortium=order.consortium,
            signer=session.signer,
            gate_signer=session.identity.signer,
            granted=granted,
            seconds=reply.grant.lease_seconds,
            on_end=end,
            # Whenever it comes: that tells nothing of how far the analysis is.
            on_final=lambda: report("final"),
        )
        lease.start()
        on_stop(lambda: lease.end_now(STOPPED))
        try:
            return _compute_and_sign(
                order, recipe, report, sandbox=sandbox, lease=lease, session=session, reply=reply,
                grant_hash=grant_hash, datasets=datasets, granted=granted, app_id=info.app_id,
            )  # fmt: skip
        except SealroomError:
            lease.check()  # whatever failed because keys were wiped and the job killed, this is the reason
            raise
        finally:
            lease.stop()
            wipe()


def _attest(order: Order, recipe: Recipe, *, guest: Guest, gate: Gate) -> _Session:
    """Make this run's keys and have the hardware vouch for them."""
    identity = gate.identity()
    check_kms_chain(identity)
    kem, signer = KemPrivateKey.generate(), generate_signer()
    address = address_of(signer.reveal())
    hello = Hello(
        run_id=order.run_id,
        chain_id=order.chain_id,
        consortium=order.consortium,
        compose_hash=recipe.compose_hash,
        epsilon_micro=recipe.epsilon_micro,
        delta_pico=recipe.delta_pico,
    )
    challenge = gate.hello(hello)
    transcript = verify_challenge(hello, challenge, signer=identity.signer)
    quote = guest.quote(
        report_data(transcript, kem_key=kem.public, signer=address, gpu_evidence=GPU_EVIDENCE)
    )
    return _Session(
        kem=kem, signer=signer, address=address, identity=identity, hello=hello, challenge=challenge,
        transcript=transcript, quote=quote,
    )  # fmt: skip


def _evidence(session: _Session, datasets: Datasets) -> EvidenceMessage:
    return EvidenceMessage(
        nonce=session.challenge.nonce,
        kem_key=session.kem.public,
        signer=session.address,
        quote=session.quote.quote,
        event_log=session.quote.event_log,
        gpu_evidence=GPU_EVIDENCE,
        datasets=datasets.offers(),
    )


def _check_grant(
    reply: GrantReply, order: Order, recipe: Recipe, *, session: _Session, datasets: Datasets
) -> bytes:
    """Check that this grant is by the owners' gate and for exactly this run, then take its keys.

    Returns the grant hash. Raises `KeyReleaseError`: "grant-forged",
    "grant-mismatch", "gate-mismatch", "release-does-not-open".
    """
    grant = reply.grant
    grant_hash = verify_grant(
        grant,
        reply.grant_signature,
        signer=session.identity.signer,
        chain_id=order.chain_id,
        consortium=order.consortium,
    )
    own = {
        "run_id": order.run_id,
        "compose_hash": recipe.compose_hash,
        "enclave_signer": session.address,
        "kem_key_hash": sha256(session.kem.public),
        "transcript": sha256(session.transcript),
        "evidence": evidence_digest(
            quote=session.quote.quote, event_log=session.quote.event_log, gpu_evidence=GPU_EVIDENCE
        ),
        "datasets_root": datasets.root,
        "epsilon_micro": recipe.epsilon_micro,
        "delta_pico": recipe.delta_pico,
    }
    for name, value in own.items():
        if getattr(grant, name) != value:
            raise KeyReleaseError(Code.GRANT_MISMATCH, f"the grant is not for this run: {name} differs")
    datasets.check_gate(session.identity)
    transcript = transcript_1(
        session.transcript,
        kem_key=session.kem.public,
        signer=session.address,
        gate_signer=session.identity.signer,
        grant=grant,
    )
    datasets.accept(reply.keys, private=session.kem, transcript=transcript)
    return grant_hash


def _compute_and_sign(
    order: Order,
    recipe: Recipe,
    report: Report,
    *,
    sandbox: Sandbox,
    lease: Lease,
    session: _Session,
    reply: GrantReply,
    grant_hash: bytes,
    datasets: Datasets,
    granted: float,
    app_id: bytes,
) -> Path:
    # Imported by now, or almost: see _warm_up.
    from sealroom.privacy.release import Releases
    from sealroom.runtime.custodian import Custodian

    report("computing", walls=asdict(sandbox.ready()))
    releases = Releases(
        recipe.privacy, recipe.output, epsilon_micro=reply.grant.epsilon_micro, rows=recipe.rows
    )
    custodian = Custodian(
        recipe,
        open_dataset=datasets.open,
        open_parquet=datasets.open_parquet,
        releases=releases,
        check_lease=lease.check,
    )
    try:
        try:
            fields = custodian.serve(sandbox)
            result = build_result(fields, recipe)
        finally:
            datasets.wipe()  # the wait may be long, and neither a result nor a failure needs them
            sandbox.kill()
    except Exception:
        # A failure leaves on a whole slot, as a result does: when an analysis fails is its own choice, and
        # could tell a value. So is how long it takes to be gone. A lease that ends is nothing of its choice,
        # and ends the wait at once.
        lease.wait_final()
        lease.wait(_next_slot(granted, recipe)[1])
        raise
    lease.wait_final()
    slot, wait = _next_slot(granted, recipe)
    statement = _statement(
        result, order, recipe, app_id=app_id, session=session, reply=reply, grant_hash=grant_hash,
        datasets=datasets, slot=slot,
    )  # fmt: skip
    envelope = build_envelope(
        statement=statement,
        result=result,
        private_key=session.signer.reveal(),
        grant=reply.grant,
        grant_signature=reply.grant_signature,
        hello=session.hello,
        challenge=session.challenge,
        kem_key=session.kem.public,
        gpu_evidence=GPU_EVIDENCE,
        quote=session.quote.quote,
        event_log=session.quote.event_log,
        collateral=reply.collateral,
        gate=session.identity,
        recipe=recipe.compose,
    ).encode()
    lease.wait(wait)
    report("emitting")  # not before the slot: when the analysis ended is not for the host to know
    order.out.mkdir(parents=True, exist_ok=True)
    target = order.out / ENVELOPE_NAME
    with sealed_output(target, overwrite=True) as stream:
        stream.write(envelope)
        lease.check()
    report("done", envelope=str(target), slot=slot)
    return target


def _next_slot(granted: float, recipe: Recipe) -> tuple[int, float]:
    """Its number, and the seconds until it begins."""
    return seconds_to_slot(clock() - granted, slot_seconds=recipe.privacy.release_slot_seconds)


def _statement(
    result: Mapping[str, Any],
    order: Order,
    recipe: Recipe,
    *,
    app_id: bytes,
    session: _Session,
    reply: GrantReply,
    grant_hash: bytes,
    datasets: Datasets,
    slot: int,
) -> Statement:
    grant = reply.grant
    return Statement(
        result_digest=result_digest(result),
        run_id=order.run_id,
        chain_id=order.chain_id,
        consortium=order.consortium,
        ledger=grant.ledger,
        app=to_hex(app_id),
        study=grant.study,
        compose_hash=recipe.compose_hash,
        output_hash=recipe.output_hash,
        privacy_hash=recipe.privacy_hash,
        datasets=datasets.stated(),
        privacy=StatementPrivacy(
            unit=recipe.unit,
            adjacency=recipe.privacy.adjacency,
            epsilon_micro=grant.epsilon_micro,
            delta=recipe.privacy.delta,
            mechanisms=mechanisms(recipe.output, rows=recipe.rows),
        ),
        grant_hash=grant_hash,
        standing=grant.standing,
        block_number=grant.block_number,
        block_hash=grant.block_hash,
        quote_body_digest=quote_body_digest(session.quote.quote),
        issued_slot=slot,
    )


def _warm_up(recipe: Recipe) -> None:
    """Import what takes longest while the gate verifies and waits for its transaction."""
    import sealroom.runtime.custodian  # noqa: F401

    for field in recipe.output.fields:
        field.kind.warm_up()
