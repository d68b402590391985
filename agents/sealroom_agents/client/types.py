# SPDX-License-Identifier: Apache-2.0
"""What the console takes and answers, as JSON. `make docs` writes this file from its OpenAPI."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Activity(TypedDict):
    """One thing that happened to a consortium."""

    block: int
    tx: str
    kind: str
    who: str
    what: str
    reason: str
    final: bool
    time: int | None
    run: str | None
    study: str | None
    datasets: list[str]
    accounts: list[str]


class ActivityPage(TypedDict):
    """A page of what happened, newest first."""

    activities: list[Activity]
    total: int


class Anchored(TypedDict):
    """Receipts that were anchored in one event: one alone, or a batch."""

    block: int
    tx: str
    final: bool
    run: str | None
    study: str | None
    sequence: int
    count: int
    root: str | None


class Booked(TypedDict):
    """What runs of a period booked on one dataset: ε in millionths, δ in parts of 10^12."""

    dataset: str
    name: str
    holder: str
    runs: int
    epsilonMicro: int
    deltaPico: int


class Budgets(TypedDict):
    """What may be, and is, spent: ε in millionths, δ in parts of 10^12."""

    study: str | None
    epsilonMicro: int | None
    spentMicro: int | None
    leftMicro: int | None
    deltaPico: int | None
    spentPico: int | None
    leftPico: int | None
    maxRuns: int | None
    runs: int
    datasets: list[Dataset]


class Call(TypedDict):
    """A transaction, unsigned. A signer should build it anew and compare."""

    chainId: int
    to: str
    function: str
    data: str


class CallRequest(TypedDict):
    """What a wallet shall be asked to sign."""

    consortium: str
    action: Literal["approve", "withdraw", "revoke"]
    study: NotRequired[str | None]
    reason: NotRequired[str | None]


class CancelRequest(TypedDict):
    """Take a run back."""

    signed: NotRequired[Signed | None]


class Column(TypedDict):
    """A column of a table that owners seal."""

    name: str
    type: str


class Condition(TypedDict):
    """One thing that the console needs."""

    name: str
    ok: bool
    message: str
    hint: NotRequired[str | None]


class Console(TypedDict):
    """Whose answers these are."""

    version: str
    chainId: int | None
    factory: str
    key: str
    algorithm: Literal["ed25519"]
    attestation: dict[str, Any] | None


class Dataset(TypedDict):
    """A dataset with what may be, and is, spent on it: ε in millionths, δ in parts of 10^12."""

    id: str
    name: str
    holder: str
    version: int
    pinned: bool
    rows: int
    lifetime: dict[str, int]
    allowance: dict[str, int]


class DatasetPage(TypedDict):
    """Datasets of up to 25 consortia, the oldest consortium first."""

    datasets: list[ListedDataset]
    consortia: int
    unread: int
    next: str | None
    block: int
    late: str


class Datasets(TypedDict):
    """Datasets that a consortium may use."""

    datasets: list[Dataset]


class Fits(TypedDict):
    """Whether a study fits what may be spent on the account's own datasets; ε in millionths."""

    run: int
    runs: int
    left: int
    fit: int


class Governing(TypedDict):
    """A roster, a platform or machines that wait for votes."""

    id: str
    kind: Literal["roster", "platform", "machines"]
    content: list[list[str]]
    approved: list[str]
    missing: list[str]
    closedBy: list[str]
    needed: int
    expiry: int
    removes: list[str]


class Gpu(TypedDict):
    """GPUs that a recipe demands."""

    kind: str
    count: int
    mode: str


class Guarantee(TypedDict):
    """Why one person's data stays apart from another's."""

    name: str
    sentence: str
    byScript: bool
    mustRead: bool
    rows: int
    blocks: int | None


class Health(TypedDict):
    """Whether the process lives."""

    status: Literal["ok"]


class Inference(TypedDict):
    """A network whose output is a column that fields read."""

    name: str
    sentence: str
    numbers: int
    weights: str | None


class ListedDataset(TypedDict):
    """A dataset that a consortium may use. One that several may use is told once of each."""

    consortium: str
    dataset: Dataset


