# SPDX-License-Identifier: Apache-2.0
"""The registry of codes: every refusal and every error of the product is one of these words.

A code is what programs compare, and stays the same from version to version; messages are for people and may
change. Each member says what it means, where it arises, which HTTP status an answer with it has, whether the
same request may succeed later, and with which status a process ends for it.

To add a refusal, add its line to the section of its stage, raise it, and run `make docs`: the tables in the
documents are written from here. This module is measured, and imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, StrEnum, unique
from typing import NamedTuple, Self, TypeVar


class Exit(IntEnum):
    """Exit status of a process that a code ends; of a run in the enclave all but `FAILED`."""

    DONE = 0
    """What was asked for is done; of a run: the envelope is written."""
    FAILED = 1
    """A command could not do what it was asked to, or found something broken."""
    REFUSED = 3
    """The gate refused, or what the run was given breaks a rule."""
    LEASE_ENDED = 4
    """The lease of the run ended; keys are wiped."""
    JOB_FAILED = 5
    """The analysis failed."""
    CONFIGURATION = 78
    """The process refuses to start as configured (sysexits' EX_CONFIG)."""


class Stage(StrEnum):
    """Where a code arises."""

    about: str
    """What that is, in one line."""

    def __new__(cls, word: str, about: str) -> Self:
        """A stage by its name."""
        stage = str.__new__(cls, word)
        stage._value_, stage.about = word, about
        return stage

    FORMAT = "format", "Any document or message: its bytes are not what its format says."
    KEY = "key", "Keys and signatures."
    RECIPE = "recipe", "A recipe, before owners approve it."
    SEALED = "sealed dataset", "A sealed dataset, when it is made, moved or opened."
    RELEASE = "key release", "The enclave's side of the release protocol."
    ATTESTATION = "attestation", "The gate, about a quote and its event log."
    GPU = "GPU evidence", "Evidence of NVIDIA GPUs that is verified."
    GATE = "gate", "The gate, about everything else that an enclave shows or asks."
    GATE_STATE = "gate state", "The gate, about its own database and audit log."
    CHAIN = "chain", "Reading the chain, or sending it a transaction."
    RUN = "run", "A run inside the enclave: sandbox, analysis, releases and result."
    RUNNER = "runner", "What a runner or the watcher says of a run, and the database that they share."
    READINESS = "readiness", "What a submitted run still lacks."
    CONSOLE = "console", "The console's REST interface."
    SERVER = "server", "Any HTTP server of ours: the request did not reach what it asks for."
    ENVELOPE = "envelope", "A result envelope that is verified."
    FAILURE = "failure file", "A failure file that an owner opens."
    CARD = "study card", "A study card that is compared with the gate and the chain."
    COMMAND = "command", "The commands of owners and auditors."
    CONFIGURATION = "configuration", "The start of a process."
    UNKNOWN = "unknown", "A code of a peer of another version; no member of the registry."


class _Entry(NamedTuple):
    """A member as it is written below."""

    word: str
    sentence: str
    stage: Stage
    http: int | None
    transient: bool
    exit: Exit


def _section(stage: Stage, http: int | None, exit: Exit = Exit.REFUSED) -> Callable[..., _Entry]:
    """What writes the members of one stage, with what most of them share."""

    def entry(
        word: str,
        sentence: str,
        *,
        http: int | None = http,
        transient: bool = False,
        exit: Exit = exit,
    ) -> _Entry:
        return _Entry(word, sentence, stage, http, transient, exit)

    return entry


_format = _section(Stage.FORMAT, None)
_key = _section(Stage.KEY, None)
_recipe = _section(Stage.RECIPE, 422)
_sealed = _section(Stage.SEALED, None)
_release = _section(Stage.RELEASE, None)
_attestation = _section(Stage.ATTESTATION, 403)
_gpu = _section(Stage.GPU, None, Exit.FAILED)
_gate = _section(Stage.GATE, 403)
_state = _section(Stage.GATE_STATE, 503, Exit.FAILED)
_chain = _section(Stage.CHAIN, 503)
_run = _section(Stage.RUN, None)
_runner = _section(Stage.RUNNER, None, Exit.FAILED)
_readiness = _section(Stage.READINESS, None, Exit.FAILED)
_console = _section(Stage.CONSOLE, 422, Exit.FAILED)
_server = _section(Stage.SERVER, 400, Exit.FAILED)
_envelope = _section(Stage.ENVELOPE, None, Exit.FAILED)
_failure = _section(Stage.FAILURE, None, Exit.FAILED)
_card = _section(Stage.CARD, None, Exit.FAILED)
_command = _section(Stage.COMMAND, None, Exit.FAILED)
_start = _section(Stage.CONFIGURATION, None, Exit.CONFIGURATION)
_unknown = _section(Stage.UNKNOWN, None)


_Text = TypeVar("_Text", bound="Code")


def _filled(code: _Text, entry: _Entry) -> _Text:
    code._value_ = entry.word
    code.sentence, code.stage, code.http = entry.sentence, entry.stage, entry.http
    code.transient, code.exit = entry.transient, entry.exit
    return code


@unique
class Code(StrEnum):
    """A code. It is text, so it is written, sent and compared as its word."""

    sentence: str
    """What it means and, where that helps, what to do: one line."""
    stage: Stage
    """Where it arises; where it first does, if it does in several places."""
    http: int | None
    """Status of an HTTP answer with this code; `None` when no server gives one."""
    transient: bool
    """Whether the same request may succeed later without anybody doing anything."""
    exit: Exit
    """Status of a run in the enclave that ends with this code; 4 when its lease ended, whatever the code.

    A command ends with 78 when it refuses to start as configured, else with 1.
    """

    def __new__(
        cls, word: str, sentence: str, stage: Stage, http: int | None, transient: bool, exit: Exit
    ) -> Self:
        """A member, from its entry below."""
        return _filled(str.__new__(cls, word), _Entry(word, sentence, stage, http, transient, exit))

    @classmethod
    def parse(cls, text: str) -> Code:
        """The code that a peer, a job or a stored row gives.

        A word of another version is kept as it is, with `Stage.UNKNOWN`: people see it, and
        nothing takes it for transient.
        """
        known = cls._value2member_map_.get(text)
        if isinstance(known, cls):
            return known
        code = _filled(str.__new__(cls, text), _unknown(text, "This version does not know the code."))
        code._name_ = "UNKNOWN"
        return code

    @property
    def line(self) -> str:
        """The sentence as messages are written: lower case, no full stop."""
        return self.sentence[:1].lower() + self.sentence[1:].removesuffix(".")

    # --- any document or message ----------------------------------------------------------------

    MALFORMED = _format("malformed", "The message or document is not what its format says.", http=400)
    TOO_LARGE = _format("too-large", "The message or document is larger than its format allows.", http=413)
    NOT_CANONICAL = _format("not-canonical", "The JSON is not in canonical form (RFC 8785).")
    UNSUPPORTED_VERSION = _format(
        "unsupported-version", "The document is of a version that this one does not read."
    )
    UNSUPPORTED_SUITE = _format(
        "unsupported-suite", "The document names other algorithms than the one suite."
    )

    # --- keys and signatures --------------------------------------------------------------------

    KEY_INVALID = _key("key-invalid", "A key does not have the length or the form of its kind.")
    KEY_WIPED = _key("key-wiped", "The key was wiped from memory, and cannot be used any more.")
    SIGNATURE_INVALID = _key("signature-invalid", "A signature is malformed or does not verify.")
    DOES_NOT_OPEN = _key("does-not-open", "The ciphertext does not open with this key in this context.")

    # --- recipes --------------------------------------------------------------------------------

    RECIPE_MALFORMED = _recipe("recipe-malformed", "The recipe is not what its format says.")
    RECIPE_TOO_LARGE = _recipe("recipe-too-large", "The recipe is larger than a recipe may be.")
    RECIPE_UNREADABLE = _recipe("recipe-unreadable", "A file of the recipe cannot be read.")
    RECIPE_NOT_CANONICAL = _recipe(
        "recipe-not-canonical", "The recipe is not in its one form: build it again."
    )
    RECIPE_UNKNOWN_FIELD = _recipe("recipe-unknown-field", "The recipe has a field that no recipe has.")
    RECIPE_RESEARCHERS = _recipe(
        "recipe-researchers", "The recipe says badly who may ask for runs: accounts, or anyone."
    )
    RECIPE_MANIFEST_VERSION = _recipe(
        "recipe-manifest-version", "The app-compose is not of manifest version 2."
    )
    RECIPE_RUNNER = _recipe("recipe-runner", "The app-compose names another runner than docker-compose.")
    RECIPE_KEY_PROVIDER = _recipe(
        "recipe-key-provider", "The app would take its keys from elsewhere than the KMS."
    )
    RECIPE_GATEWAY = _recipe("recipe-gateway", "The app would be reachable through dstack's gateway.")
    RECIPE_PUBLIC_LOGS = _recipe("recipe-public-logs", "The app would publish its logs.")
    RECIPE_PUBLIC_SYSINFO = _recipe("recipe-public-sysinfo", "The app would publish facts of its machine.")
    RECIPE_PUBLIC_TCBINFO = _recipe("recipe-public-tcbinfo", "The app would publish its event log.")
    RECIPE_INSTANCE_ID = _recipe("recipe-instance-id", "The app would run without an instance id.")
    RECIPE_SECURE_TIME = _recipe("recipe-secure-time", "The app would start before its clock is set.")
    RECIPE_ALLOWED_ENVS = _recipe("recipe-allowed-envs", "The app would take variables from its operator.")
    RECIPE_SCRIPT = _recipe("recipe-script", "The app-compose has a script that dstack would run as root.")
    RECIPE_INTERPOLATION = _recipe(
        "recipe-interpolation", "The recipe has a $, which Docker takes for a variable."
    )
    RECIPE_SERVICE = _recipe("recipe-service", "The recipe has another service than the one named enclave.")
    RECIPE_MUTABLE_IMAGE = _recipe("recipe-mutable-image", "The image is not pinned by its digest.")
    RECIPE_PRIVILEGED = _recipe("recipe-privileged", "The service would have rights that no recipe may have.")
    RECIPE_NETWORK = _recipe("recipe-network", "The service would choose its network.")
    RECIPE_PORTS = _recipe("recipe-ports", "The service would open a port.")
    RECIPE_ENVIRONMENT = _recipe("recipe-environment", "The service would take variables of its environment.")
    RECIPE_HOST_MOUNT = _recipe(
        "recipe-host-mount", "The service would mount more than the guest agent's socket."
    )
    RECIPE_COMMAND = _recipe("recipe-command", "The service would start something else than its image does.")
    RECIPE_LOGS = _recipe("recipe-logs", "The service would write logs.")
    RECIPE_GPU = _recipe(
        "recipe-gpu", "The recipe asks for GPUs in another form than one whose evidence can be verified."
    )
    RECIPE_ANALYSIS = _recipe("recipe-analysis", "The analysis is not plain text, or not Python.")
    RECIPE_COLUMN = _recipe(
        "recipe-column", "A field uses a column that the datasets lack, or of the wrong type."
    )
    RECIPE_UNIT = _recipe(
        "recipe-unit", "A dataset lacks the privacy unit's column, or it is of the wrong type."
    )
    RECIPE_BUDGET = _recipe(
        "recipe-budget", "ε or δ are out of range, or less than the fields cost together."
    )
    RECIPE_FIELD = _recipe("recipe-field", "A field of the result breaks a rule of its kind.")
    RECIPE_INFERENCE = _recipe(
        "recipe-inference", "A network whose output is a column breaks a rule of the section inference."
    )
    RECIPE_BOUNDS = _recipe("recipe-bounds", "The declared bounds or sizes of the result are out of range.")

    # --- the SQL of a relation ------------------------------------------------------------------

    RELATION_PARSER = _recipe("relation-parser", "Another version of DuckDB than the one that reads SQL.")
    RELATION_TOO_LARGE = _recipe(
        "relation-too-large", "The query is too long, too deep, or of too many steps."
    )
    RELATION_SYNTAX = _recipe("relation-syntax", "The text is not one SELECT that DuckDB reads.")
    RELATION_NO_RULE = _recipe("relation-no-rule", "A form of SQL for which no rule keeps people apart.")
    RELATION_TABLE = _recipe("relation-table", "The recipe has no schema of this name.")
    RELATION_NAME = _recipe("relation-name", "A column is unknown, ambiguous, or there twice.")
    RELATION_COLUMN_TYPE = _recipe("relation-column-type", "A column has a type that SQL does not read.")
    RELATION_TYPE = _recipe("relation-type", "An operator gets values of types that it does not take.")
    RELATION_CONSTANT = _recipe("relation-constant", "A constant is out of range, or is needed.")
    RELATION_TEXT_SIZE = _recipe("relation-text-size", "A text could become longer than a text may be.")
    RELATION_FUNCTION = _recipe("relation-function", "There is no such scalar function in relations.")
    RELATION_AGGREGATE = _recipe(
        "relation-aggregate", "There is no such exact aggregate in relations, or none can stand there."
    )
    RELATION_INEXACT = _recipe(
        "relation-inexact", "A sum of binary fractions depends on the order of other people's rows."
    )
    RELATION_LIST = _recipe("relation-list", "A person's list could have any length.")
    RELATION_WINDOW = _recipe("relation-window", "There is no such window, or none can stand there.")
    RELATION_FRAME = _recipe("relation-frame", "A window's frame is neither SQL's own nor ROWS of literals.")
    RELATION_KEY = _recipe("relation-key", "A key needs a type whose equal values are the same bits.")
    RELATION_GROUPING = _recipe(
        "relation-grouping", "A column is neither grouped nor aggregated, or a grouping has no rule."
    )
    RELATION_NO_UNIT = _recipe("relation-no-unit", "A step mixes the rows of several people.")
    RELATION_ACROSS_PEOPLE = _recipe(
        "relation-across-people", "ORDER BY and LIMIT of a query look across people."
    )
    RELATION_SUBQUERY = _recipe("relation-subquery", "A subquery in an expression has no rule: write a join.")
    RELATION_JOIN_UNIT = _recipe("relation-join-unit", "A join pairs the rows of different people.")
    RELATION_UNIT_TYPE = _recipe("relation-unit-type", "Two tables name people by different types.")
    RELATION_JOIN_KIND = _recipe("relation-join-kind", "This kind of join has no rule.")
    RELATION_FAN_OUT = _recipe("relation-fan-out", "A join could give one person too many rows.")
    RELATION_PUBLIC = _recipe("relation-public", "Constants stand where a table of people must.")
    RELATION_SET = _recipe("relation-set", "EXCEPT and INTERSECT have no rule: write a join.")
    RELATION_UNION = _recipe("relation-union", "The sides of a UNION differ in columns, or in the person's.")
    RELATION_ROWS = _recipe("relation-rows", "A person may have more rows than the recipe says.")

    # --- sealed datasets ------------------------------------------------------------------------

    ARCHIVE_MALFORMED = _sealed("archive-malformed", "The sealed file is not in the one form of its archive.")
    ARCHIVE_TRUNCATED = _sealed("archive-truncated", "The sealed file ends too early: fetch it again.")
    HEADER_MALFORMED = _sealed(
        "header-malformed", "The sealed file's header.json is not what its format says."
    )
    WRAP_MALFORMED = _sealed("wrap-malformed", "The sealed file's wrap.json is not what its format says.")
    WRAP_MISMATCH = _sealed("wrap-mismatch", "The wrap is of another sealed file, or for another consortium.")
    INDEX_MALFORMED = _sealed("index-malformed", "The sealed file's index.json is not what its format says.")
    INDEX_SIGNATURE = _sealed("index-signature", "The signature in index.json is malformed.")
    INDEX_MISMATCH = _sealed(
        "index-mismatch", "The index differs from the archive, or from what was registered."
    )
    PART_ALTERED = _sealed(
        "part-altered", "A part is not the one that the index lists: fetch the file again."
    )
    PART_DOES_NOT_OPEN = _sealed("part-does-not-open", "A part does not open with the data key.")
    TABLE_MALFORMED = _sealed("table-malformed", "The table cannot be read.")
    TABLE_MISMATCH = _sealed("table-mismatch", "The table has other columns or rows than its header says.")
    TABLE_TOO_LARGE = _sealed("table-too-large", "The table would take more memory than a run has.")
    SCHEMA_UNSUPPORTED = _sealed(
        "schema-unsupported", "The table has columns of types that no study can use."
    )
    FOLDER_MALFORMED = _sealed("folder-malformed", "The sealed folder is no tar of plain files and folders.")
    FOLDER_TOO_LARGE = _sealed(
        "folder-too-large", "The sealed folder has more files or bytes than a run can hold."
    )
    NOT_FOLDER = _sealed("not-folder", "The dataset is no sealed folder.")
    WEIGHTS_MALFORMED = _sealed(
        "weights-malformed", "The sealed folder has no file of tensors that can be read as weights."
    )
    WEIGHTS_MISSING = _sealed("weights-missing", "The sealed folder has no file model.safetensors.")
    WEIGHTS_MISMATCH = _sealed(
        "weights-mismatch", "The tensors are not those of the layers in the recipe, or hold no such numbers."
    )
    NOT_PARQUET = _sealed("not-parquet", "The file is not one whole Parquet file.")
    NOT_TABLE = _sealed("not-table", "The dataset is a file, and no table.")
    UNKNOWN_COLUMN = _sealed("unknown-column", "The table has no such column, or it is asked for twice.")
    SOURCE_UNREADABLE = _sealed("source-unreadable", "The file cannot be read.")
    SOURCE_CHANGED = _sealed("source-changed", "The file changed while it was read: run the command again.")
    SAME_FILE = _sealed("same-file", "Input and output are the same file, or one lies in the other.")
    OUTPUT_EXISTS = _sealed("output-exists", "The output is there already, and nothing is overwritten.")
    OUTPUT_UNWRITABLE = _sealed("output-unwritable", "The output cannot be written.", exit=Exit.CONFIGURATION)
    WORKER_DIED = _sealed(
        "worker-died", "A worker process could not start, or ended before its work was done."
    )

    # --- the release protocol, as the enclave sees it -------------------------------------------

    GATE_UNREACHABLE = _release(
        "gate-unreachable", "The gate gives no answer, or none of the protocol.", transient=True
    )
    GATE_MISMATCH = _release(
        "gate-mismatch", "A dataset is sealed to another gate than the one that answers."
    )
    KMS_CHAIN_BROKEN = _release(
        "kms-chain-broken", "The gate's signature chain does not lead to its KMS root key."
    )
    CHALLENGE_FORGED = _release("challenge-forged", "The challenge was not signed by the consortium's gate.")
    GRANT_FORGED = _release("grant-forged", "The grant was not signed by the consortium's gate.")
    GRANT_MISMATCH = _release("grant-mismatch", "The grant is for something else than this run.")
    LEASE_FORGED = _release("lease-forged", "The renewal request was not signed by the run's enclave.")
    RENEWAL_FORGED = _release("renewal-forged", "The renewal was not signed by the consortium's gate.")
    FINALITY_FORGED = _release(
        "finality-forged", "The word that a block is final was not signed by the gate that granted the run."
    )
    RELEASE_DOES_NOT_OPEN = _release("release-does-not-open", "A released key does not open in this run.")
    LEASE_EXPIRED = _release(
        "lease-expired", "The gate did not renew the lease in time.", exit=Exit.LEASE_ENDED
    )
    STOPPED = _release(
        "stopped", "The host stopped the enclave, which ended its lease.", exit=Exit.LEASE_ENDED
    )

    # --- the gate, about evidence ---------------------------------------------------------------

    EVIDENCE_TOO_LARGE = _attestation(
        "evidence-too-large", "A body, quote or log is larger than its limit.", http=413
    )
    QUOTE_INVALID = _attestation("quote-invalid", "The quote does not lead to the trusted root.")
    COLLATERAL_UNAVAILABLE = _attestation(
        "collateral-unavailable",
        "Intel's collateral for the machine cannot be had at the moment: the quote was not judged.",
        http=503,
        transient=True,
    )
    QUOTE_NOT_TDX = _attestation("quote-not-tdx", "The quote is not a TDX quote of an accepted version.")
    DEBUG_TD = _attestation("debug-td", "The host can debug the TD.")
    TD_ATTRIBUTES = _attestation("td-attributes", "TD attributes or TDX module are not the accepted ones.")
    TCB_NOT_UP_TO_DATE = _attestation("tcb-not-up-to-date", "The platform's TCB is not up to date.")
    REPORT_DATA_MISMATCH = _attestation(
        "report-data-mismatch", "The quote binds something else than this exchange."
    )
    EVENT_LOG_MISMATCH = _attestation("event-log-mismatch", "The event log does not replay to the quote.")
    EVENT_LOG_DUPLICATE = _attestation("event-log-duplicate", "An event that counts once was measured twice.")
    EVENT_LOG_VERSION = _attestation(
        "event-log-version", "The event log is of a version that the platform policy does not accept."
    )
    CONFIG_ID_UNBOUND = _attestation(
        "config-id-unbound", "The TD was created without dstack's configuration id, and the policy wants one."
    )
    CONFIG_ID_UNKNOWN = _attestation("config-id-unknown", "The TD's configuration id is of no known form.")
    CONFIG_ID_MISMATCH = _attestation(
        "config-id-mismatch", "The TD was created for another app, recipe or key provider than it measured."
    )
    OS_IMAGE_DEV = _attestation(
        "os-image-dev", "The machine booted an image for developers, into which they can log in."
    )
    SIMULATED_ROOT_OFF_LOCAL_CHAIN = _attestation(
        "simulated-root-off-local-chain", "A simulated platform is accepted on local chains only."
    )
    GPU_EVIDENCE_UNVERIFIED = _attestation(
        "gpu-evidence-unverified",
        "GPU evidence is missing, unasked for, or does not prove what the recipe demands.",
    )

    # --- evidence of GPUs -----------------------------------------------------------------------

    GPU_EVIDENCE_MALFORMED = _gpu(
        "gpu-evidence-malformed", "The GPU evidence is not of the form of NVIDIA's."
    )
    GPU_ARCHITECTURE = _gpu(
        "gpu-architecture", "The GPU is of an architecture that is not verified, or of another than it says."
    )
    GPU_CHAIN = _gpu(
        "gpu-chain", "The GPU's certificates do not lead to NVIDIA's root, or are not valid now."
    )
    GPU_FWID = _gpu("gpu-fwid", "The firmware that reports is not the one that the GPU's boot ROM certified.")
    GPU_SIGNATURE = _gpu("gpu-signature", "The GPU did not sign this report.")
    GPU_NONCE = _gpu("gpu-nonce", "The GPU's report was made for another nonce.")
    GPU_COUNT = _gpu("gpu-count", "There are more or fewer GPUs than must be, or one stands there twice.")
    GPU_MEASUREMENT = _gpu(
        "gpu-measurement", "The GPU measured another driver or VBIOS than NVIDIA signed a manifest for."
    )
    GPU_NOT_ALLOWED = _gpu(
        "gpu-not-allowed", "The owners' platform policy does not accept this GPU, or none."
    )
    GPU_STATE = _gpu("gpu-state", "The GPU was verified less far than the owners' platform policy asks.")
    GPU_RIM_MALFORMED = _gpu("gpu-rim-malformed", "A reference manifest is not of the form of NVIDIA's.")
    GPU_RIM_CHAIN = _gpu("gpu-rim-chain", "A reference manifest is not vouched for by NVIDIA's root.")
    GPU_RIM_EXPIRED = _gpu(
        "gpu-rim-expired", "The signer of a reference manifest was not valid when it was fetched."
    )
    GPU_RIM_SIGNATURE = _gpu("gpu-rim-signature", "The signature of a reference manifest is wrong.")
    GPU_RIM_ALTERED = _gpu("gpu-rim-altered", "A reference manifest is not what its signature covers.")
    GPU_RIM_OTHER = _gpu(
        "gpu-rim-other", "A reference manifest is of another chip or version than its name says."
    )
    GPU_RIM_STALE = _gpu("gpu-rim-stale", "A reference manifest was fetched too long ago: fetch it anew.")
    GPU_RIM_COLLISION = _gpu(
        "gpu-rim-collision", "Two reference manifests expect one and the same measurement."
    )
    GPU_STATUS_MISSING = _gpu(
        "gpu-status-missing", "No answer of NVIDIA's responder is about one of the certificates."
    )
    GPU_STATUS_MALFORMED = _gpu(
        "gpu-status-malformed", "An answer about a certificate cannot be read, or does not know it."
    )
    GPU_STATUS_SIGNER = _gpu(
        "gpu-status-signer", "An answer about a certificate is signed by nobody who may answer."
    )
    GPU_STATUS_STALE = _gpu("gpu-status-stale", "An answer about a certificate is too old: ask anew.")
    GPU_SERVICE_UNREACHABLE = _gpu(
        "gpu-service-unreachable", "NVIDIA's service of manifests, or its responder, gives no usable answer."
    )
    GPU_REVOKED = _gpu("gpu-revoked", "NVIDIA revoked a certificate of the GPU or of a reference manifest.")
    GPU_TOKEN = _gpu(
        "gpu-token", "A token of NVIDIA's attestation service is not genuine, or of other evidence."
    )
    GPU_TOKEN_EXPIRED = _gpu(
        "gpu-token-expired", "A token of NVIDIA's attestation service does not count now."
    )
    GPU_TOKEN_CLAIMS = _gpu("gpu-token-claims", "NVIDIA's attestation service does not attest this GPU.")

    # --- the gate -------------------------------------------------------------------------------

    BUSY = _gate("busy", "Too much is under way at the gate: ask again later.", http=503, transient=True)
    UNKNOWN_RUN_ID_REUSED = _gate(
        "unknown-run-id-reused", "Keys were released under this run id before.", http=409
    )
    NONCE_UNKNOWN = _gate("nonce-unknown", "The gate gave out no such nonce.")
    NONCE_REPLAYED = _gate("nonce-replayed", "The nonce was used before.", http=409)
    NONCE_EXPIRED = _gate("nonce-expired", "The evidence came too late after its challenge.")
    GATE_NOT_REGISTERED = _gate("gate-not-registered", "The owners have not adopted this gate.")
    PLATFORM_POLICY_MISMATCH = _gate(
        "platform-policy-mismatch",
        "The owners adopted this gate with another platform policy.",
        exit=Exit.CONFIGURATION,
    )
    GUARANTEE_NOT_ACCEPTED = _gate(
        "guarantee-not-accepted", "The owners' platform policy does not accept the recipe's guarantee."
    )
    REVOKED = _gate("revoked", "An owner revoked: nothing is released until the owners approve again.")
    APP_ID_MISMATCH = _gate("app-id-mismatch", "The machine booted another app than the consortium's.")
    COMPOSE_HASH_MISMATCH = _gate(
        "compose-hash-mismatch", "The machine runs another recipe than the pinned one."
    )
    NOT_FINALIZED = _gate("not-finalized", "What was approved or opened is not in a finalized block yet.")
    STANDING_MISMATCH = _gate(
        "standing-mismatch", "The consortium's standing changed since the study was approved."
    )
    NOT_APPROVED = _gate("not-approved", "Too few owners approved the study.")
    OWNER_NOT_APPROVED = _gate(
        "owner-not-approved", "The owner of a dataset that the study uses has not approved."
    )
    STUDY_EXPIRED = _gate("study-expired", "The study expired.")
    KEY_PROVIDER_MISMATCH = _gate(
        "key-provider-mismatch", "The machine takes its keys from another KMS than the gate."
    )
    OS_IMAGE_NOT_ALLOWED = _gate(
        "os-image-not-allowed", "The OS image is unknown, or the owners did not allow it."
    )
    DEVICE_NOT_ALLOWED = _gate(
        "device-not-allowed", "The owners did not allow the machine, or what its platform has."
    )
    DATASET_MISMATCH = _gate(
        "dataset-mismatch", "A dataset is not the one that its owner registered for the study."
    )
    RUNS_EXHAUSTED = _gate("runs-exhausted", "All runs that the study or a dataset allows were opened.")
    BUDGET_EXCEEDED = _gate("budget-exceeded", "The run or release needs more privacy budget than is left.")
    STATE_ROLLED_BACK = _gate(
        "state-rolled-back", "The chain shows that the gate's own state is an older copy: nothing is granted."
    )
    GATE_NOT_READY = _gate(
        "gate-not-ready",
        "The gate lacks gas money, room on its disk, or something else that its operator has to see to.",
        http=503,
        transient=True,
    )
    WATCHER_DEAD = _gate(
        "watcher-dead", "The watcher has not seen the consortium of late.", http=503, transient=True
    )
    NOT_WRAPPED = _gate(
        "not-wrapped", "The sealed file's key is wrapped for no recipe yet: its owner reseals it."
    )
    WRAP_DOES_NOT_OPEN = _gate(
        "wrap-does-not-open", "A wrap does not open with the gate's key in this context."
    )
    WRONG_KEY = _gate("wrong-key", "The key is not the one whose commitment the owner registered.")
    LEASE_ENDED = _gate("lease-ended", "The lease ended, or the gate never granted the run.")
    LEASE_COUNTER = _gate("lease-counter", "The counter of a renewal was used before.", http=409)
    OPENING_LOST = _gate(
        "opening-lost",
        "A reorganisation took the run's opening; the gate sends it again.",
        http=503,
        transient=True,
    )
    OPENING_REPLACED = _gate("opening-replaced", "The ledger opened another run under this run id.")

    # --- the gate's own state -------------------------------------------------------------------

    GATE_STATE = _state("gate-state", "The gate cannot read or write its state.", transient=True)
    AUDIT_UNWRITABLE = _state("audit-unwritable", "The gate cannot write its audit log.", transient=True)
    AUDIT_CUT = _state("audit-cut", "The audit log lacks entries that the gate wrote.", transient=True)
    AUDIT_BROKEN = _state("audit-broken", "The audit log holds an entry that the gate did not write.")
    STATE_IN_USE = _state("state-in-use", "Another process of the same kind works with this state.")
    STATE_VERSION = _state("state-version", "Another version of the gate wrote this state.")

    # --- the chain ------------------------------------------------------------------------------

    CHAIN_UNREACHABLE = _chain("chain-unreachable", "Too few nodes give a usable answer.", transient=True)
    CHAIN_STALE = _chain(
        "chain-stale", "The nodes are behind, or their clocks differ from this one.", transient=True
    )
    CHAIN_DISAGREES = _chain(
        "chain-disagrees", "The nodes contradict each other or themselves.", transient=True
    )
    CHAIN_UNSUPPORTED = _chain("chain-unsupported", "The chain is none of those that the agents can follow.")
    NOT_A_CONSORTIUM = _chain("not-a-consortium", "The address is no consortium of the factory.")
    EVENTS_MISSING = _chain("events-missing", "The index lacks events that the state says there are.")
    INDEX_BEHIND = _chain("index-behind", "The chain is not read so far yet.", transient=True)
    ANSWER_TOO_LARGE = _chain("answer-too-large", "A node answers with more than is taken.")
    REQUEST_REFUSED = _chain("request-refused", "A node refuses the request.")
    TRANSACTION_REVERTED = _chain("transaction-reverted", "A contract refuses the transaction.")
    TRANSACTION_REJECTED = _chain(
        "transaction-rejected", "A node does not take the transaction.", transient=True
    )
    TRANSACTION_NOT_MINED = _chain(
        "transaction-not-mined", "The transaction was not mined in time.", transient=True
    )
    TRANSACTION_TOO_EXPENSIVE = _chain(
        "transaction-too-expensive", "The transaction would cost more gas than allowed."
    )
    TRANSACTION_FEE_TOO_HIGH = _chain(
        "transaction-fee-too-high",
        "A block would take the transaction only for more than allowed.",
        transient=True,
    )
    CONFIGURATION = _chain(
        "configuration", "An option of the process has a value that it cannot use.", exit=Exit.CONFIGURATION
    )

    # --- a run inside the enclave ---------------------------------------------------------------

    USAGE = _run(
        "usage", "A command, or the enclave, was called with wrong arguments.", exit=Exit.CONFIGURATION
    )
    GUEST_AGENT_MISSING = _run(
        "guest-agent-missing", "There is no dstack guest agent here.", exit=Exit.CONFIGURATION
    )
    GUEST_AGENT_FAILED = _run(
        "guest-agent-failed", "The guest agent gave no usable answer.", exit=Exit.CONFIGURATION
    )
    SIMULATOR_ENDPOINT_SET = _run(
        "simulator-endpoint-set",
        "A variable would let something else answer for the guest agent.",
        exit=Exit.CONFIGURATION,
    )
    SIMULATOR_OFF_LOCAL_CHAIN = _run(
        "simulator-off-local-chain",
        "Another guest agent is allowed on local chains only.",
        exit=Exit.CONFIGURATION,
    )
    SANDBOX_UNAVAILABLE = _run(
        "sandbox-unavailable", "The kernel lacks what confines the analysis.", exit=Exit.CONFIGURATION
    )
    MACHINE_TOO_SMALL = _run(
        "machine-too-small",
        "The relation may need more memory than this machine has.",
        exit=Exit.CONFIGURATION,
    )
    RUN_FAILED = _run(
        "run-failed",
        "The run failed after its keys were released; owners read why: sealroom explain-failure.",
        exit=Exit.JOB_FAILED,
    )
    JOB_FAILED = _run("job-failed", "The analysis ended without a result.", exit=Exit.JOB_FAILED)
    JOB_TIMEOUT = _run("job-timeout", "The analysis took longer than it may.", exit=Exit.JOB_FAILED)
    JOB_WILL_NOT_DIE = _run(
        "job-will-not-die", "The analysis did not end when it was killed.", exit=Exit.JOB_FAILED
    )
    OUT_OF_MEMORY = _run(
        "out-of-memory", "The analysis needs more memory than there is.", exit=Exit.JOB_FAILED
    )
    RELATION_FAILED = _run(
        "relation-failed", "The relation of the recipe could not be computed.", exit=Exit.JOB_FAILED
    )
    INTERNAL_ERROR = _run("internal-error", "The enclave met a fault of its own.", exit=Exit.JOB_FAILED)
    CHANNEL_CLOSED = _run("channel-closed", "The analysis or its supervisor went away.")
    REQUEST_MALFORMED = _run("request-malformed", "The analysis sent what is no request.")
    REQUEST_TOO_LARGE = _run("request-too-large", "The analysis sent more than a request may hold.")
    NOT_IN_ENCLAVE = _run("not-in-enclave", "The function works in the analysis of a recipe only.")
    UNDECLARED_DATASET = _run(
        "undeclared-dataset", "The analysis asked for a dataset that its recipe does not declare."
    )
    SCHEMA_MISMATCH = _run("schema-mismatch", "The table lacks a column that the recipe or a release needs.")
    PRIVACY_RANGE = _run(
        "privacy-range", "A parameter of a release is out of the range that its noise is proven for."
    )
    ALREADY_EMITTED = _run("already-emitted", "The analysis emitted a second result, and a run has one.")
    NOT_RELEASED = _run("not-released", "The result holds a value that was not released with noise.")
    UNDECLARED_FIELD = _run("undeclared-field", "The result has a field that the recipe does not declare.")
    MISSING_FIELD = _run("missing-field", "The result lacks a field that the recipe declares.")
    WRONG_TYPE = _run("wrong-type", "A field of the result does not have its declared shape.")
    OUT_OF_BOUNDS = _run("out-of-bounds", "A number of the result lies outside its declared bounds.")
    OUTPUT_TOO_LARGE = _run("output-too-large", "The result is larger than the recipe declares.")

    HINTS_MALFORMED = _run(
        "hints-malformed", "The host of the confidential VM gave its enclave no usable hints.",
        exit=Exit.CONFIGURATION,
    )  # fmt: skip
    DATASET_UNREACHABLE = _run(
        "dataset-unreachable", "A sealed dataset cannot be had from where the host says it lies.",
        exit=Exit.CONFIGURATION,
    )  # fmt: skip
    RUNNER_REFUSED = _run(
        "runner-refused", "The runner takes no enclave for this run: it had one, or the run is over.",
        exit=Exit.CONFIGURATION,
    )  # fmt: skip

    # --- runner, watcher and their database -----------------------------------------------------

    REFUSED = _runner("refused", "The run or the request was refused, and no more was said.")
    BACKEND = _runner("backend", "The backend could not start the enclave.")
    HINTS_MISSING = _runner(
        "hints-missing", "The recipe does not let its enclave read hints, so it can run on no real host."
    )
    HOST_UNREACHABLE = _runner(
        "host-unreachable", "The VMM or the cloud gave no answer in time.", transient=True
    )
    HOST_BUSY = _runner("host-busy", "The VMM or the cloud is at work on what was asked for.", transient=True)
    HOST_ANSWER = _runner(
        "host-answer", "The VMM or the cloud answered what its interface does not have, or too much."
    )
    HOST_TOKEN = _runner("host-token", "The VMM or the cloud does not take the runner's token.")
    HOST_METHOD = _runner("host-method", "The VMM or the cloud lacks a method: it is of another version.")
    HOST_FEATURE = _runner("host-feature", "The host has not enabled what the VM needs.")
    HOST_REFUSED = _runner("host-refused", "The VMM or the cloud refused, for a reason that it tells.")
    HOST_MEASURES_OTHERS = _runner(
        "host-measures-others", "The host would measure other bytes than those that the owners approved."
    )
    OS_IMAGE_UNKNOWN = _runner("os-image-unknown", "The host does not have the OS image.")
    BOOT_FAILED = _runner("boot-failed", "The confidential VM did not come so far that its enclave spoke.")
    VM_RESTARTED = _runner("vm-restarted", "The confidential VM booted more than once for one run.")
    VM_ENDED = _runner("vm-ended", "The confidential VM ended before its enclave said how the run did.")
    VM_UNKNOWN = _runner("vm-unknown", "The host has no such VM, or not any more.")
    VM_STAYS = _runner("vm-stays", "The host did not end a confidential VM in time.", transient=True)
    ENCLAVE_PROTOCOL = _runner("enclave-protocol", "The enclave printed what no enclave prints.")
    ENCLAVE_DIED = _runner("enclave-died", "The enclave ended without saying why.")
    ENVELOPE_MISMATCH = _runner("envelope-mismatch", "The enclave emitted the envelope of another run.")
    NO_ENVELOPE = _runner(
        "no-envelope", "The run has no envelope that may be had, or one that is too large.", http=404
    )
    TIMEOUT = _runner("timeout", "The run took longer than the runner allows.")
    SUPERSEDED = _runner(
        "superseded", "Another roster or platform governs since, while the run was under way."
    )
    CANCELLED = _runner("cancelled", "Whoever asked for the run, or an owner, took it back.")
    RUNNER_STOPPED = _runner("runner-stopped", "The runner was stopped while the run was under way.")
    RUNNER_LOST = _runner("runner-lost", "The runner was gone while the run was under way.")
    RUNNER_ERROR = _runner("runner-error", "The runner met a fault of its own.")
    RECIPE_UNKNOWN = _runner("recipe-unknown", "The recipe's bytes are not in the database.", http=422)
    UNKNOWN_RUN = _runner("unknown-run", "There is no run of this id.", http=404)
    CLAIM_LOST = _runner("claim-lost", "Another runner has taken up the run.", http=422)
    RUN_STATE = _runner("run-state", "The run cannot go from its state to that one.", http=409)
    DATABASE = _runner("database", "The database is out of reach, full or locked.", http=503, transient=True)
    CONTENT_STORE = _runner(
        "content-store",
        "The store of envelopes and recipes is out of reach or full, or lacks what it must have.",
        http=503,
        transient=True,
    )
    STORE_VERSION = _runner("store-version", "The database is of another revision: see `sealroom db`.")
    HEARTBEAT_REFUSED = _runner("heartbeat-refused", "The gate does not take the watcher's heartbeat.")

    # --- what a run lacks -----------------------------------------------------------------------

    NOT_PROPOSED = _readiness("not-proposed", "No owner has proposed the recipe on the present basis.")
    PROPOSAL_EXPIRED = _readiness("proposal-expired", "The newest proposal expired: it takes a new one.")
    PLATFORM_MISSING = _readiness(
        "platform-missing", "Nobody has adopted, or made, the platform that this needs."
    )
    APPROVAL_MISSING = _readiness("approval-missing", "An owner has not approved yet.")
    DATA_OWNER_APPROVAL_MISSING = _readiness(
        "data-owner-approval-missing", "An owner whose data the recipe reads has not approved yet."
    )
    NOT_REGISTERED = _readiness("not-registered", "The dataset's owner has not registered it yet.")
    DATASET_NOT_READY = _readiness(
        "dataset-not-ready",
        "A sealed dataset is not where the runner reads it, or is not whole.",
    )
    RUNNER_NOT_READY = _readiness(
        "runner-not-ready",
        "The runner lacks room on its disk, a place for the envelope, or something else that it needs later.",
    )
    BUDGET_TODAY = _readiness("budget-today", "A dataset's limits for the day are used up: the run waits.")
    EXPIRED = _readiness("expired", "The study's approval expired.")
    BUDGET = _readiness("budget", "No run, or too little privacy budget, is left.")

    # --- the console ----------------------------------------------------------------------------

    RECIPE_HASH_MISMATCH = _console("recipe-hash-mismatch", "The recipe has another compose hash.")
    UNKNOWN_ENVELOPE = _console("unknown-envelope", "No envelope of this digest is published.", http=404)
    UNSUPPORTED_MEDIA_TYPE = _console(
        "unsupported-media-type", "The body must be application/json.", http=415
    )
    CONTENT_ENCODED = _console("content-encoded", "Bodies are taken without content encoding only.", http=415)
    UNKNOWN_HOST = _console("unknown-host", "The server does not answer under this name.", http=421)
    RESEARCHER_NEEDED = _console(
        "researcher-needed",
        "The recipe says who may ask for runs: say who asks, by signature or token.",
        http=401,
    )
    RESEARCHER_UNKNOWN = _console(
        "researcher-unknown", "Neither the recipe nor the roster names the account that asks.", http=403
    )
    REQUEST_EXPIRED = _console(
        "request-expired", "The signed request is too old, or signed for too long.", http=403
    )
    REQUEST_FORGED = _console(
        "request-forged", "The request was not signed by the account that it names.", http=403
    )
    DIGEST_MISMATCH = _console("digest-mismatch", "The body is not what its Content-Digest says.", http=400)
    TOO_SLOW = _console("too-slow", "The body took too long to arrive.", http=408)
    TOO_MANY_STREAMS = _console(
        "too-many-streams", "Too many event streams are open: try again later.", http=429
    )
    TOO_MANY_REQUESTS = _console(
        "too-many-requests", "The client sent too many of these: Retry-After says when.", http=429
    )
    TOO_MANY_RUNS = _console("too-many-runs", "Too many runs are under way: try again later.", http=429)
    EXPORT_TOO_LARGE = _console(
        "export-too-large", "The history with its proofs is too large for one file: ask for a shorter period."
    )
    UNKNOWN_CONSORTIUM = _console(
        "unknown-consortium", "There is no such consortium of the factory.", http=404
    )
    UNKNOWN_STUDY = _console("unknown-study", "No such study waits for approval.", http=404)
    UNKNOWN_RECIPE = _console(
        "unknown-recipe", "Nobody has handed in a recipe with this compose hash.", http=404
    )
    OWNERS_MISMATCH = _console(
        "owners-mismatch", "The recipe reads data of a party that is not among the owners."
    )
    AMBIGUOUS_CONSORTIUM = _console(
        "ambiguous-consortium", "Several consortia have these owners: name one.", http=409
    )
    IDEMPOTENCY_CONFLICT = _console(
        "idempotency-conflict", "This Idempotency-Key came with another request before.", http=409
    )

    # --- any HTTP server ------------------------------------------------------------------------

    UNAUTHORIZED = _server("unauthorized", "The token is missing or wrong.", http=401)
    NOT_FOUND = _server("not-found", "There is nothing at this address.", http=404)
    METHOD_NOT_ALLOWED = _server("method-not-allowed", "This address does not take that method.", http=405)
    INTERNAL = _server("internal", "The server met a fault of its own; its log says which.", http=500)

    # --- result envelopes -----------------------------------------------------------------------

    STATEMENT_FORGED = _envelope("statement-forged", "The statement was not signed by the run's enclave.")
    STATEMENT_MISMATCH = _envelope(
        "statement-mismatch", "The statement names something else than the envelope holds."
    )
    RESULT_MISMATCH = _envelope("result-mismatch", "The statement is about another result.")
    RECEIPT_FORGED = _envelope("receipt-forged", "The receipt was not signed by the run's enclave.")
    RECEIPT_MISMATCH = _envelope(
        "receipt-mismatch", "The receipt says something else than the statement or the ledger."
    )
    RECEIPT_NOT_ANCHORED = _envelope("receipt-not-anchored", "The ledger holds no receipt of the run.")
    RECIPE_MISMATCH = _envelope("recipe-mismatch", "The statement names something else than the recipe.")
    EPSILON_MISMATCH = _envelope("epsilon-mismatch", "The statement's ε is not the recipe's.")
    PRIVACY_MISMATCH = _envelope(
        "privacy-mismatch", "The statement's privacy is not what the recipe declares."
    )
    GRANT_FROM_FUTURE = _envelope("grant-from-future", "The grant was issued in the future: check the clock.")
    ANCHOR_MISMATCH = _envelope("anchor-mismatch", "The anchor of the receipt cannot be true.")
    APPROVAL_MISMATCH = _envelope("approval-mismatch", "The listed approvals are not those of the chain.")
    APPROVAL_REPEATED = _envelope("approval-repeated", "An owner's approval is listed more than once.")
    PROOF_BROKEN = _envelope("proof-broken", "A header or path among the envelope's proofs does not hold.")
    BLOCK_MISMATCH = _envelope("block-mismatch", "A block of the proofs is not the one that was vouched for.")
    MODEL_MALFORMED = _envelope("model-malformed", "The file is no model file in the one accepted form.")
    MODEL_MISMATCH = _envelope(
        "model-mismatch", "The tensors of the file are not those that its envelope signs."
    )
    CHECKPOINTS_MISMATCH = _envelope(
        "checkpoints-mismatch", "The hash chain of checkpoints does not end in the weights."
    )
    ATTESTATION_MALFORMED = _envelope("attestation-malformed", "The attestation is no strict JSON object.")
    ATTESTATION_MISMATCH = _envelope(
        "attestation-mismatch", "The attestation says something else than the envelope."
    )
    MODEL_MISSING = _envelope("model-missing", "The result has no model, or several: name one.")
    WRONG_CHAIN = _envelope("wrong-chain", "The node is of another chain than the file, or of another fork.")
    LEDGER_MISMATCH = _envelope("ledger-mismatch", "The consortium has another ledger.")
    RUN_NOT_OPENED = _envelope("run-not-opened", "The ledger never opened the run.")
    RUN_MISMATCH = _envelope("run-mismatch", "The ledger opened the run with other facts.")
    CONSORTIUM_NOT_PINNED = _envelope(
        "consortium-not-pinned", "The result is of another consortium than the pinned one."
    )
    GATE_NOT_PINNED = _envelope("gate-not-pinned", "The gate is not the pinned one.")
    KMS_ROOT_NOT_PINNED = _envelope(
        "kms-root-not-pinned", "The keys come from another KMS than the pinned one."
    )
    OS_IMAGE_NOT_PINNED = _envelope("os-image-not-pinned", "A machine booted no pinned OS image.")
    GPU_EVIDENCE_UNWALKED = _envelope(
        "gpu-evidence-unwalked", "The verify page cannot walk evidence of GPUs: sealroom verify FILE decides."
    )

    # --- failure files --------------------------------------------------------------------------

    FAILURE_FORGED = _failure("failure-forged", "The failure file was not signed by the key that it names.")
    NO_REPORT = _failure("no-report", "Nothing in the failure file is sealed to this report key.")
    FAILURE_MISMATCH = _failure("failure-mismatch", "The failure file is of another run.")
    NO_FAILURE = _failure("no-failure", "The run has no failure file.", http=404)

    # --- study cards ----------------------------------------------------------------------------

    CARD_MISMATCH = _card("card-mismatch", "The study card differs from what the chain or the gate says.")
    OWNER_NOT_IN_CARD = _card("owner-not-in-card", "The study card names no such owner.")
    GATE_EVIDENCE_STALE = _card("gate-evidence-stale", "The gate's evidence is too old, or not of that time.")

    # --- commands: answers of people ------------------------------------------------------------

    NOBODY_TO_ASK = _command(
        "nobody-to-ask", "A question cannot be asked without a terminal: in a script, pass --yes."
    )
    NOT_CONFIRMED = _command("not-confirmed", "The question was answered with no.")
    PASSPHRASE_MISSING = _command(
        "passphrase-missing", "Nobody can type the passphrase: the hint says where a script gives it."
    )
    PACKAGE_MISSING = _command(
        "package-missing", "A Python package is not installed; the hint names the extra."
    )

    # --- commands: input of `seal` --------------------------------------------------------------

    RECORDING_MALFORMED = _command(
        "recording-malformed", "The recording of a machine's evidence cannot be read, or is none."
    )
    CARD_MISSING = _command("card-missing", "There is no study card: write one with sealroom card.")
    STUDY_NAME = _command("study-name", "The name of a folder cannot be a study's.")
    IMAGE_MALFORMED = _command(
        "image-malformed", "The file is no image in the OCI layout, or lacks bytes that it names."
    )
    IMAGE_DIFFERS = _command("image-differs", "The image is another than recipe or release name.")
    IMAGE_UNRELEASED = _command(
        "image-unreleased", "No release names an image for this: nothing could be pulled by its digest."
    )
    RELEASE_MALFORMED = _command("release-malformed", "The file of a release is not what its format says.")
    DATASET_NOT_IN_RECIPE = _command("dataset-not-in-recipe", "The recipe reads no such dataset.")
    DATASET_MISSING = _command("dataset-missing", "A dataset that the recipe reads has no registration.")
    COLUMNS_DIFFER = _command(
        "columns-differ", "The table does not have the columns that the recipe declares."
    )
    COLUMNS_UNDECLARED = _command(
        "columns-undeclared", "The input says no types of its columns, and no recipe declares them."
    )
    SOURCE_MISSING = _command("source-missing", "There is no such file or folder.")
    SOURCE_UNSUPPORTED = _command("source-unsupported", "The input is neither a plain file nor a folder.")
    FOLDER_UNSUPPORTED = _command(
        "folder-unsupported", "The folder holds what cannot be sealed, or too much."
    )
    NOT_A_TABLE = _command("not-a-table", "The input is no Parquet, Arrow or CSV file.")
    NOT_ARROW = _command("not-arrow", "The input cannot be read as Arrow IPC.")
    NOT_CSV = _command("not-csv", "The input is no strict CSV: the message names the line.")
    CSV_DOES_NOT_FIT = _command("csv-does-not-fit", "A cell of the CSV does not have its column's type.")
    COMPRESSED_DAMAGED = _command(
        "compressed-damaged", "A compressed input is cut off or damaged, or has something behind its end."
    )
    PREPARE_MALFORMED = _command(
        "prepare-malformed",
        "The file that declares how an input is prepared has a word that cannot stand there.",
    )
    PREPARE_UNFIT = _command(
        "prepare-unfit", "The input lacks a column that the declared file takes, or has one of another type."
    )
    CELL_UNFIT = _command("cell-unfit", "A cell of the input cannot become what the declared file says.")
    PSEUDONYM_KEY = _command(
        "pseudonym-key", "The pseudonym key is missing, or another than the declared file names."
    )
    PSEUDONYMS_COLLIDE = _command("pseudonyms-collide", "Two different ids of the input have one pseudonym.")
    ROWS_DIFFER = _command("rows-differ", "Two parsers count different numbers of rows.")
    IMAGE_TABLE = _command("image-table", "The table does not say which picture each row has.")
    IMAGE_UNFIT = _command("image-unfit", "Rows name pictures that cannot be taken: the message says why.")
    FHIR_UNFIT = _command(
        "fhir-unfit", "A line of FHIR NDJSON is no resource, or not as declared: the message says why."
    )
    VCF_UNFIT = _command(
        "vcf-unfit", "The VCF is broken, or a declared variant is not as declared: the message says why."
    )
    DICOM_UNFIT = _command("dicom-unfit", "Files of DICOM cannot be taken: the message says why.")
    FILE_UNUSABLE = _command(
        "file-unusable", "A file or folder cannot be read or written: the message says which, and why."
    )
    FILE_TOO_LARGE = _command("file-too-large", "The file is larger than any of its kind.")
    NO_SPACE = _command("no-space", "There is too little free space.")
    SCRATCH_UNWRITABLE = _command("scratch-unwritable", "The folder of the input cannot be written to.")
    ALREADY_SEALING = _command("already-sealing", "Another run seals the same output.")

    # --- commands: what the chain is asked before `seal` reads ----------------------------------

    NAME_TAKEN = _command(
        "name-taken", "The account registered a dataset of this name: seal its next version, or reseal it."
    )
    HELD_BY_ANOTHER = _command(
        "held-by-another", "Another account holds the dataset, and it alone registers a version."
    )
    VERSION_NOT_NEXT = _command(
        "version-not-next", "The version's number is not the one after the newest that is registered."
    )
    NOT_PREPARED_BEFORE = _command(
        "not-prepared-before", "No declared file of an earlier version is kept: there is none to take again."
    )
    PREPARE_UNSAID = _command(
        "prepare-unsaid", "An earlier version was prepared, and how this one is to be was not said."
    )
    NOT_SEALED_BEFORE = _command(
        "not-sealed-before", "Nothing was sealed under this name: there is no version to correct."
    )

    # --- commands: the way back -----------------------------------------------------------------

    PARTS_BROKEN = _command("parts-broken", "Some parts of the sealed file do not open: they are listed.")
    PLAIN_WOULD_LEAVE = _command(
        "plain-would-leave", "A plain file would lie where sealed files lie, and could leave with them."
    )

    # --- commands: keys and signatures ----------------------------------------------------------

    KEY_EXISTS = _command("key-exists", "The data key is there already, and is never overwritten.")
    KEY_MISSING = _command("key-missing", "There is no such data key.")
    KEY_MALFORMED = _command("key-malformed", "The file is no data key.")
    KEY_EXPOSED = _command("key-exposed", "Others on this machine can read the key file: chmod 600.")
    KEY_WOULD_LEAVE = _command("key-would-leave", "The data key would lie where sealed files lie.")
    KEY_NOT_WRAPPED = _command("key-not-wrapped", "The key is plain: sealroom key add wraps it.")
    KEY_FILE_ALTERED = _command(
        "key-file-altered", "The wrapped key's file says other things than were written with the key."
    )
    KEY_FILE_CHANGED = _command(
        "key-file-changed", "Another command changed the key's file meanwhile: run this one again."
    )
    KEY_FILE_LINKED = _command(
        "key-file-linked", "The key's file has another name, which would keep the old content."
    )
    RECIPIENT_MALFORMED = _command("recipient-malformed", "That is no recipient of age, or no name for one.")
    RECIPIENT_EXISTS = _command("recipient-exists", "The key is wrapped for this recipient already.")
    RECIPIENT_UNKNOWN = _command("recipient-unknown", "The key is wrapped for no recipient of this name.")
    LAST_RECIPIENT = _command("last-recipient", "Without its last recipient nobody could open the key.")
    IDENTITY_MALFORMED = _command("identity-malformed", "The file is no identity file of age.")
    IDENTITY_NEEDED = _command("identity-needed", "The key is wrapped: name an identity that opens it.")
    IDENTITY_DOES_NOT_OPEN = _command(
        "identity-does-not-open", "No identity or passphrase that was given opens the key."
    )
    PLUGIN_FAILED = _command("plugin-failed", "A plugin of age is not there, or did not do its work.")
    PASSPHRASE_COSTLY = _command(
        "passphrase-costly",
        "The file asks for more work to try a passphrase than this machine does in seconds.",
    )
    PASSPHRASE_WEAK = _command("passphrase-weak", "The passphrase has fewer than 15 characters.")
    SECRET_UNREADABLE = _command(
        "secret-unreadable", "No secret can be read from there: a terminal, a device or an idle pipe."
    )
    SECRET_COMMAND = _command(
        "secret-command", "The program that prints a secret failed, printed too much or took too long."
    )
    KEYSTORE_MISSING = _command("keystore-missing", "There is no such keystore file.")
    KEYSTORE_MALFORMED = _command("keystore-malformed", "The file is no Ethereum keystore of version 3.")
    WRONG_PASSPHRASE = _command("wrong-passphrase", "The passphrase does not open the keystore or identity.")
    SIGNATURE_MALFORMED = _command("signature-malformed", "The signature is not 0x and 130 hex digits.")
    SIGNER_NOT_OWNER = _command(
        "signer-not-owner", "The signer is not the account with which the owner votes."
    )

    # --- commands: checks against card and chain ------------------------------------------------

    NOT_SIGNED = _command("not-signed", "The sealed file is not signed: sealroom sign.")
    WRAP_OF_ANOTHER = _command(
        "wrap-of-another", "The wrap is of another recipe, app, consortium or gate: sealroom reseal."
    )
    REGISTRATION_DIFFERS = _command(
        "registration-differs", "The owner registered other digests: do not use it."
    )
    RESTORE_DIFFERS = _command(
        "restore-differs", "What the sealed file opens to is not the file that it was compared with."
    )
    REGISTRATION_MALFORMED = _command(
        "registration-malformed", "The registration file is not what its format says."
    )
    NOT_FINAL = _command("not-final", "The registration is not in a finalized block yet.")
    OWNER_UNKNOWN = _command("owner-unknown", "The consortium has no such owner.")
    OTHER_CHAIN = _command("other-chain", "The node is of another chain than the document.")
    PIN_MALFORMED = _command("pin-malformed", "The pin file is not what its format says.")

    PAGE_MALFORMED = _command("page-malformed", "The file is no signed page for a decision.")
    PAGE_DIFFERS = _command("page-differs", "The page shows something else than its facts say.")
    PAGE_OF_ANOTHER_RELEASE = _command(
        "page-of-another-release",
        "The page's code is not this release's: another release made it, or its maker changed it.",
    )
    MAKER_IS_CONTRACT = _command(
        "maker-is-contract",
        "A contract signs no page: a page is checked without a chain, and a contract's signature is not.",
    )
    PROPOSAL_UNKNOWN = _command("proposal-unknown", "No owner voted for a proposal of this id.")
    PROPOSAL_DIFFERS = _command(
        "proposal-differs", "The proposal is not what the recipe or the command says."
    )
    RECIPE_NEEDED = _command("recipe-needed", "A study is approved with its recipe in hand, or with --blind.")
    DOCUMENT_NEEDED = _command(
        "document-needed",
        "A platform, machines or new owners are approved with documents in hand, or with --blind.",
    )
    PROPOSAL_OPEN = _command(
        "proposal-open", "An open study differs in its expiry alone, and would live longer."
    )
    PROPOSAL_BLOCKED = _command(
        "proposal-blocked", "The proposal can never take effect as things are: no signature for it is asked."
    )
    STUDY_SURPLUS = _command("study-surplus", "The study may spend more than its runs need.")
    DATASET_AMBIGUOUS = _command("dataset-ambiguous", "Several datasets of this holder have that name.")
    VOTE_REQUEST_MALFORMED = _command("vote-request-malformed", "The file is no request to an owner to sign.")
    SIGNATURE_OF_ANOTHER = _command("signature-of-another", "The signature is over something else.")
    SAFE_SIGNATURES = _command("safe-signatures", "Too few of a Safe's owners signed, or somebody else did.")
    WAY_UNCLEAR = _command("way-unclear", "How the act shall leave the desk, or what it is, is not clear.")
    APP_UNSAFE = _command("app-unsafe", "The app holds what a revocation could not stop.")

    # --- commands: transfer ---------------------------------------------------------------------

    URL_UNSUPPORTED = _command("url-unsupported", "Sealed files do not go to a URL of this kind.")
    DATABASE_EXISTS = _command("database-exists", "There is a database already, and none is overwritten.")
    BACKUP_MALFORMED = _command("backup-malformed", "The file is no whole backup, or one of another version.")
    REMOTE_EXISTS = _command("remote-exists", "There is a file at the URL already.")
    REMOTE_MISSING = _command("remote-missing", "There is no file at the URL.")
    REMOTE_REFUSED = _command(
        "remote-refused", "The store refuses the request, or answers what is not taken."
    )
    REMOTE_UNREACHABLE = _command("remote-unreachable", "The store does not answer.")
    CONSOLE_UNREACHABLE = _command("console-unreachable", "The console gives no usable answer.")
    CONSOLE_KEY_UNKNOWN = _command(
        "console-key-unknown", "Nothing vouches for the key that signs the console's answers."
    )
    TOKEN_IN_CLEAR = _command(
        "token-in-clear", "An API token would cross a network in the clear: only https carries it."
    )
    ANSWER_FORGED = _command(
        "answer-forged", "The console's key did not sign this answer to this request: do not use it."
    )
    ROOM_MISSING = _command("room-missing", "There is no local room here, or not one for this study.")
    REMOTE_CHANGED = _command(
        "remote-changed", "Another file came to the URL while it was fetched: run it again."
    )
    REMOTE_DIFFERS = _command("remote-differs", "The file at the URL is not the expected one.")
    REMOTE_TOO_LONG = _command("remote-too-long", "The store sends more than the file's header allows.")
    REMOTE_TOO_SHORT = _command("remote-too-short", "The store sent less than the whole file: run it again.")
    REDIRECT_REFUSED = _command(
        "redirect-refused", "The store redirects to where the command does not follow."
    )
    ALREADY_FETCHING = _command("already-fetching", "Another run fetches the same file.")
    ALREADY_SENDING = _command("already-sending", "Another run sends the same file to the same URL.")
    DEMO_FAILED = _command("demo-failed", "A step of the demo failed; its output says why.")

    # --- the start of a process -----------------------------------------------------------------

    ADDRESS = _start("address", "--consortium is no address.")
    APP_ID = _start("app-id", "The option is no app id.")
    ACCEPT_AUDIT_BREAK = _start("accept-audit-break", "--accept-audit-break is no digest.")
    KMS_MEASUREMENT = _start("kms-measurement", "--kms-measurement is no digest.")
    KEY_FILE = _start("key-file", "The file of the sending key cannot be read, or others can read it.")
    TOKEN_FILE = _start("token-file", "The token's file cannot be read, or others can read it.")
    LISTEN = _start("listen", "The address to listen on is taken or forbidden.")
    SOCKET_PATH = _start("socket-path", "The socket's path is too long or cannot be used.")
    OS_IMAGES = _start("os-images", "The file of OS images cannot be read, or is not what its format says.")
    PLATFORM_POLICY = _start(
        "platform-policy",
        "The platform policy cannot be read, or the gate's KMS or root of trust is not the policy's.",
    )
    PLATFORM_POLICY_MISSING = _start("platform-policy-missing", "The gate needs the owners' platform policy.")
    TRUST_ANCHOR = _start("trust-anchor", "The root certificate is not one that may be trusted here.")
    PLATFORM_EXISTS = _start("platform-exists", "The folder holds a simulated platform already.")
    COMPOSE_TOO_LARGE = _start("compose-too-large", "The app-compose is larger than any app-compose may be.")
    COMPOSE_NOT_TEXT = _start("compose-not-text", "The app-compose is not UTF-8.")
