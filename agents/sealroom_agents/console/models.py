# SPDX-License-Identifier: Apache-2.0
"""The REST interface's bodies. Requests are strict: no unknown field,
no value of another type (RE-07, RE-11).

Hashes and addresses are lower-case `0x` hex, times unix seconds, budgets whole millionths of ε and parts of
10^12 of δ.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from sealroom.codes import Code

MAX_OWNERS = 16
MAX_COMPOSE_CHARACTERS = 360_000
"""256 KiB as base64."""
MAX_REASON_BYTES = 256
"""What the contract keeps of a revocation's reason."""

Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$", examples=["0x" + "5e" * 32])]
Address = Annotated[str, Field(pattern=r"^0x[0-9a-f]{40}$", examples=["0x" + "c0" * 20])]
State = Literal[
    "waiting",
    "queued",
    "starting",
    "attesting",
    "computing",
    "anchoring",
    "done",
    "refused",
    "revoked",
    "failed",
]
Status = Literal["declared", "forming", "live", "revoked"]
Grade = Literal["miss", "partial", "match"]
Sort = Literal["newest", "oldest", "records"]
OwnerId = Annotated[str, Field(min_length=1, max_length=64)]


class Strict(BaseModel):
    """A body in camelCase, with the declared fields only."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class Missing(Strict):
    """One thing that a run lacks."""

    code: str = Field(examples=[str(Code.APPROVAL_MISSING)])
    message: str = Field(examples=["hospital-B has not approved (1 of 3)"])
    owner: str | None = None


class Problem(Strict):
    """A refused request."""

    code: str = Field(description="Stable word for programs.", examples=[str(Code.MALFORMED)])
    message: str = Field(description="One line for people.")
    hint: str | None = Field(None, description="What to do about it.")


class RunRequest(Strict):
    """Ask for a run."""

    compose: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_COMPOSE_CHARACTERS,
        description="The recipe: the bytes of app-compose.json, as base64 or as text. At most 256 KiB.",
    )
    compose_hash: Hash | None = Field(
        None,
        description="In place of `compose`: a recipe that was handed in before, with `PUT /v1/recipes/…`.",
    )
    owners: list[OwnerId] = Field(
        min_length=1,
        max_length=MAX_OWNERS,
        description="Ids of the owners whose consortium shall run it.",
        examples=[["hospital-A", "hospital-B"]],
    )
    consortium: Address | None = Field(
        None, description="Address of the consortium; needed only where several have these owners."
    )


class RecipeKept(Strict):
    """A recipe was handed in, now or before."""

    compose_hash: Hash
    name: str = Field(description="Name of the study.")
    size: int = Field(description="Bytes.")


class RunAccepted(Strict):
    """A run was taken; it starts as soon as nothing is missing."""

    id: Hash
    compose_hash: Hash
    consortium: Address
    state: str = Field(examples=["waiting"])
    missing: list[Missing]


class RunEvent(Strict):
    """One thing that happened to a run."""

    id: int
    time: float
    phase: str = Field(examples=["attesting"])
    code: str | None
    message: str


class RunPhase(Strict):
    """One of the five phases of a run that trains a model."""

    name: Literal["sealed", "training", "evaluating", "checkpoint verified", "released"]
    state: Literal["waiting", "under way", "done", "broken", "not reached"]
    says: str
    ended: float | None = Field(description="When it ended; training and evaluating end in one instant.")
    proof: dict[str, str] = Field(description="Digests of what it proved, once the envelope is published.")


class RunState(RunAccepted):
    """A run as it stands."""

    state: State
    code: str | None = Field(description="Why it ended otherwise than done.")
    message: str | None
    created: float
    updated: float
    events: list[RunEvent]
    phases: list[RunPhase] = Field(description="Of a run that trains a model; empty for others.")
    payload: dict[str, Any] | None = Field(description="The result; null until its receipt is on chain.")
    envelope: dict[str, Any] | None = Field(
        description="The Sign-RPC envelope; null until its receipt is on chain."
    )
    envelope_digest: Hash | None = Field(
        description="SHA-256 of the envelope's bytes, which `GET /v1/envelopes/…` has."
    )


class Owner(Strict):
    """One owner, beside the study that is spoken of."""

    id: str
    account: Address
    jurisdiction: str
    regimes: list[str]
    approved: bool
    withdrawn: bool = Field(
        description="Took its approval back, or said in advance that it does not approve."
    )
    required: bool
    confirmed: bool = Field(description="Did something here with its own account or signature.")
    revoked: bool = Field(description="Its veto stands: nothing is pinned without its approval.")
    tx: Hash | None


class Guarantee(Strict):
    """Why one person's data stays apart from another's."""

    name: str = Field(examples=["by-construction"])
    sentence: str = Field(description="What it promises, and on what the promise rests.")
    by_script: bool = Field(description="Whether a script computes; else a relation does.")
    must_read: bool = Field(description="Whether the promise rests on reading that script.")
    rows: int = Field(description="Most rows of one person that count.")
    blocks: int | None = Field(description="Blocks of people; null unless a script sees one at a time.")


class Column(Strict):
    """A column of a table that owners seal."""

    name: str
    type: str = Field(examples=["decimal(6, 2)", "category of F, M", "list of date"])


class Schema(Strict):
    """The columns of a table, whoever owns it."""

    name: str
    unit: str = Field(description="The column of the person.")
    columns: list[Column]


class Reads(Strict):
    """A dataset that a recipe reads."""

    owner: str
    name: str
    kind: Literal["table", "files"]
    table: str | None = Field(description="Its schema; null for files.")


class ResultColumn(Strict):
    """A column of a relation's result."""

    name: str
    type: str = Field(examples=["whole number (64 bits)"])
    nullable: bool
    unit: bool = Field(description="Whether it names the person.")
    compiled: str = Field(description="As the compiled SQL names it.")


