# SPDX-License-Identifier: Apache-2.0
"""The sections of `sealroom.toml`, and the options of gate, runner, watcher and console."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic_core import PydanticCustomError

from sealroom.codes import Code
from sealroom.encoding import from_hex, normal_address
from sealroom.errors import FormatError
from sealroom_agents.storage_options import DEFAULT_DATABASE, KEEP_DAYS

GATE_PORT = 8400
CONSOLE_PORT = 8080
DEFAULT_GATE = f"http://127.0.0.1:{GATE_PORT}"
"""A gate on the same machine, on its usual port."""
DEFAULT_PCCS = "https://api.trustedservices.intel.com"
"""Intel's own service; a PCCS nearer by is faster."""
DRAIN_S = 300.0
"""How long a runner that is told to end waits for the runs under way, seconds."""
MAX_PARALLEL = 64
"""Most runs that one runner has at one time."""


def _checked(code: Code, check: Callable[[str], str]) -> AfterValidator:
    """A text that `check` brings to its one form; what it refuses keeps a code of its own."""

    def validate(text: str) -> str:
        try:
            return check(text)
        except FormatError as error:
            raise PydanticCustomError(
                code.value, "{text} is {why}", {"text": repr(text), "why": error.message}
            ) from None

    return AfterValidator(validate)


def _digest(text: str) -> str:
    lowered = text.lower()
    from_hex(lowered if lowered.startswith("0x") else "0x" + lowered, 32)
    return lowered if lowered.startswith("0x") else "0x" + lowered


Address = Annotated[str, _checked(Code.ADDRESS, normal_address)]
KmsMeasurement = Annotated[str, _checked(Code.KMS_MEASUREMENT, _digest)]
AuditDigest = Annotated[str, _checked(Code.ACCEPT_AUDIT_BREAK, _digest)]


def setting(help: str, *, option: str, default: Any = ..., metavar: str | None = None, **bounds: Any) -> Any:
    """A field: what it means, its option on the command line, and its default; without one it is required."""
    extra: Any = {"option": option} | ({"metavar": metavar} if metavar else {})
    return Field(default, description=help, json_schema_extra=extra, **bounds)


def ready_file(when: str) -> Any:
    """Where a process writes that it works."""
    return setting(when, option="--ready-file", default=None)


def max_fee(process: str) -> Any:
    """What a process pays at most whose key is its own."""
    return setting(
        f"Most that a transaction of the {process} pays per gas.", option="--max-fee", default=500,
        metavar="GWEI", ge=1,
    )  # fmt: skip


def metrics() -> Any:
    """Where a process shows what it measures."""
    return setting(
        "Serve metrics, health and readiness there, for Prometheus; off by default.",
        option="--metrics", default=None, metavar="HOST:PORT",
    )  # fmt: skip