class Missing(TypedDict):
    """One thing that a run lacks."""

    code: str
    message: str
    owner: NotRequired[str | None]


class Notice(TypedDict):
    """What an owner should know of at once."""

    kind: str
    about: str
    block: int
    text: str


class Owner(TypedDict):
    """One owner, beside the study that is spoken of."""

    id: str
    account: str
    jurisdiction: str
    regimes: list[str]
    approved: bool
    withdrawn: bool
    required: bool
    confirmed: bool
    revoked: bool
    tx: str | None


class Problem(TypedDict):
    """A refused request: problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: NotRequired[str | None]
    field: NotRequired[str | None]


class Proposal(TypedDict):
    """One study that waits for approvals."""

    study: str
    composeHash: str
    name: str | None
    guarantee: Guarantee | None
    proposedBy: str
    block: int
    epsilonMicro: int
    deltaPico: int
    maxRuns: int
    expiry: int
    approved: list[str]
    closedBy: list[str]


class ProposalContent(TypedDict):
    """A study that waits, with all that its approval says."""

    proposal: Proposal
    content: dict[str, Any]
    missing: list[str]
    required: list[str]
    signed: list[str]


class Proposals(TypedDict):
    """Studies that wait for approvals, newest first."""

    proposals: list[ProposalContent]
    threshold: int
    waiting: int


class Readiness(TypedDict):
    """Whether the console can do its work."""

    status: Literal["ready", "not-ready"]
    conditions: list[Condition]


class Reads(TypedDict):
    """A dataset that a recipe reads."""

    owner: str
    name: str
    kind: Literal["table", "files"]
    table: str | None


class Receipts(TypedDict):
    """Receipts on chain, newest first."""

    anchored: list[Anchored]
    total: int


class Recipe(TypedDict):
    """What a recipe promises, reads and computes."""

    guarantee: Guarantee
    researchers: list[str]
    gpu: Gpu | None
    hints: bool
    script: Script | None
    tables: list[Schema]
    reads: list[Reads]
    relation: Relation | None
    inference: list[Inference]
    analysis: str | None


class RecipeKept(TypedDict):
    """A recipe was handed in, now or before."""

    composeHash: str
    name: str
    size: int


class Relation(TypedDict):
    """A researcher's SQL, and what this server compiles from it: `sealroom relation` does so again."""

    sql: str
    compiled: str
    rows: int
    people: int | None
    unit: str
    columns: list[ResultColumn]
    reads: dict[str, list[str]]
    datasets: list[str]


class ResultColumn(TypedDict):
    """A column of a relation's result."""

    name: str
    type: str
    nullable: bool
    unit: bool
    compiled: str


class RunAccepted(TypedDict):
    """A run was taken; it starts as soon as nothing is missing."""

    id: str
    composeHash: str
    consortium: str
    researcher: str | None
    state: str
    missing: list[Missing]


class RunEvent(TypedDict):
    """One thing that happened to a run."""

    id: int
    time: float
    phase: str
    code: str | None
    message: str


class RunLine(TypedDict):
    """A run in a list."""

    id: str
    composeHash: str
    consortium: str
    researcher: str | None
    state: Literal[
        "waiting",
        "queued",
        "starting",
        "attesting",
        "computing",
        "anchoring",
        "done",
        "refused",
        "revoked",
        "cancelled",
        "failed",
    ]
    code: str | None
    message: str | None
    created: float
    updated: float


class RunPage(TypedDict):
    """Runs, newest first."""

    runs: list[RunLine]
    next: str | None


class RunPhase(TypedDict):
    """One of the five phases of a run that trains a model."""

    name: Literal["sealed", "training", "evaluating", "checkpoint verified", "released"]
    state: Literal["waiting", "under way", "done", "broken", "not reached"]
    says: str
    ended: float | None
    proof: dict[str, str]


class RunRequest(TypedDict):
    """Ask for a run."""

    compose: NotRequired[str | None]
    composeHash: NotRequired[str | None]
    owners: list[str]
    consortium: NotRequired[str | None]
    signed: NotRequired[SignedRequest | None]