class Relation(Strict):
    """A researcher's SQL, and what this server compiles from it: `sealroom relation` does so again."""

    sql: str = Field(description="As the recipe's bytes have it.")
    compiled: str = Field(description="What runs in its place.")
    rows: int = Field(description="Most rows of one person in its result.")
    people: int | None = Field(description="For how many people a run has memory; null where none says.")
    unit: str
    columns: list[ResultColumn]
    reads: dict[str, list[str]] = Field(description="The columns that are read, by table.")
    datasets: list[str]


class Inference(Strict):
    """A network whose output is a column that fields read."""

    name: str = Field(description="Of the column.")
    sentence: str
    numbers: int = Field(description="How many numbers come out for a row.")
    weights: str | None = Field(
        description="The dataset that holds them; null where they stand in the recipe.",
        examples=["maker/net"],
    )


class Recipe(Strict):
    """What a recipe promises, reads and computes."""

    guarantee: Guarantee
    tables: list[Schema]
    reads: list[Reads]
    relation: Relation | None = Field(description="Null where a script computes.")
    inference: list[Inference] = Field(description="The networks whose outputs are columns.")
    analysis: str | None = Field(description="The script; null where a relation computes.")


class Proposal(Strict):
    """One study that waits for approvals."""

    study: Hash
    compose_hash: Hash
    name: str | None
    guarantee: Guarantee | None = Field(description="Null where the recipe's bytes are not known here.")
    proposed_by: str = Field(description="Owner whose approval was the first.")
    block: int = Field(description="Block of that approval.")
    epsilon_micro: int
    delta_pico: int
    max_runs: int
    expiry: int
    approved: list[str] = Field(description="Owners whose approval counts.")


