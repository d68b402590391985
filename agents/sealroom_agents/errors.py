# SPDX-License-Identifier: Apache-2.0
"""Errors of everything that runs outside the enclave.

The tree (all are `sealroom.errors.SealroomError`, so each carries `.code`, `.message`, `.hint`)::

    SealroomError                     sealroom.errors
    └── AgentError                    anything raised by an agent
        ├── AttestationError          a quote, event log or collateral that does not hold
        ├── ChainError                the chain cannot be read, or cannot be trusted as it was read
        │   ├── UndecidedError        the same, before a command did anything (exit code 3)
        │   └── TransactionError      a transaction that was refused, or was not mined in time
        ├── GateError                 the gate cannot serve
        │   └── Refused               the gate's answer is no; carries the stable code of the refusal
        ├── StoreError                a database that does not hold what it must
        ├── RunnerError               an enclave that could not be started or followed
        ├── RequestError              a request that the console does not take
        ├── CardError                 a study card that does not hold, or does not agree with gate and chain
        ├── ToolError                 a command of an owner or an auditor that cannot do what it was asked to
        ├── ConfigurationError        a process that must not start as it was told to (exit code 78)
        └── DemoError                 a step of the demo that did not go as it must

A code is a member of the registry `sealroom.codes`: programs compare codes, people read messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Self

from sealroom.codes import Code, Exit, Stage
from sealroom.errors import SealroomError


class CommandExit(IntEnum):
    """Exit status of a command and of the processes that commands start."""

    about: str
    """What it means, as manual pages and docs/reference/commands.md tell it."""

    def __new__(cls, status: int, about: str) -> Self:
        """A status by its number."""
        made = int.__new__(cls, status)
        made._value_, made.about = status, about
        return made

    DONE = 0, "Done; what was checked holds. Also a process that a signal ended in order."
    FAILED = Exit.FAILED, "Refused, or broken: the line error says what, the line hint what to do."
    USAGE = 2, "The command was called in a way that it does not understand."
    UNDECIDED = 3, "Not decided: what must be asked, such as a node, did not answer, or it still goes on."
    UNPROVEN = 4, "All holds, and nothing vouches for where it is from."
    WOULD_FAIL = Exit.JOB_FAILED, "The run that was tried would fail."
    CONFIGURATION = Exit.CONFIGURATION, "A process must not start as it was configured."
    INTERRUPTED = 130, "Stopped by Ctrl-C, SIGTERM or SIGHUP; what was half made is removed."


CHAIN_CODES = (Code.CHAIN_UNREACHABLE, Code.CHAIN_STALE, Code.CHAIN_DISAGREES)
"""Codes of a chain that cannot be read, or not be believed: they say nothing about what was asked for."""


class AgentError(SealroomError):
    """Root of the errors that agents raise."""


class AttestationError(AgentError):
    """Evidence does not prove what it claims; `.code` is one of the gate's refusal codes."""


class ChainError(AgentError):
    """The chain is out of reach, stale, or its nodes disagree."""


class UndecidedError(ChainError):
    """The chain was asked before a command did anything, and gave no answer: nothing was done."""


class TransactionError(ChainError):
    """A transaction was refused by a contract, or was not mined in time.

    `revert` names the contract's custom error (such as `LedgerRunExists`), `None` when there was none;
    `fields` are that error's fields.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        hint: str | None = None,
        *,
        revert: str | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code, message, hint)
        self.revert = revert
        self.fields = dict(fields) if fields is not None else {}


class GateError(AgentError):
    """The gate cannot serve."""


class Refused(GateError):
    """The gate refuses; `seen` and `pinned` show the two sides when a comparison failed."""

    def __init__(
        self,
        code: Code,
        message: str,
        hint: str | None = None,
        *,
        seen: Mapping[str, object] | None = None,
        pinned: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code, message, hint)
        self.seen = dict(seen) if seen is not None else None
        self.pinned = dict(pinned) if pinned is not None else None


class StoreError(AgentError):
    """The database does not hold what it must."""


class RunnerError(AgentError):
    """An enclave could not be started, or said something that no enclave says."""


class RequestError(AgentError):
    """The console does not take a request; `status` is the HTTP status of the answer, `retry_s` the seconds
    after which the same request may be taken, `field` the parameter or member that is wrong, if it is one."""

    def __init__(
        self,
        code: Code,
        message: str,
        hint: str | None = None,
        *,
        status: int | None = None,
        retry_s: int | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(code, message, hint)
        self.status = status or code.http or 422
        self.retry_s = retry_s
        self.field = field


def server_code(status: int) -> Code:
    """The code of an answer that a web framework gives by itself, such as 404."""
    return next((code for code in Code if (code.stage, code.http) == (Stage.SERVER, status)), Code.REFUSED)


class ConfigurationError(AgentError):
    """The process must not start as configured; it ends with `CommandExit.CONFIGURATION`."""


class DemoError(AgentError):
    """A step of the demo did not go as it must; the message carries the output of what failed."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(Code.DEMO_FAILED, message, hint)


class CardError(AgentError):
    """A study card that isn't well formed, or doesn't agree with the gate, the recipe or the chain."""


class ToolError(AgentError):
    """A command of an owner or an auditor that cannot do what it was asked to.

    `facts` is what else `--json` tells of the refusal.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        hint: str | None = None,
        *,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code, message, hint)
        self.facts = dict(facts) if facts is not None else {}
