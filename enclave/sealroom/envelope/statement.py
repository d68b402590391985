# SPDX-License-Identifier: Apache-2.0
"""What an enclave states about its result: an in-toto Statement, which `dsse` signs.

Source: in-toto Attestation Framework, Statement v1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sealroom.codes import Code
from sealroom.decimals import decimal_text, parse_normal_decimal
from sealroom.encoding import Fields, canonical, parse_canonical, sha256, to_hex
from sealroom.envelope.dsse import MAX_STATEMENT_BYTES
from sealroom.errors import EnvelopeError, FormatError
from sealroom.guarantee import GUARANTEE
from sealroom.schema import DATASET_NAME, OWNER_ID, check_column_name

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://sealroom.dev/result/v2"
SUBJECT_NAME = "result.json"
MAX_DATASETS = 16
MAX_MECHANISMS = 256
_POSITIVE = re.compile(r"[1-9][0-9]*")
QUOTE_BODY_SIZE = 632
"""Bytes of a version 4 TDX quote that its signature covers. The rest can be changed by anyone (AT-02)."""


@dataclass(frozen=True, kw_only=True)
class StatementDataset:
    """One dataset that was read."""

    id: bytes
    """Dataset id, 32 bytes."""
    owner: str
    """Owner id of its holder."""
    name: str
    """Name of the dataset."""
    header: bytes
    """Header digest of the sealed file, 32 bytes: its version."""
    index_digest: bytes
    """Digest of the sealed index that was opened, 32 bytes."""

    def to_json(self) -> dict[str, Any]:
        return {
            "id": to_hex(self.id),
            "owner": self.owner,
            "name": self.name,
            "header": to_hex(self.header),
            "indexDigest": to_hex(self.index_digest),
        }


@dataclass(frozen=True, kw_only=True)
class StatementMechanism:
    """The noise on one part of a field: a block of the vector that one person adds to a sum."""

    field: str
    """Field of the result that it made."""
    kind: str
    """The field's kind."""
    part: str
    """The part."""
    law: str
    """`laplace` or `gaussian`, both discrete."""
    scale: str
    """b or σ in steps of the grid: the shortest decimal text of the double."""
    grid_bits: int
    """The grid has 2^bits steps for each step of the part."""
    length: int
    """Integers in the part."""
    draws: int
    """How often it was summed and got noise."""
    rate: int
    """Each draw was over the people with a coin below this, of 2³²: everybody with 2³² itself."""
    l1: int
    """The most that one person adds, as a sum of magnitudes, in steps of the part."""
    l2_squared: int
    """The most that one person adds, as a sum of squares."""
    cost: int
    """What the field costs: micro-ε (Laplace) or nano-μ (Gaussian)."""
    share: str
    """The part's share of ε or μ², a fraction: `19/20`."""

    def to_json(self) -> dict[str, Any]:
        # The two bounds may be beyond what a JSON integer holds.
        return {
            "field": self.field,
            "kind": self.kind,
            "part": self.part,
            "law": self.law,
            "scale": self.scale,
            "gridBits": self.grid_bits,
            "length": self.length,
            "draws": self.draws,
            "rate": self.rate,
            "l1": str(self.l1),
            "l2Squared": str(self.l2_squared),
            "cost": self.cost,
            "share": self.share,
        }


@dataclass(frozen=True, kw_only=True)
class StatementPrivacy:
    """What the result costs in privacy."""

    guarantee: str
    """Why one person's data stays apart from another's: the name of the recipe's guarantee."""
    rows: int
    """Most rows of one person that count."""
    blocks: int | None
    """Blocks of people that the script saw one by one; `None` under another guarantee."""
    unit: str
    """Column that names the person."""
    adjacency: str
    """Which inputs are neighbours."""
    epsilon_micro: int
    """ε of the run, micro-epsilon."""
    delta: Decimal
    """δ of the run."""
    mechanisms: tuple[StatementMechanism, ...]
    """The noise on each part of each field, in the recipe's order."""

    def to_json(self) -> dict[str, Any]:
        return {
            "guarantee": self.guarantee,
            "rows": self.rows,
            "blocks": self.blocks,
            "unit": self.unit,
            "adjacency": self.adjacency,
            "epsilonMicro": self.epsilon_micro,
            "delta": decimal_text(self.delta),
            "mechanisms": [mechanism.to_json() for mechanism in self.mechanisms],
        }


