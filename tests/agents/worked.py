# SPDX-License-Identifier: Apache-2.0
"""A small study worked through by hand, for the tests of the tools: recipe, gate, study card, run, envelope.

Everything is made by the product's own builders and the simulated platform, so that each test can start from
what holds and change one line.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sealroom import recipe as recipes
from sealroom import typed
from sealroom.encoding import canonical, sha256
from sealroom.envelope import (
    Envelope,
    Statement,
    StatementDataset,
    StatementPrivacy,
    build_envelope,
    quote_body_digest,
    receipt_of,
    result_digest,
    sign_payload,
)
from sealroom.envelope.noise import mechanisms
from sealroom.key_release import (
    Challenge,
    GateIdentity,
    Grant,
    Hello,
    datasets_root,
    evidence_digest,
    gate_report_data,
    gpu_nonce,
    report_data,
    sign_challenge,
    sign_grant,
    transcript_0,
)
from sealroom.keys import (
    GATE_ROOT_PATH,
    GATE_ROOT_PURPOSE,
    GATE_SIGNER_PATH,
    GATE_SIGNER_PURPOSE,
    KemPrivateKey,
    address_of,
    gate_root_key,
    generate_signer,
)
from sealroom.model import Allowance
from sealroom.platform_policy import PlatformPolicy
from sealroom.recipe.result import build_result
from sealroom_agents.attestation.gpu import Fetched, Material, write_material
from sealroom_agents.simulator import DEFAULT_MACHINE, SIMULATED_OS_IMAGE, SimulatedEnclave, SimulatedPlatform
from sealroom_agents.simulator.gpu import GPU_RULES
from sealroom_agents.studycard import CardOwner, StudyCard

CHAIN_ID = 31337
CONSORTIUM = "0x" + "c1" * 20
APP = "0x" + "a1" * 20
LEDGER = "0x" + "1e" * 20
OWNERS = (
    CardOwner(id="hospital-A", account="0x" + "0a" * 20),
    CardOwner(id="hospital-B", account="0x" + "0b" * 20),
)
GATE_COMPOSE = b'{"manifest_version":2,"name":"sealroom-gate","runner":"docker-compose"}'
STUDY_YAML = """\
version: 2
name: small-study
question: How many people are there by sex, and how old are they?
image: ghcr.io/sealroom/enclave@sha256:1111111111111111111111111111111111111111111111111111111111111111
gpu: none
guarantee: by-reading
schemas:
  cohort:
    unit: person_id
    columns: {person_id: int64, age: float64, sex: string}
datasets:
  - {owner: hospital-A, name: cohort-A, schema: cohort}
  - {owner: hospital-B, name: cohort-B, schema: cohort}
privacy:
  adjacency: add-remove
  epsilon: "1.5"
  delta: "0"
  minimum_cohort: 20
  release_after_seconds: 60
output:
  limit_bytes: 4096
  groups:
    sex: [F, M]
  fields:
    - {name: people, kind: count, by: [sex], epsilon: "0.5"}
    - {name: age, kind: mean, column: age, by: [sex], lower: "0", upper: "120", decimals: 1, epsilon: "1"}
"""
ANALYSIS = """\
from sealroom import emit_signed, private, unwrap
import pandas as pd

people = private(pd.concat([unwrap("hospital-A/cohort-A.tar"), unwrap("hospital-B/cohort-B.tar")]))
emit_signed({"people": people.count("people"), "age": people.mean("age")})
"""


def render_recipe(folder: Path, *, analysis: str = ANALYSIS, study: str = STUDY_YAML) -> bytes:
    """The small study's exact bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(study)
    (folder / "analysis.py").write_text(analysis)
    return recipes.render(folder)


def write_cohort(path: Path, *, rows: int = 200, columns: Mapping[str, pa.Array] | None = None) -> Path:
    """A Parquet file with the columns that the small study declares, unless others are given."""
    table = {
        "person_id": pa.array(range(rows), pa.int64()),
        "age": pa.array([20.0 + n % 70 for n in range(rows)], pa.float64()),
        "sex": pa.array(["F" if n % 2 else "M" for n in range(rows)], pa.string()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns) if columns is not None else table), path)
    return path


@dataclass(frozen=True)
class WorkedGate:
    """A gate in a simulated machine, with the keys that a real one never shows."""

    identity: GateIdentity
    """What it publishes."""
    root: KemPrivateKey
    """Its root key."""
    signer_key: bytes = field(repr=False)
    """Private key of its signer."""


