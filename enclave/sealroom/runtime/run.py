# SPDX-License-Identifier: Apache-2.0
"""One run, in order: attest, receive the keys, compute under the lease, sign, hand out.

The order matters twice. The sandbox is started before there is any key in this process, so that nothing
secret can be in what it inherits. And the lease is checked last, after everything is signed and right before
the envelope appears.

The one outcome of a run, a result or a failure, leaves at the instant that the recipe declares, and the job
is killed some time before in every case (`sealroom.runtime.clock`). Nothing leaves before the gate has said
that the run's opening is final: until then a reorganisation may take the opening back, and with it the ε that
was booked.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.envelope import build_envelope, result_digest
from sealroom.envelope.noise import mechanisms
from sealroom.envelope.statement import Statement, StatementPrivacy, quote_body_digest
from sealroom.errors import JobError, KeyReleaseError, SealroomError
from sealroom.failure import FAILURE_NAME, Details, FailedRun, build_failure
from sealroom.key_release import (
    Challenge,
    EvidenceMessage,
    GateIdentity,
    GrantReply,
    Hello,
    check_kms_chain,
    check_lease_seconds,
    evidence_digest,
    gpu_nonce,
    report_data,
    transcript_1,
    verify_challenge,
    verify_grant,
)
from sealroom.keys import KemPrivateKey, Secret, address_of, generate_signer
from sealroom.recipe import Recipe, parse
from sealroom.recipe.result import build_result
from sealroom.runtime.admission import admit
from sealroom.runtime.clock import Clock, boot_seconds, margin
from sealroom.runtime.datasets import Datasets
from sealroom.runtime.gate_client import Gate, HttpGate
from sealroom.runtime.guest_agent import Guest, Quote
from sealroom.runtime.lease import Lease, LeaseEnd
from sealroom.runtime.sandbox import Sandbox, Service
from sealroom.sealed.target import sealed_output

ENVELOPE_NAME = "envelope.json"

OnStop = Callable[[Callable[[], None]], None]
"""Takes what stops a run, to be called when the host wants the enclave to end."""
STOPPED = LeaseEnd(
    cause=Code.STOPPED,
    message="the host stops the enclave: keys wiped, job killed, emit refused from here on",
)


class RunFailed(SealroomError):
    """The run failed after its keys were released, and `failure.json` is written."""

    def __init__(self, datasets: Datasets) -> None:
        known, count = len(datasets.report_keys()), len(datasets.ids)
        told = {
            0: "no dataset has a report key, so nobody can read why",
            count: "the owners of its datasets read why",
        }.get(known, f"the owners of those {known} of its {count} datasets that have a report key read why")
        hint = f": sealroom explain-failure {FAILURE_NAME} --key report-key.secret" if known else ""
        super().__init__(Code.RUN_FAILED, f"the run failed; {told}{hint}")


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
    """Folder in which the envelope appears, or the failure file."""
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
    gpu_evidence: bytes
    """What the GPUs signed for this run; empty where the recipe demands none."""
    quote: Quote


def execute(
    order: Order,
    *,
    environment: Mapping[str, str],
    report: Report,
    gate: Gate | None = None,
    on_stop: OnStop = lambda stop: None,
    clock: Clock | None = None,
) -> Path:
    """Carry out one run; returns the envelope's path. It waits for the instant of release by `clock`.

    `on_stop` is handed what ends the lease from outside, once there is one. Raises `SealroomError`;
    `RunFailed` for every failure between the grant and the instant of release, `LeaseEnded` when the lease
    ended.
    """
    clock = clock or Clock()
    guest = Guest.connect(chain_id=order.chain_id, environment=environment, simulator=order.guest_agent)
    gate = gate or HttpGate(order.gate_url)
    info = guest.info()
    recipe = parse(info.compose)
    beside = nullcontext() if order.channel is None else Service(order.channel)
    with beside as service, Sandbox.of(recipe, service=service) as sandbox:
        threading.Thread(target=_warm_up, args=(recipe,), name="warm-up", daemon=True).start()
        datasets = Datasets.locate(
            order.datasets, recipe, chain_id=order.chain_id, consortium=order.consortium
        )
        walls = sandbox.ready()  # a sandbox that does not hold costs no ε
        admit(recipe, datasets, job_bytes=walls.memory_bytes)
        report("attesting", composeHash=to_hex(recipe.compose_hash))
        session = _attest(order, recipe, guest=guest, gate=gate)
        asked = boot_seconds()
        reply = gate.evidence(_evidence(session, datasets))
        granted = clock.now()
        grant_hash = _check_grant(reply, order, recipe, session=session, datasets=datasets)
        report("granted", block=reply.grant.block_number, opened=to_hex(reply.opened.tx))

        wiping = threading.Lock()

        def wipe() -> None:
            with wiping:
                datasets.wipe()
                session.signer.wipe()

        kill: list[Callable[[], object]] = [sandbox.kill]

        def end(_: LeaseEnd) -> None:
            wipe()
            for each in kill:
                each()

        lease = Lease(
            gate,
            run_id=order.run_id,
            chain_id=order.chain_id,
            consortium=order.consortium,
            signer=session.signer,
            gate_signer=session.identity.signer,
            granted=asked,
            seconds=reply.grant.lease_seconds,
            on_end=end,
            # Whenever they come: that tells nothing of how far the analysis is.
            on_final=lambda: report("final"),
            on_renewal=lambda left, seconds: report("renewed", left=round(left, 1), seconds=seconds),
        )
        lease.start()
        on_stop(lambda: lease.end_now(STOPPED))
        report("computing", walls=asdict(walls))
        try:
            return _compute_and_sign(
                order, recipe, report, sandbox=sandbox, service=service, kill=kill, lease=lease,
                session=session, reply=reply, grant_hash=grant_hash, datasets=datasets, granted=granted,
                clock=clock, app_id=info.app_id,
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
        guarantee=recipe.guarantee.name,
        gpu=recipe.gpu,
    )
    challenge = gate.hello(hello)
    transcript = verify_challenge(hello, challenge, signer=identity.signer)
    # A nonce of this exchange and these keys, then a quote of what was signed under it: in this order.
    gpu_evidence = b""
    if recipe.gpu is not None:
        gpu_evidence = guest.gpu_evidence(gpu_nonce(transcript, kem_key=kem.public, signer=address))
    quote = guest.quote(
        report_data(transcript, kem_key=kem.public, signer=address, gpu_evidence=gpu_evidence)
    )
    return _Session(
        kem=kem, signer=signer, address=address, identity=identity, hello=hello, challenge=challenge,
        transcript=transcript, gpu_evidence=gpu_evidence, quote=quote,
    )  # fmt: skip


def _evidence(session: _Session, datasets: Datasets) -> EvidenceMessage:
    return EvidenceMessage(
        nonce=session.challenge.nonce,
        kem_key=session.kem.public,
        signer=session.address,
        quote=session.quote.quote,
        event_log=session.quote.event_log,
        gpu_evidence=session.gpu_evidence,
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
            quote=session.quote.quote,
            event_log=session.quote.event_log,
            gpu_evidence=session.gpu_evidence,
            gpu_material=reply.gpu_material,
        ),
        "datasets_root": datasets.root,
        "epsilon_micro": recipe.epsilon_micro,
        "delta_pico": recipe.delta_pico,
    }
    for name, value in own.items():
        if getattr(grant, name) != value:
            raise KeyReleaseError(Code.GRANT_MISMATCH, f"the grant is not for this run: {name} differs")
    check_lease_seconds(grant)
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
    service: Service | None,
    kill: list[Callable[[], object]],
    lease: Lease,
    session: _Session,
    reply: GrantReply,
    grant_hash: bytes,
    datasets: Datasets,
    granted: float,
    clock: Clock,
    app_id: bytes,
) -> Path:
    """The outcome of the analysis, which leaves at the recipe's instant: envelope or failure file.

    `kill` holds what an end of the lease kills; jobs that start later are added to it.
    """
    # Imported by now, or almost: see _warm_up.
    from sealroom.privacy.release import Releases
    from sealroom.runtime.blocks import BlockCustodian
    from sealroom.runtime.custodian import Custodian, Serving

    releases = Releases(
        recipe.privacy, recipe.output, epsilon_micro=reply.grant.epsilon_micro, rows=recipe.rows
    )
    release = granted + recipe.privacy.release_after_seconds
    left = margin(recipe.privacy.release_after_seconds)
    stop: Callable[..., object] = sandbox.kill
    if recipe.guarantee.by_blocks:
        with contextlib.suppress(JobError):
            sandbox.kill()  # it has shown that the walls hold here; each block gets a fresh one
        blocks = BlockCustodian(
            recipe, open_dataset=datasets.open, releases=releases, check_lease=lease.check, service=service,
            clock=clock, since=granted, until=release - left - left / 2,
        )  # fmt: skip
        kill.append(blocks.kill)
        stop, serve = blocks.kill, blocks.serve
    else:
        custodian = Custodian(
            recipe,
            open_dataset=datasets.open,
            open_parquet=datasets.open_parquet,
            releases=releases,
            check_lease=lease.check,
        )
        serve = partial(custodian.serve, sandbox)
    serving = Serving(serve)
    serving.start()
    # In full, whenever the analysis ends and however: a job may last until then, and no longer.
    lease.wait_until(release - left, clock)
    try:
        try:
            result = build_result(serving.emitted(), recipe)
        finally:
            datasets.wipe()
            with contextlib.suppress(JobError):  # how long it takes to be gone is for the script to choose
                stop(within=left / 4)
        statement = _statement(
            result, order, recipe, app_id=app_id, session=session, reply=reply, grant_hash=grant_hash,
            datasets=datasets,
        )  # fmt: skip
        outcome = build_envelope(
            statement=statement,
            result=result,
            private_key=session.signer.reveal(),
            grant=reply.grant,
            grant_signature=reply.grant_signature,
            hello=session.hello,
            challenge=session.challenge,
            kem_key=session.kem.public,
            gpu_evidence=session.gpu_evidence,
            gpu_material=reply.gpu_material,
            quote=session.quote.quote,
            event_log=session.quote.event_log,
            collateral=reply.collateral,
            gate=session.identity,
            recipe=recipe.compose,
        ).padded(recipe.output.limit_bytes)
        failed = None
    except Exception as error:
        # When and how an analysis fails is its own choice, and could tell a value. Why, owners alone read.
        lease.check()
        failed = RunFailed(datasets)
        outcome = build_failure(
            Details.of(error),
            run=FailedRun(
                run_id=order.run_id,
                chain_id=order.chain_id,
                consortium=order.consortium,
                compose_hash=recipe.compose_hash,
            ),
            report_keys=datasets.report_keys(),
            private_key=session.signer.reveal(),
            signer=session.address,
        ).encode()
    # Until the instant of release, or until the opening is final where that comes later.
    lease.wait_until(release, clock)
    lease.wait_final()
    if failed is None:
        report("emitting")
    order.out.mkdir(parents=True, exist_ok=True)
    target = order.out / (ENVELOPE_NAME if failed is None else FAILURE_NAME)
    with sealed_output(target, overwrite=True) as stream:
        stream.write(outcome)
        lease.check()
    if failed is not None:
        raise failed
    report("done", envelope=str(target))
    return target


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
            guarantee=recipe.guarantee.name,
            rows=recipe.rows,
            blocks=recipe.blocks,
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
    )


def _warm_up(recipe: Recipe) -> None:
    """Import what takes longest while the gate verifies and waits for its transaction."""
    import sealroom.runtime.custodian  # noqa: F401

    for field in recipe.output.fields:
        field.kind.warm_up()
