# SPDX-License-Identifier: Apache-2.0
"""An envelope as an enclave emits it, of a run that the ledger has opened: signed by anvil's accounts."""

from __future__ import annotations

import secrets
from dataclasses import replace

from tests.formats import worked
from tests.local_chain import account, private_key
from tests.outside import ENCLAVE, Lab

from sealroom import typed
from sealroom.encoding import sha256
from sealroom.envelope import Envelope
from sealroom.key_release import Hello, sign_challenge, sign_grant, transcript_0


def signed(lab: Lab, study: bytes, run_id: bytes) -> Envelope:
    """The envelope of a run; books the run in the ledger."""
    hello = Hello(
        run_id=run_id,
        chain_id=31337,
        consortium=lab.room.consortium,
        compose_hash=lab.recipe.compose_hash,
        epsilon_micro=lab.recipe.epsilon_micro,
        delta_pico=worked.GRANT.delta_pico,
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
        enclave_signer=account(ENCLAVE),
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
        private_key=private_key(ENCLAVE),
        grant=grant,
        grant_signature=sign_grant(grant, private_key=worked.GATE_SIGNER, **place),
        hello=hello,
        challenge=challenge,
        recipe=lab.recipe.compose,
    )
    lab.open_run(study, hello.run_id, delta_pico=grant.delta_pico, grant_hash=grant_hash)
    return envelope