@dataclass(frozen=True, kw_only=True)
class Statement:
    """All that an enclave states about one result."""

    result_digest: bytes
    """SHA-256 of the canonical result JSON."""
    run_id: bytes
    """Id of the run, 32 bytes."""
    chain_id: int
    """Chain of the consortium."""
    consortium: str
    """Address of the consortium."""
    ledger: str
    """Address of the ledger that booked the run."""
    app: str
    """Address of the DstackApp."""
    study: bytes
    """Id of the study, 32 bytes."""
    compose_hash: bytes
    """Compose hash of the recipe, 32 bytes."""
    output_hash: bytes
    """SHA-256 of the output contract."""
    privacy_hash: bytes
    """SHA-256 of the privacy policy."""
    datasets: tuple[StatementDataset, ...]
    """The datasets, in the study's order."""
    privacy: StatementPrivacy
    """What it costs in privacy."""
    grant_hash: bytes
    """EIP-712 digest of the grant."""
    standing: bytes
    """Standing of the consortium, 32 bytes."""
    block_number: int
    """Finalized block at which the gate decided."""
    block_hash: bytes
    """Its hash, 32 bytes."""
    quote_body_digest: bytes
    """SHA-256 of the first 632 bytes of the enclave's quote."""

    def to_json(self) -> dict[str, Any]:
        """The in-toto Statement."""
        return {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": SUBJECT_NAME, "digest": {"sha256": self.result_digest.hex()}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "runId": to_hex(self.run_id),
                "chainId": self.chain_id,
                "consortium": self.consortium,
                "ledger": self.ledger,
                "app": self.app,
                "study": to_hex(self.study),
                "composeHash": to_hex(self.compose_hash),
                "outputHash": to_hex(self.output_hash),
                "privacyHash": to_hex(self.privacy_hash),
                "datasets": [dataset.to_json() for dataset in self.datasets],
                "privacy": self.privacy.to_json(),
                "grantHash": to_hex(self.grant_hash),
                "standing": to_hex(self.standing),
                "block": {"number": self.block_number, "hash": to_hex(self.block_hash)},
                "quoteBodyDigest": to_hex(self.quote_body_digest),
            },
        }

    def encode(self) -> bytes:
        """The DSSE payload: canonical JSON."""
        return canonical(self.to_json())

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """Read a DSSE payload. Raises only `EnvelopeError`."""
        try:
            value = parse_canonical(payload, MAX_STATEMENT_BYTES)
        except FormatError as error:
            raise EnvelopeError(Code.MALFORMED, f"statement: {error.message}") from None
        statement = _reader(value, "statement")
        if (statement.raw("_type"), statement.raw("predicateType")) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise EnvelopeError(Code.UNSUPPORTED_VERSION, "the statement is of another type")
        subjects = statement.array("subject", limit=1)
        fields = _reader(statement.object("predicate"), "predicate")
        statement.done()
        block = _reader(fields.object("block"), "predicate's block")
        result = cls(
            result_digest=_subject_digest(subjects),
            run_id=fields.hex("runId", 32),
            chain_id=fields.integer("chainId", 1),
            consortium=fields.address("consortium"),
            ledger=fields.address("ledger"),
            app=fields.address("app"),
            study=fields.hex("study", 32),
            compose_hash=fields.hex("composeHash", 32),
            output_hash=fields.hex("outputHash", 32),
            privacy_hash=fields.hex("privacyHash", 32),
            datasets=tuple(_dataset(item) for item in fields.array("datasets", limit=MAX_DATASETS)),
            privacy=_privacy(fields.object("privacy")),
            grant_hash=fields.hex("grantHash", 32),
            standing=fields.hex("standing", 32),
            block_number=block.integer("number"),
            block_hash=block.hex("hash", 32),
            quote_body_digest=fields.hex("quoteBodyDigest", 32),
        )
        block.done()
        fields.done()
        return result