class RunState(TypedDict):
    """A run as it stands."""

    id: str
    composeHash: str
    consortium: str
    researcher: str | None
    state: Literal[
        "waiting",
        "queued",
        "starting",
        "attesting",
        "computing",
        "anchoring",
        "done",
        "refused",
        "revoked",
        "cancelled",
        "failed",
    ]
    missing: list[Missing]
    code: str | None
    message: str | None
    created: float
    updated: float
    events: list[RunEvent]
    phases: list[RunPhase]
    payload: dict[str, Any] | None
    envelope: dict[str, Any] | None
    envelopeDigest: str | None


class Schema(TypedDict):
    """The columns of a table, whoever owns it."""

    name: str
    unit: str
    columns: list[Column]


class Script(TypedDict):
    """What Phala Cloud runs as root before the containers; the recipe's bytes hold it."""

    name: str
    bytes: int
    sha256: str


class Signature(TypedDict):
    """One that was handed in and verified."""

    owner: str
    account: str
    signature: str
    by: Literal["key", "contract"]


class SignatureRequest(TypedDict):
    """An owner's signature of an approval."""

    study: str
    owner: str
    signature: str


class Signatures(TypedDict):
    """What was gathered of one study, and the transaction that hands it in."""

    study: str
    approved: list[str]
    signatures: list[Signature]
    threshold: int
    enough: bool
    call: Call | None


class Signed(TypedDict):
    """A signature by the account that asks, over EIP-712 typed data that `docs/rest.md` shows."""

    account: str
    expires: int
    signature: str


class SignedRequest(TypedDict):
    """The same of a request for a run. Its digest is the run's id: it makes one run, wherever it is sent."""

    account: str
    expires: int
    signature: str
    salt: str


class Spending(TypedDict):
    """What runs of a period booked, by dataset."""

    datasets: list[Booked]
    whole: bool


class Studies(TypedDict):
    """A page of the board."""

    studies: list[Study]
    total: int
    block: int
    late: str


class Study(TypedDict):
    """One consortium with its present study."""

    consortium: str
    app: str
    ledger: str
    chainId: int
    block: int
    basis: str
    steps: int
    nonce: int
    status: Literal["declared", "forming", "live", "revoked"]
    records: int
    criteria: dict[str, Literal["miss", "partial", "match"]]
    threshold: int
    owners: list[Owner]
    study: str | None
    state: str | None
    composeHash: str | None
    name: str | None
    question: str | None
    guarantee: Guarantee | None
    epsilonMicro: int | None
    spentMicro: int | None
    deltaPico: int | None
    spentPico: int | None
    maxRuns: int | None
    runs: int
    receipts: int
    expiry: int | None
    revokedBy: str | None
    revocationReason: str
    proposals: list[Proposal]
    governing: list[Governing]
    notices: list[Notice]
    datasets: list[Dataset]
    waiting: int


class Task(TypedDict):
    """One thing that awaits an account. Of names, all but printable ASCII stands by its number."""

    kind: Literal[
        "seat-offered",
        "dataset-offered",
        "removal",
        "decide-study",
        "decide-roster",
        "decide-platform",
        "decide-machines",
        "accept-seat",
        "accept-dataset",
        "register-dataset",
        "allow-dataset",
        "budget-short",
        "study-refused",
        "no-platform",
        "confirm-seat",
        "no-machine",
        "app-keeps-recipe",
        "hand-in-signature",
        "study-waits",
        "proposal-waits",
        "veto-stands",
        "run",
    ]
    group: Literal["watch", "decide", "do", "wait", "running"]
    consortium: str
    name: str
    title: str
    says: str
    about: str | None
    page: str
    command: str
    missing: list[str]
    approved: int
    needed: int
    required: bool
    budget: Fits | None
    until: int | None


class Tasks(TypedDict):
    """What awaits an account, from one page of consortia."""

    account: str
    tasks: list[Task]
    consortia: int
    unread: int
    total: int
    strangers: int
    block: int
    late: str