def make_gate(
    platform: SimulatedPlatform,
    *,
    chain_id: int = CHAIN_ID,
    compose: bytes = GATE_COMPOSE,
    now: int | None = None,
    os_image: bytes = SIMULATED_OS_IMAGE,
    app_id: bytes | None = None,
    claims_root: bytes | None = None,
    policy: PlatformPolicy | None = None,
    document: Mapping[str, Any] | None = None,
) -> WorkedGate:
    """Boot a gate and let it say who it is. `claims_root`: a root public key
    that it names and does not hold. `policy`: by which it judges; if not given,
    that of the platform, with rules for its GPUs. `document`: the same as JSON, which may be none."""
    rules = document or (policy or platform.policy(gpu=GPU_RULES)).document()
    policy_hash = sha256(canonical(rules))
    issued = int(time.time()) if now is None else now
    app_id = recipes.compose_hash(compose)[:20] if app_id is None else app_id
    machine = SimulatedEnclave(platform, compose, app_id, os_image=os_image)
    root = gate_root_key(machine.key(path=GATE_ROOT_PATH, purpose=GATE_ROOT_PURPOSE).key, chain_id)
    signer = machine.key(path=GATE_SIGNER_PATH, purpose=GATE_SIGNER_PURPOSE)
    identity = GateIdentity(
        chain_id=chain_id,
        app_id=machine.app_id,
        compose_hash=machine.compose_hash,
        compose=compose,
        root_public_key=root.public if claims_root is None else claims_root,
        signer_key=signer.public_key,
        kms_root_key=platform.kms.root_public_key,
        policy_hash=policy_hash,
        policy=rules,
        signature_chain=signer.signature_chain,
        quote=b"",
        event_log=machine.event_log,
        collateral=platform.collateral(issued),
        issued=issued,
    )
    bound = gate_report_data(
        chain_id=chain_id,
        root_public_key=identity.root_public_key,
        signer=identity.signer,
        kms_root_key=identity.kms_root_key,
        policy_hash=policy_hash,
    )
    return WorkedGate(
        identity=replace(identity, quote=machine.quote(bound)), root=root, signer_key=signer.key
    )


def make_card(gate: WorkedGate, recipe: bytes) -> StudyCard:
    """A card of the small study."""
    return StudyCard(
        chain_id=CHAIN_ID,
        consortium=CONSORTIUM,
        app=APP,
        ledger=LEDGER,
        recipe=recipes.parse(recipe),
        gate=gate.identity,
        owners=OWNERS,
    )


def fresh_platform() -> SimulatedPlatform:
    """A simulated platform in memory, of its own root."""
    return SimulatedPlatform(secrets.token_bytes(32))


@dataclass(frozen=True)
class Place:
    """Where a run happens: what the chain says of it."""

    consortium: str = CONSORTIUM
    """Consortium."""
    app: str = APP
    """Its DstackApp."""
    ledger: str = LEDGER
    """Its ledger."""
    study: bytes = b"\x57" * 32
    """Study id."""
    standing: bytes = b"\x5a" * 32
    """Standing."""
    block_number: int = 100
    """Finalized block of the grant."""
    block_hash: bytes = b"\xb1" * 32
    """Its hash."""
    datasets: tuple[StatementDataset, ...] = (
        StatementDataset(
            id=b"\x0a" * 32,
            owner="hospital-A",
            name="cohort-A",
            header=b"\x1a" * 32,
            index_digest=b"\xa1" * 32,
        ),
        StatementDataset(
            id=b"\x0b" * 32,
            owner="hospital-B",
            name="cohort-B",
            header=b"\x2b" * 32,
            index_digest=b"\xb2" * 32,
        ),
    )
    """The datasets, ids strictly increasing."""


def _row(sex: str, people: int, **numbers: str) -> dict[str, Any]:
    """A row with intervals: of the number of people, and of each further number, as `low value high`."""
    row = {"sex": sex, "people": people, "people_low": people - 6, "people_high": people + 6}
    for name, text in numbers.items():
        row |= dict(zip((f"{name}_low", name, f"{name}_high"), text.split(), strict=True))
    return row


RESULT_FIELDS: dict[str, Any] = {
    "people": {"groups": [_row("F", 101), _row("M", 98)], "interval": "noise"},
    "age": {
        "groups": [_row("F", 101, mean="51.0 54.2 57.4"), _row("M", 98, mean="50.6 53.9 57.2")],
        "interval": "noise",
    },
}
"""A result that the small study's output contract allows."""


