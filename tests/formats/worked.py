# SPDX-License-Identifier: Apache-2.0
"""Worked values of every format, from which each test changes one line.

Keys are fixed: they open nothing else.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

from sealroom import typed
from sealroom.encoding import canonical, sha256
from sealroom.envelope import (
    Envelope,
    Statement,
    StatementDataset,
    StatementMechanism,
    StatementPrivacy,
    build_envelope,
    quote_body_digest,
    result_digest,
)
from sealroom.key_release import (
    GateIdentity,
    Hello,
    datasets_root,
    evidence_digest,
    sign_challenge,
    sign_grant,
    transcript_0,
)
from sealroom.keys import GATE_SIGNER_PURPOSE, KemPrivateKey, Secret, address_of, gate_root_key, public_key33
from sealroom.model import Grant, Study
from sealroom.recipe import compose_hash, render
from sealroom.sealed import WrapContext

STUDY = Path(__file__).parent / "study"
CHAIN_ID = 31337
CONSORTIUM = "0x" + "c1" * 20
LEDGER = "0x" + "1e" * 20
APP = "0x" + "a9" * 20
OWNER = "0x" + "a1" * 20
"""Account that registers the dataset."""
PROPOSED = Study(
    compose_hash=b"\x01" * 32,
    output_hash=b"\x02" * 32,
    privacy_hash=b"\x03" * 32,
    datasets=(b"\x0a" * 32, b"\x0b" * 32),
    versions=(0, 2),
    epsilon_micro=4_500_000,
    delta_pico=3_000_000,
    max_runs=3,
    expiry=1_900_000_000,
    basis=b"\x0e" * 32,
    nonce=5,
)
"""A study as it is put before the owners; of no recipe in particular."""
NAME = "cohort-A"
NOW = 1_800_000_000


def secret(label: str) -> bytes:
    """32 fixed bytes that stand for a secret in tests."""
    return hashlib.sha256(f"a test's {label}".encode()).digest()


GATE_ROOT = gate_root_key(secret("gate root"), CHAIN_ID)
GATE_SIGNER = secret("gate signer")
KMS_APP = secret("kms app key")
KMS_ROOT = secret("kms root key")
ENCLAVE_SIGNER = secret("enclave signer")
ENCLAVE_KEM = KemPrivateKey.from_seed(secret("enclave kem"))
DATA_KEY = Secret(secret("data key"))
COMPOSE = render(STUDY)

CONTEXT = WrapContext(
    chain_id=CHAIN_ID,
    consortium=CONSORTIUM,
    kms_root=sha256(public_key33(KMS_ROOT)),
    gate_public_key=GATE_ROOT.public,
    app=APP,
    compose_hash=compose_hash(COMPOSE),
)

HELLO = Hello(
    run_id=secret("run"),
    chain_id=CHAIN_ID,
    consortium=CONSORTIUM,
    compose_hash=compose_hash(COMPOSE),
    epsilon_micro=1_500_000,
    delta_pico=1_000_000,
    guarantee="by-reading",
)
CHALLENGE = sign_challenge(
    HELLO, nonce=secret("nonce"), issued=NOW, expires=NOW + 60, private_key=GATE_SIGNER
)
DATASETS = (
    StatementDataset(
        id=b"\x0a" * 32,
        owner="hospital-A",
        name="cohort-A",
        header=secret("header A"),
        index_digest=secret("index A"),
    ),
    StatementDataset(
        id=b"\x0b" * 32,
        owner="hospital-B",
        name="cohort-B",
        header=secret("header B"),
        index_digest=secret("index B"),
    ),
)
QUOTE = bytes(range(256)) * 4
GATE_COMPOSE = b'{"manifest_version":2,"name":"sealroom-gate"}'
POLICY: dict[str, Any] = {"version": 5, "root": "intel"}
"""Stands where a platform policy does: a format's reader leaves it to who judges by it."""
GRANT = Grant(
    run_id=HELLO.run_id,
    study=secret("study"),
    ledger=LEDGER,
    compose_hash=HELLO.compose_hash,
    enclave_signer=address_of(ENCLAVE_SIGNER),
    kem_key_hash=sha256(ENCLAVE_KEM.public),
    transcript=sha256(transcript_0(HELLO, CHALLENGE)),
    evidence=evidence_digest(quote=QUOTE, event_log="[]", gpu_evidence=b"", gpu_material=b""),
    datasets_root=datasets_root([(dataset.id, dataset.header) for dataset in DATASETS]),
    epsilon_micro=1_500_000,
    delta_pico=1_000_000,
    standing=secret("standing"),
    block_number=1234,
    block_hash=secret("block"),
    issued=NOW + 2,
    lease_seconds=30,
    audit_head=secret("audit"),
)
GRANT_SIGNATURE = sign_grant(GRANT, chain_id=CHAIN_ID, consortium=CONSORTIUM, private_key=GATE_SIGNER)
RESULT: dict[str, Any] = {
    "study": "small-study",
    "fields": {
        "people": {
            "groups": [
                {"sex": "F", "people": 410, "people_low": 404, "people_high": 416},
                {"sex": "M", "people": 388, "people_low": 382, "people_high": 394},
            ],
            "interval": "noise",
        }
    },
    "epsilon": "1.5",
    "delta": "1e-6",
}