class Section(BaseModel):
    """A table of the file. Fields that it does not have are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Chain(Section):
    """The chain, and the nodes that are asked. Their URLs often hold a key, so they are secrets."""

    rpc: tuple[SecretStr, ...] = setting(
        "RPC endpoint; give several, of different operators, which must agree.",
        option="--rpc", metavar="URL", min_length=1,
    )  # fmt: skip
    quorum: int | None = setting(
        "Endpoints that must answer, and alike; by default all.", option="--rpc-quorum", default=None, ge=1
    )
    id: int | None = setting("The one chain that the gate serves.", option="--chain-id", default=None, ge=1)
    private_chain: int | None = setting(
        "Id of a chain that is none of those supported, whose contracts see its own block numbers.",
        option="--private-chain", default=None, metavar="ID", ge=1,
    )  # fmt: skip
    factory: Address | None = setting(
        "The factory whose consortia are shown, and followed where they adopted the gate.",
        option="--factory", default=None, metavar="ADDRESS",
    )  # fmt: skip

    @property
    def urls(self) -> tuple[str, ...]:
        """The endpoints in clear, to be asked and never printed."""
        return tuple(one.get_secret_value() for one in self.rpc)


class Database(Section):
    """What runner, watcher and console share."""

    url: SecretStr = setting(
        "SQLite or PostgreSQL.", option="--database", default=SecretStr(DEFAULT_DATABASE), metavar="URL"
    )

    content: str | None = setting(
        "Where envelopes and recipes are kept: a folder, or s3://BUCKET/PREFIX; PostgreSQL needs one. "
        "[beside a SQLite file]",
        option="--content", default=None, metavar="PLACE",
    )  # fmt: skip

    @property
    def clear(self) -> str:
        """The URL in clear, to be opened and never printed."""
        return self.url.get_secret_value()


class Simulator(Section):
    """A software TDX, on local chains only."""

    platform: Path | None = setting(
        "Folder of a simulated platform, trusted instead of Intel; local chains only.",
        option="--platform", default=None,
    )  # fmt: skip


class Log(Section):
    """What processes log."""

    format: Literal["text", "json"] = setting(
        "Lines for people, or one JSON object a line.", option="--log-format", default="text"
    )


class Gate(Section):
    """Releases data keys to attested enclaves."""

    state: Path = setting("Folder for nonces, leases, audit log.", option="--state")
    watch_token_file: Path = setting(
        "File of mode 0600 with the token that the watcher shows (at least 32 characters).",
        option="--watch-token-file",
    )
    consortia: tuple[Address, ...] = setting(
        "Serve only this consortium; may be repeated.", option="--consortium", default=(), metavar="ADDRESS"
    )
    accept_audit_break: AuditDigest | None = setting(
        "Set an audit log aside that does not hold, and begin a new one; the refusal names the digest.",
        option="--accept-audit-break", default=None, metavar="DIGEST",
    )  # fmt: skip
    max_fee: int = max_fee("gate")
    gpu_material: Path | None = setting(
        "Folder with rims/ and ocsp/: what GPUs are judged by, if the platform policy has rules for them. "
        "[PLATFORM/gpu]",
        option="--gpu-material", default=None,
    )  # fmt: skip
    pccs: str | None = setting(
        f"Where Intel's collateral comes from. [{DEFAULT_PCCS}; with --platform its folder]",
        option="--pccs", default=None, metavar="URL",
    )  # fmt: skip
    platform_policy: Path | None = setting(
        "The owners' platform policy, JSON; required without --platform. [PLATFORM/platform-policy.json]",
        option="--platform-policy", default=None,
    )  # fmt: skip
    kms_measurements: tuple[KmsMeasurement, ...] = setting(
        "Aggregated measurement (32 bytes) of a dstack KMS build that may share its root key.",
        option="--kms-measurement", default=(), metavar="HASH",
    )  # fmt: skip
    guest_agent: Path | None = setting(
        "Guest agent's socket; local chains only. [/var/run/dstack.sock]",
        option="--guest-agent",
        default=None,
    )
    guest_keys: Literal["v0", "v1"] = setting(
        "Which of dstack's interfaces the gate's keys come from. Another one makes another gate, which the "
        "owners must adopt; v1 is in dstack from 0.6 on.",
        option="--guest-keys", default="v0",
    )  # fmt: skip
    boot_gates: tuple[str, ...] = setting(
        "A gate beside this one that a KMS may boot, by its app and compose hash; repeatable.",
        option="--boot-gate", default=(), metavar="APP:COMPOSE",
    )  # fmt: skip
    boot_gateways: tuple[str, ...] = setting(
        "A dstack gateway that a KMS may boot; repeatable for versions of one app.",
        option="--boot-gateway", default=(), metavar="APP:COMPOSE",
    )  # fmt: skip
    metrics: str | None = metrics()
    host: str = setting("Address to listen on.", option="--host", default="127.0.0.1")
    port: int = setting("Port; 0 takes a free one.", option="--port", default=GATE_PORT, ge=0, le=65535)
    ready_file: Path | None = ready_file('Written when it listens: {"url": …}.')


class Runner(Section):
    """Starts approved runs and anchors their receipts."""

    gate: str = setting(
        "The gate that the enclaves ask for keys.", option="--gate", default=DEFAULT_GATE, metavar="URL"
    )
    backend: str = setting(
        "Where enclaves run: local, or another backend that is installed.", option="--backend",
        default="local", metavar="NAME",
    )  # fmt: skip
    options: dict[str, Any] = Field(
        default={}, description="What the backend alone has; each reads its own, strictly."
    )
    datasets: Path = setting(
        "Folder with the owners' sealed datasets, as OWNER/NAME.tar.", option="--datasets"
    )
    state: Path = setting("Folder in which each run gets one of its own.", option="--state")
    key_file: Path = setting(
        "File of mode 0600 with the private key that pays for anchoring.", option="--key-file"
    )
    max_fee: int = max_fee("runner")
    name: str | None = setting("Name of this runner, for people. [host name]", option="--name", default=None)
    parallel: int = setting("Runs at one time.", option="--parallel", default=1, ge=1, le=MAX_PARALLEL)
    run_timeout: float = setting(
        "Seconds that a run may take.", option="--run-timeout", default=3600.0, gt=0, allow_inf_nan=False
    )
    drain_seconds: float = setting(
        "After SIGTERM: how long the runs under way may take to end.", option="--drain-seconds",
        default=DRAIN_S, ge=0, allow_inf_nan=False,
    )  # fmt: skip
    metrics: str | None = metrics()
    ready_file: Path | None = ready_file("Written when the runner takes runs.")

    @property
    def shown_name(self) -> str:
        """What people know it by."""
        return self.name or socket.gethostname()


class Watcher(Section):
    """Follows the chain, and ends what was revoked."""

    gate: str = setting(
        "The gate that gets the heartbeats.", option="--gate", default=DEFAULT_GATE, metavar="URL"
    )
    watch_token_file: Path = setting(
        "File of mode 0600 with the token that the gate expects (at least 32 characters).",
        option="--watch-token-file",
    )
    consortia: tuple[Address, ...] = setting(
        "Follow only these; repeatable.", option="--consortium", default=(), metavar="ADDRESS"
    )
    every: float = setting(
        "Longest pause between two polls, seconds; one is made soon after each block.",
        option="--every",
        default=1.0,
        gt=0,
        allow_inf_nan=False,
    )
    metrics: str | None = metrics()
    ready_file: Path | None = ready_file("Written after the first whole poll.")


class Console(Section):
    """Serves the REST interface and the web pages."""

    host: str = setting("Address to listen on.", option="--host", default="127.0.0.1")
    port: int = setting("Port; 0 takes a free one.", option="--port", default=CONSOLE_PORT, ge=0, le=65535)
    metrics: str | None = metrics()
    allowed_hosts: tuple[str, ...] = setting(
        "Name it is reached by; repeatable.", option="--allowed-host", default=(), metavar="NAME"
    )
    pins: Path | None = setting(
        "Names of consortia and accounts for which the operator vouches on its pages (docs/operations.md).",
        option="--pins",
        default=None,
        metavar="FILE",
    )
    how: Path | None = setting(
        "Recording of a run that the page /how walks through, from sealroom demo --record; read anew when it "
        "changes. [a recorded example, also as long as the file is not there]",
        option="--how",
        default=None,
        metavar="FILE",
    )
    from_block: int | None = setting(
        "Block of the factory's deployment, for nodes without old state; by default it is looked for.",
        option="--from-block",
        default=None,
        ge=0,
        metavar="NUMBER",
    )
    signing_key: Path | None = setting(
        "File of mode 0600 with the key that signs answers, 0x and 64 hex digits. [a new one at each start]",
        option="--signing-key", default=None,
    )  # fmt: skip
    attested: bool = setting(
        "Take that key from the guest agent of the confidential VM that the console runs in; a quote "
        "vouches for it.",
        option="--attested", default=False,
    )  # fmt: skip
    guest_agent: Path | None = setting(
        "With --attested: guest agent's socket; local chains only. [/var/run/dstack.sock]",
        option="--guest-agent", default=None,
    )  # fmt: skip
    pccs: str | None = setting(
        f"With --attested: where Intel's collateral is from. [{DEFAULT_PCCS}; with --platform its folder]",
        option="--pccs", default=None, metavar="URL",
    )  # fmt: skip
    keep_days: int = setting(
        "Days for which notices to owners are kept. Runs, results and what the chain says stay for good.",
        option="--keep-days", default=KEEP_DAYS, ge=1, metavar="DAYS",
    )  # fmt: skip
    ready_file: Path | None = ready_file('Written when it listens: {"url": …}.')


class Shared(Section):
    """The tables of what processes share, for commands that start none."""

    chain: Chain | None = None
    database: Database = Database()


class Config(Section):
    """The whole file. `sealroom up` starts the processes whose tables are there."""

    chain: Chain
    database: Database = Database()
    simulator: Simulator = Simulator()
    log: Log = Log()
    gate: Gate | None = None
    runner: Runner | None = None
    watcher: Watcher | None = None
    console: Console | None = None


SECTIONS: dict[str, type[Section]] = {
    "chain": Chain,
    "database": Database,
    "simulator": Simulator,
    "log": Log,
    "gate": Gate,
    "runner": Runner,
    "watcher": Watcher,
    "console": Console,
}
"""Tables by name, in the order in which the file tells them."""
LOG = {"log": ("format",)}
PROCESSES: dict[str, dict[str, tuple[str, ...]]] = {
    "gate": {"chain": ("rpc", "quorum", "id", "private_chain"), "simulator": ("platform",), **LOG},
    "runner": {
        "chain": ("rpc", "quorum", "private_chain"),
        "database": ("url", "content"),
        "simulator": ("platform",),
        **LOG,
    },
    "watcher": {"chain": ("rpc", "quorum", "private_chain", "factory"), "database": ("url",), **LOG},
    "console": {
        "chain": ("rpc", "quorum", "private_chain", "factory"),
        "database": ("url", "content"),
        "simulator": ("platform",),
        **LOG,
    },
}
"""The processes, and which shared fields each one reads beside its own table."""