def quote_body_digest(quote: bytes) -> bytes:
    """SHA-256 of what a version 4 TDX quote's signature covers, 32 bytes."""
    if len(quote) < QUOTE_BODY_SIZE:
        raise EnvelopeError(Code.MALFORMED, "the quote is shorter than its body")
    return sha256(quote[:QUOTE_BODY_SIZE])


def _subject_digest(subjects: Any) -> bytes:
    if len(subjects) != 1:
        raise EnvelopeError(Code.MALFORMED, "a statement has one subject")
    subject = _reader(subjects[0], "statement's subject")
    digest = _reader(subject.object("digest"), "subject's digest")
    if subject.raw("name") != SUBJECT_NAME:
        subject.fail(f"is not {SUBJECT_NAME}")
    text = digest.text("sha256", limit=64)
    digest.done()
    subject.done()
    return _reader({"sha256": "0x" + text}, "subject's digest").hex("sha256", 32)


def _dataset(value: Any) -> StatementDataset:
    fields = _reader(value, "predicate's dataset")
    dataset = StatementDataset(
        id=fields.hex("id", 32),
        owner=fields.text("owner", limit=31, pattern=OWNER_ID),
        name=fields.text("name", limit=64, pattern=DATASET_NAME),
        header=fields.hex("header", 32),
        index_digest=fields.hex("indexDigest", 32),
    )
    fields.done()
    return dataset


def _unit(fields: Fields) -> str:
    try:
        return check_column_name(fields.raw("unit"))
    except FormatError as error:
        fields.fail(f"has a unit that is wrong: {error.message}")


def _privacy(value: Any) -> StatementPrivacy:
    fields = _reader(value, "predicate's privacy")
    privacy = StatementPrivacy(
        guarantee=fields.text("guarantee", limit=32, pattern=GUARANTEE),
        rows=fields.integer("rows", 1),
        blocks=_blocks(fields),
        unit=_unit(fields),
        adjacency=fields.text("adjacency", limit=16),
        epsilon_micro=fields.integer("epsilonMicro"),
        delta=_decimal(fields, "delta"),
        mechanisms=tuple(_mechanism(item) for item in fields.array("mechanisms", limit=MAX_MECHANISMS)),
    )
    fields.done()
    return privacy


def _blocks(fields: Fields) -> int | None:
    value = fields.raw("blocks")
    return None if value is None else _reader({"blocks": value}, "predicate's privacy").integer("blocks", 1)


def _mechanism(value: Any) -> StatementMechanism:
    fields = _reader(value, "predicate's mechanism")
    mechanism = StatementMechanism(
        field=fields.text("field", limit=63),
        kind=fields.text("kind", limit=32),
        part=fields.text("part", limit=32),
        law=fields.text("law", limit=16),
        scale=fields.text("scale", limit=32),
        grid_bits=fields.integer("gridBits", 0, 64),
        length=fields.integer("length", 1),
        draws=fields.integer("draws", 1),
        rate=fields.integer("rate", 1, 2**32),
        l1=int(fields.text("l1", limit=40, pattern=_POSITIVE)),
        l2_squared=int(fields.text("l2Squared", limit=40, pattern=_POSITIVE)),
        cost=fields.integer("cost", 1),
        share=fields.text("share", limit=32),
    )
    fields.done()
    return mechanism


def _decimal(fields: Fields, name: str) -> Decimal:
    try:
        return parse_normal_decimal(fields.raw(name))
    except FormatError as error:
        fields.fail(f"has {name} that is wrong: {error.message}")


def _reader(value: Any, what: str) -> Fields:
    return Fields(value, what, error=EnvelopeError)