class Governing(Strict):
    """A roster, a platform or machines that wait for votes."""

    id: Hash
    kind: Literal["roster", "platform", "machines"]
    content: list[list[str]] = Field(description="Label and value of all that it says.")
    approved: list[str] = Field(description="Owners who signed.")
    missing: list[str] = Field(description="Owners who have not.")
    needed: int
    expiry: int
    removes: list[str] = Field(description="Owners who would lose their seats.")


class Notice(Strict):
    """What an owner should know of at once."""

    kind: str = Field(examples=["seat-offered"])
    about: str
    block: int
    text: str


class Dataset(Strict):
    """A dataset with what may be, and is, spent on it: ε in millionths, δ in parts of 10^12."""

    id: Hash
    name: str
    holder: str
    version: int = Field(description="Version that the study uses, or the newest.")
    pinned: bool = Field(description="Whether the study names this version.")
    rows: int
    lifetime: dict[str, int]
    allowance: dict[str, int]


class Study(Strict):
    """One consortium with its present study."""

    consortium: Address
    app: Address
    ledger: Address
    chain_id: int
    block: int
    basis: Hash = Field(description="What an approval of a study has to follow.")
    steps: int = Field(description="How often the standing changed: owners, platform, or a revocation.")
    nonce: int = Field(description="Studies pinned so far; what a new study must name.")
    status: Status
    records: int
    criteria: dict[str, Grade]
    threshold: int
    owners: list[Owner]
    study: Hash | None
    state: str | None = Field(description="pending, live, expired, stopped or past; null without a study.")
    compose_hash: Hash | None
    name: str | None
    question: str | None
    guarantee: Guarantee | None = Field(description="Null where the recipe's bytes are not known here.")
    epsilon_micro: int | None
    spent_micro: int | None
    delta_pico: int | None = Field(description="δ of all runs together, in parts of 10^12.")
    spent_pico: int | None
    max_runs: int | None
    runs: int
    receipts: int
    expiry: int | None
    revoked_by: str | None
    revocation_reason: str
    proposals: list[Proposal] = Field(
        description="Every study that waits, newest first; of one owner the newest eight."
    )
    governing: list[Governing] = Field(description="What else waits for votes, newest first.")
    notices: list[Notice] = Field(description="What owners should know of at once, newest first.")
    datasets: list[Dataset]
    waiting: int = Field(description="How many studies wait in all.")


class Activity(Strict):
    """One thing that happened to a consortium."""

    block: int
    tx: Hash
    kind: str = Field(examples=["approval-withdrawn"])
    who: str = Field(description="Name of the owner who did it; empty where it was no single owner.")
    what: str
    reason: str = Field(description="The owner's own words, where it gave any.")
    final: bool = Field(description="Whether its block is final; until then it may still be replaced.")


class ActivityPage(Strict):
    """A page of what happened, newest first."""

    activities: list[Activity]
    total: int


class Studies(Strict):
    """A page of the board."""

    studies: list[Study]
    total: int
    block: int = Field(description="Block up to which the chain was read.")
    late: str = Field(description="Why the answer may be older than the chain; empty where it is not.")


class CallRequest(Strict):
    """What a wallet shall be asked to sign."""

    consortium: Address
    action: Literal["approve", "withdraw", "revoke"]
    study: Hash | None = Field(None, description="For approve and withdraw: the study's id.")
    reason: str | None = Field(
        None, max_length=MAX_REASON_BYTES, description="For revoke: why; at most 256 bytes."
    )


class Call(Strict):
    """A transaction, unsigned. A signer should build it anew and compare."""

    chain_id: int
    to: Address
    function: str = Field(examples=["revoke(string)"])
    data: str = Field(pattern=r"^0x[0-9a-f]+$")


class Condition(Strict):
    """One thing that the console needs."""

    name: str = Field(examples=["chain"])
    ok: bool
    message: str = Field(examples=["block 1234 is final"])
    hint: str | None = None


class Readiness(Strict):
    """Whether the console can do its work."""

    status: Literal["ready", "not-ready"]
    conditions: list[Condition]
