# SPDX-License-Identifier: Apache-2.0
"""An envelope as an enclave emits it, of a run that the ledger has opened: signed by anvil's accounts."""

from __future__ import annotations

import secrets
from dataclasses import replace

from tests.formats import worked
from tests.local_chain import account, private_key
from tests.outside import ENCLAVE, Lab

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import from_hex, sha256
from sealroom.envelope import Envelope
from sealroom.errors import JobError
from sealroom.failure import Details, FailedRun, build_failure
from sealroom.key_release import Hello, sign_challenge, sign_grant, transcript_0
from sealroom.keys import KemPrivateKey, address_of
from sealroom_agents.store import Run


def signed(lab: Lab, study: bytes, run_id: bytes, *, opened: bool = True, enclave: int = ENCLAVE) -> Envelope:
    """The envelope of a run, by anvil's account `enclave`; books the run in the ledger, unless it is not
    `opened`."""
    hello = Hello(
        run_id=run_id,
        chain_id=31337,
        consortium=lab.room.consortium,
        compose_hash=lab.recipe.compose_hash,
        epsilon_micro=lab.recipe.epsilon_micro,
        delta_pico=worked.GRANT.delta_pico,
        guarantee=lab.recipe.guarantee.name,
    )
    challenge = sign_challenge(
        hello, nonce=secrets.token_bytes(32), issued=worked.NOW, expires=worked.NOW + 60,
        private_key=worked.GATE_SIGNER,
    )  # fmt: skip
    grant = replace(
        worked.GRANT,
        run_id=hello.run_id,
        study=study,
        ledger=lab.room.ledger,
        compose_hash=hello.compose_hash,
        enclave_signer=account(enclave),
        transcript=sha256(transcript_0(hello, challenge)),
        standing=lab.chain.state(lab.room).standing,
    )
    place = {"chain_id": 31337, "consortium": lab.room.consortium}
    grant_hash = typed.digest(typed.grant(grant, **place))
    statement = replace(
        worked.statement(),
        run_id=hello.run_id,
        consortium=lab.room.consortium,
        ledger=lab.room.ledger,
        app=lab.room.app,
        study=study,
        compose_hash=hello.compose_hash,
        grant_hash=grant_hash,
        standing=grant.standing,
    )
    envelope = worked.envelope(
        statement=statement,
        private_key=private_key(enclave),
        grant=grant,
        grant_signature=sign_grant(grant, private_key=worked.GATE_SIGNER, **place),
        hello=hello,
        challenge=challenge,
        recipe=lab.recipe.compose,
    )
    if opened:
        lab.open_run(study, hello.run_id, delta_pico=grant.delta_pico, grant_hash=grant_hash)
    return envelope


REPORT_KEY = KemPrivateKey.from_seed(worked.secret("report key"))


def failure_of(run: Run, *, run_id: str | None = None) -> bytes:
    """The failure file of a run, as its enclave writes it."""
    signer = worked.secret("enclave signer")
    return build_failure(
        Details.of(JobError(Code.JOB_TIMEOUT, "too slow")),
        run=FailedRun(
            run_id=from_hex(run_id or run.id),
            chain_id=31337,
            consortium=run.consortium,
            compose_hash=from_hex(run.compose_hash),
        ),
        report_keys=[REPORT_KEY.public],
        private_key=signer,
        signer=address_of(signer),
    ).encode()