def kms_signature_chain(app_id: bytes) -> tuple[bytes, bytes]:
    """dstack's two signatures over the gate's signer key."""
    claim = GATE_SIGNER_PURPOSE.encode() + b":" + public_key33(GATE_SIGNER).hex().encode()
    issued = b"dstack-kms-issued:" + app_id + public_key33(KMS_APP)
    return (
        PrivateKey(KMS_APP).sign_msg_hash(keccak(claim)).to_bytes(),
        PrivateKey(KMS_ROOT).sign_msg_hash(keccak(issued)).to_bytes(),
    )


def gate_identity() -> GateIdentity:
    """A gate whose keys hang together; its quote is no quote."""
    app_id = bytes.fromhex("9a" * 20)
    return GateIdentity(
        chain_id=CHAIN_ID,
        app_id=app_id,
        compose_hash=sha256(GATE_COMPOSE),
        compose=GATE_COMPOSE,
        root_public_key=GATE_ROOT.public,
        signer_key=public_key33(GATE_SIGNER),
        kms_root_key=public_key33(KMS_ROOT),
        signature_chain=kms_signature_chain(app_id),
        policy_hash=sha256(canonical(POLICY)),
        policy=POLICY,
        quote=QUOTE,
        event_log="[]",
        collateral={"tcb_info": "{}"},
        issued=NOW - 100,
    )


def statement() -> Statement:
    """What the enclave states about `RESULT`."""
    return Statement(
        result_digest=result_digest(RESULT),
        run_id=GRANT.run_id,
        chain_id=CHAIN_ID,
        consortium=CONSORTIUM,
        ledger=LEDGER,
        app=APP,
        study=GRANT.study,
        compose_hash=GRANT.compose_hash,
        output_hash=secret("output"),
        privacy_hash=secret("privacy"),
        datasets=DATASETS,
        privacy=StatementPrivacy(
            guarantee="by-reading",
            rows=1,
            blocks=None,
            unit="person",
            adjacency="add-remove",
            epsilon_micro=1_500_000,
            delta=Decimal("1e-6"),
            mechanisms=(
                StatementMechanism(
                    field="people",
                    kind="count",
                    part="people",
                    law="laplace",
                    scale="2.0",
                    grid_bits=0,
                    length=2,
                    draws=1,
                    rate=2**32,
                    l1=1,
                    l2_squared=1,
                    cost=500_000,
                    share="1",
                ),
            ),
        ),
        grant_hash=typed.digest(typed.grant(GRANT, chain_id=CHAIN_ID, consortium=CONSORTIUM)),
        standing=GRANT.standing,
        block_number=GRANT.block_number,
        block_hash=GRANT.block_hash,
        quote_body_digest=quote_body_digest(QUOTE),
    )


def envelope(**changes: Any) -> Envelope:
    """An envelope that holds; `changes` replace arguments of `build_envelope`."""
    arguments: dict[str, Any] = {
        "statement": statement(),
        "result": RESULT,
        "private_key": ENCLAVE_SIGNER,
        "grant": GRANT,
        "grant_signature": GRANT_SIGNATURE,
        "hello": HELLO,
        "challenge": CHALLENGE,
        "kem_key": ENCLAVE_KEM.public,
        "gpu_evidence": b"",
        "gpu_material": b"",
        "quote": QUOTE,
        "event_log": "[]",
        "collateral": {"tcb_info": "{}"},
        "gate": gate_identity(),
        "recipe": COMPOSE,
    }
    return build_envelope(**{**arguments, **changes})


def flip(data: bytes, position: int, bit: int = 0) -> bytes:
    """The same bytes with one bit changed."""
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


def hinted() -> bytes:
    """The worked study for a real host: its enclave reads hints."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(shutil.copytree(STUDY, Path(name) / "study"))
        study = folder / "study.yaml"
        study.write_text(study.read_text().replace("gpu: none\n", "gpu: none\nhints: dstack\n", 1))
        return render(folder)


HINTED = hinted()