@dataclass(frozen=True)
class WorkedRun:
    """All that goes into one envelope; replace a part, and `envelope()` signs the rest anew."""

    gate: WorkedGate
    """The gate that grants."""
    recipe: recipes.Recipe
    """The recipe."""
    place: Place
    """Where."""
    hello: Hello
    """The enclave's hello."""
    challenge: Challenge
    """The gate's challenge."""
    kem_key: bytes
    """The enclave's X-Wing public key."""
    signer_key: bytes = field(repr=False)
    """The enclave's signing key."""
    grant: Grant
    """The grant."""
    quote: bytes
    """The enclave's quote."""
    event_log: str
    """Its event log."""
    collateral: Mapping[str, Any]
    """Its collateral."""
    result: Mapping[str, Any]
    """The result."""
    gpu_evidence: bytes = b""
    """What it says of a GPU."""
    gpu_material: bytes = b""
    """What the gate judged that by."""
    statement_changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the statement to be other than they follow."""

    def envelope(self) -> Envelope:
        """Sign grant, statement and receipt, and build the envelope; raises where the builder refuses."""
        return build_envelope(
            statement=self.statement(),
            private_key=self.signer_key,
            **self._parts(),
        )

    def shown(self, **changes: Any) -> WorkedRun:
        """The same with other evidence, for which the gate gave its grant."""
        run = replace(self, **changes)
        evidence = evidence_digest(
            quote=run.quote,
            event_log=run.event_log,
            gpu_evidence=run.gpu_evidence,
            gpu_material=run.gpu_material,
        )
        return replace(run, grant=replace(run.grant, evidence=evidence))

    def lie(self) -> Envelope:
        """The same with true signatures under whatever it says: nothing is checked."""
        statement = self.statement()
        signed = sign_payload(
            statement.encode(), private_key=self.signer_key, signer=address_of(self.signer_key)
        )
        receipt = receipt_of(statement, signed)
        message = typed.receipt(receipt, chain_id=statement.chain_id, ledger=statement.ledger)
        return Envelope(
            signed=signed,
            statement=statement,
            receipt=receipt,
            receipt_signature=typed.sign(message, self.signer_key),
            anchor=None,
            **self._parts(),
        )

    def _parts(self) -> dict[str, Any]:
        return dict(
            result=self.result,
            grant=self.grant,
            grant_signature=sign_grant(
                self.grant,
                chain_id=CHAIN_ID,
                consortium=self.place.consortium,
                private_key=self.gate.signer_key,
            ),
            hello=self.hello,
            challenge=self.challenge,
            kem_key=self.kem_key,
            gpu_evidence=self.gpu_evidence,
            gpu_material=self.gpu_material,
            quote=self.quote,
            event_log=self.event_log,
            collateral=self.collateral,
            gate=self.gate.identity,
            recipe=self.recipe.compose,
        )

    def statement(self) -> Statement:
        """What the enclave states: what follows, with `statement_changes`."""
        grant, recipe, place = self.grant, self.recipe, self.place
        digest = typed.digest(typed.grant(grant, chain_id=CHAIN_ID, consortium=place.consortium))
        stated = Statement(
            result_digest=result_digest(self.result),
            run_id=grant.run_id,
            chain_id=CHAIN_ID,
            consortium=place.consortium,
            ledger=grant.ledger,
            app=place.app,
            study=grant.study,
            compose_hash=recipe.compose_hash,
            output_hash=recipe.output_hash,
            privacy_hash=recipe.privacy_hash,
            datasets=place.datasets,
            privacy=StatementPrivacy(
                guarantee=recipe.guarantee.name,
                rows=recipe.rows,
                blocks=recipe.blocks,
                unit=recipe.unit,
                adjacency=recipe.privacy.adjacency,
                epsilon_micro=grant.epsilon_micro,
                delta=recipe.privacy.delta,
                mechanisms=mechanisms(recipe.output),
            ),
            grant_hash=digest,
            standing=grant.standing,
            block_number=grant.block_number,
            block_hash=grant.block_hash,
            quote_body_digest=quote_body_digest(self.quote),
        )
        return replace(stated, **self.statement_changes)


def make_run(
    platform: SimulatedPlatform,
    gate: WorkedGate,
    recipe: bytes,
    *,
    place: Place | None = None,
    now: int | None = None,
    booted: bytes | None = None,
    app: str | None = None,
    key_provider: str = "kms",
    key_provider_id: bytes | None = None,
    machine: str = DEFAULT_MACHINE,
    os_image: bytes = SIMULATED_OS_IMAGE,
    epsilon_micro: int | None = None,
    delta_pico: int | None = None,
    gpu_evidence: bytes | Callable[[bytes], bytes] = b"",
    gpu_material: bytes = b"",
    hello_changes: Mapping[str, Any] | None = None,
    twin: Mapping[str, Any] | None = None,
) -> WorkedRun:
    """Carry out a run without computing: exchange, quote, grant and a result that fits.

    booted, app, key_provider_id, machine, os_image: what the enclave boots instead of `recipe`, for another
    app, with keys from another KMS, on another machine, from another image. epsilon_micro, delta_pico: what
    it says that a run costs. hello_changes: what the hello says that grant and statement do not.
    gpu_evidence: bytes that its quote binds, too, or what makes them of the nonce. gpu_material: what the
    gate judged them by. twin: in what else its
    machine is a bad one.
    """
    place = place or Place()
    issued = int(time.time()) if now is None else now
    parsed = recipes.parse(recipe)
    epsilon_micro = parsed.epsilon_micro if epsilon_micro is None else epsilon_micro
    delta_pico = parsed.delta_pico if delta_pico is None else delta_pico
    run_id, signer_key, kem = secrets.token_bytes(32), generate_signer().reveal(), KemPrivateKey.generate()
    hello = Hello(
        run_id=run_id,
        chain_id=CHAIN_ID,
        consortium=place.consortium,
        compose_hash=parsed.compose_hash,
        epsilon_micro=epsilon_micro,
        delta_pico=delta_pico,
        guarantee=parsed.guarantee.name,
        gpu=parsed.gpu,
    )
    hello = replace(hello, **(hello_changes or {}))
    challenge = sign_challenge(
        hello, nonce=secrets.token_bytes(32), issued=issued, expires=issued + 60, private_key=gate.signer_key
    )
    transcript = transcript_0(hello, challenge)
    enclave = SimulatedEnclave(
        platform,
        booted or recipe,
        bytes.fromhex((app or place.app)[2:]),
        machine,
        key_provider=key_provider,
        key_provider_id=key_provider_id,
        os_image=os_image,
        **(twin or {}),
    )
    if not isinstance(gpu_evidence, bytes):
        gpu_evidence = gpu_evidence(gpu_nonce(transcript, kem_key=kem.public, signer=address_of(signer_key)))
    bound = report_data(
        transcript, kem_key=kem.public, signer=address_of(signer_key), gpu_evidence=gpu_evidence
    )
    quote = enclave.quote(bound)
    grant = Grant(
        run_id=run_id,
        study=place.study,
        ledger=place.ledger,
        compose_hash=parsed.compose_hash,
        enclave_signer=address_of(signer_key),
        kem_key_hash=sha256(kem.public),
        transcript=sha256(transcript),
        evidence=evidence_digest(
            quote=quote,
            event_log=enclave.event_log,
            gpu_evidence=gpu_evidence,
            gpu_material=gpu_material,
        ),
        datasets_root=datasets_root([(dataset.id, dataset.header) for dataset in place.datasets]),
        epsilon_micro=epsilon_micro,
        delta_pico=delta_pico,
        standing=place.standing,
        block_number=place.block_number,
        block_hash=place.block_hash,
        issued=issued,
        lease_seconds=30,
        audit_head=sha256(b"audit"),
    )
    return WorkedRun(
        gate=gate,
        recipe=parsed,
        place=place,
        hello=hello,
        challenge=challenge,
        kem_key=kem.public,
        signer_key=signer_key,
        grant=grant,
        quote=quote,
        event_log=enclave.event_log,
        collateral=platform.collateral(issued),
        result=build_result(RESULT_FIELDS, parsed),
        gpu_evidence=gpu_evidence,
        gpu_material=gpu_material,
    )


def judged_by(platform: SimulatedPlatform, count: int = 1, *, at: int | None = None, **changes: Any) -> bytes:
    """What a gate judges the GPUs of a machine by: all manifests, and an answer about each certificate, as
    they were fetched `at`; `changes` are those of answers."""
    now = int(time.time()) if at is None else at
    rims = {name: (Fetched(data, now),) for name, data in platform.gpus.manifests().items()}
    return write_material(Material(rims, platform.gpus.answers(platform.machine_gpus(count), now, **changes)))


def unspent(*, epsilon_per_day: int, runs_per_day: int, day: int) -> Allowance:
    """What a holder lets a consortium spend on a dataset, with nothing spent yet; `day` is the ledger's."""
    return Allowance(
        epsilon_cap=4_500_000,
        epsilon_spent=0,
        delta_cap=3_000_000,
        delta_spent=0,
        epsilon_per_day=epsilon_per_day,
        epsilon_today=0,
        runs_per_day=runs_per_day,
        runs_today=0,
        day=day,
    )
