# SPDX-License-Identifier: Apache-2.0
"""`failure.json`: what leaves a run that failed after its keys were released.

In clear it says which run failed and one code, the same for every reason. Why it failed is sealed, padded to
one size, to the report key of each dataset that has one. So the host, the researcher and everybody else learn
one bit: that there is no result (OU-06, A7). Spec: `enclave/spec/failure.md`.

The reader of a reason owns one dataset, and is a stranger to the others. A reason is therefore a code, fixed
sentences with names from the recipe, and for a script the line that it stopped in and the type of its
exception: never its text, and no value.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import (
    Fields,
    address_bytes,
    canonical,
    lp,
    parse_canonical,
    sha256,
    strict_json,
    to_base64,
    to_hex,
)
from sealroom.errors import FailureError, FormatError, JobError, KeyMaterialError, SealroomError
from sealroom.keys import (
    HPKE_OVERHEAD,
    SIGNATURE_SIZE,
    KemPrivateKey,
    fingerprint,
    hpke_open,
    hpke_seal,
)

FAILURE_NAME = "failure.json"
VERSION = 1
DETAILS_VERSION = 1
DETAILS_BYTES = 4096
"""Size of the details before they are sealed, whatever they say."""
MAX_TEXT = 300
"""Most characters of a message or a remedy. Two of them fit even where each character takes six bytes."""
MAX_REPORTS = 16
"""Most report keys: as many as a recipe has datasets."""
MAX_FAILURE_BYTES = 128 * 1024
"""Most bytes of a failure file: sixteen reports take 112 KiB."""
MAX_LINE = 2**20
"""Largest number of a line of a script."""
CIPHERTEXT_BYTES = DETAILS_BYTES + HPKE_OVERHEAD

EXCEPTIONS = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)
"""The types of exception that a reason may name: those that Python itself has."""

_REMEDIES = {
    Code.JOB_FAILED: "run the analysis on made-up rows of the declared types, with missing values among "
    "them; then propose the mended study",
    Code.JOB_TIMEOUT: "make the analysis faster, or give it more time: privacy.release_after_seconds",
    Code.OUT_OF_MEMORY: "read fewer columns at once, or run on a machine with more memory",
    Code.INTERNAL_ERROR: "report it to whoever maintains this software, with the version of the image",
}
_REMEDY = "mend the study, and propose it anew"


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """Where a script stopped, as its own process tells; checked, and no more than this is taken."""

    line: int | None
    """Line of analysis.py; `None` when it stopped elsewhere."""
    exception: str | None
    """Name of one of Python's own exceptions; `None` for any other."""


class ScriptFailed(JobError):
    """The script of a recipe raised an exception ("job-failed")."""

    def __init__(self, stopped: Stopped) -> None:
        super().__init__(Code.JOB_FAILED, "the analysis ended without a result")
        self.stopped = stopped


def script_failed(line: object, exception: object, *, lines: int) -> ScriptFailed:
    """The error for what a job says of its script, which has so many lines. What is neither is dropped."""
    return ScriptFailed(
        Stopped(
            line=line if type(line) is int and 1 <= line <= min(lines, MAX_LINE) else None,
            exception=exception if isinstance(exception, str) and exception in EXCEPTIONS else None,
        )
    )


@dataclass(frozen=True, kw_only=True)
class Details:
    """Why a run failed, for owners alone."""

    code: Code
    message: str
    remedy: str
    line: int | None = None
    """Line of analysis.py in which a script stopped."""
    exception: str | None = None
    """Type of the script's exception, if Python itself has it."""

    @classmethod
    def of(cls, error: Exception) -> Self:
        """What an error says. One that is not ours is told by its type alone: its text could hold data."""
        if not isinstance(error, SealroomError):
            message = f"the custodian stopped on {type(error).__name__}"
            return cls._fitting(Code.INTERNAL_ERROR, message, None)
        stopped = error.stopped if isinstance(error, ScriptFailed) else None
        return cls._fitting(error.code, error.message, error.hint, stopped)

    @classmethod
    def _fitting(cls, code: Code, message: str, remedy: str | None, stopped: Stopped | None = None) -> Self:
        return cls(
            code=code,
            message=_cut(message),
            remedy=_cut(remedy or _REMEDIES.get(code, _REMEDY)),
            line=None if stopped is None else stopped.line,
            exception=None if stopped is None else stopped.exception,
        )

    def encode(self) -> bytes:
        """Canonical JSON, then spaces: `DETAILS_BYTES` bytes."""
        return canonical(
            {
                "version": DETAILS_VERSION,
                "code": str(self.code),
                "message": self.message,
                "remedy": self.remedy,
                "line": self.line,
                "exception": self.exception,
            }
        ).ljust(DETAILS_BYTES)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what `encode` writes. Raises `FailureError`."""
        try:
            value = strict_json(data, DETAILS_BYTES)
            if len(data) != DETAILS_BYTES or canonical(value).ljust(DETAILS_BYTES) != data:
                raise FormatError(Code.NOT_CANONICAL, "not in the one form of its size")
        except FormatError as error:
            raise FailureError(error.code, f"the failure's details: {error.message}") from None
        fields = Fields(value, "the failure's details", error=FailureError)
        fields.version(DETAILS_VERSION)
        line, exception = fields.raw("line"), fields.raw("exception")
        if line is not None and not (type(line) is int and 1 <= line <= MAX_LINE):
            fields.fail("have a line that is no line's number")
        if exception is not None and not (isinstance(exception, str) and exception in EXCEPTIONS):
            fields.fail("have an exception that is none of Python's own")
        details = cls(
            code=Code.parse(fields.text("code", limit=64)),
            message=fields.text("message", limit=MAX_TEXT),
            remedy=fields.text("remedy", limit=MAX_TEXT),
            line=line,
            exception=exception,
        )
        fields.done()
        return details


def _cut(text: str) -> str:
    """At most `MAX_TEXT` characters, none of them half of a pair."""
    whole = text.encode("utf-8", errors="replace").decode()
    return whole if len(whole) <= MAX_TEXT else whole[: MAX_TEXT - 1] + "…"


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """Which run failed."""

    run_id: bytes
    """32 bytes."""
    chain_id: int
    consortium: str
    """Address."""
    compose_hash: bytes
    """The recipe's, 32 bytes."""

    def info(self, public: bytes) -> bytes:
        """HPKE `info` of the report to one key."""
        return lp(
            "sealroom/v1/failure-report",
            self.run_id,
            self.chain_id,
            address_bytes(self.consortium),
            self.compose_hash,
            public,
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """The details, sealed to one report key."""

    key: bytes
    """Fingerprint of the report key, 32 bytes."""
    ciphertext: bytes
    """`CIPHERTEXT_BYTES` bytes."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failure file. Read with `parse_failure`, which checks its signature."""

    run: FailedRun
    reports: tuple[Report, ...]
    """One for each distinct report key of the run's datasets, by fingerprint; none if no dataset has one."""
    signer: str
    """Address of the run's enclave key, as the ledger's opening of the run names it."""
    signature: bytes
    """By it, 65 bytes."""

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical(_plain(self.run, self.reports, self.signer) | {"signature": to_hex(self.signature)})

    def open(self, private: KemPrivateKey) -> Details:
        """The details, with the private half of one of its report keys.

        Raises `FailureError`: `no-report` when nothing is sealed to this key, `does-not-open`, or what is
        wrong with the details.
        """
        wanted = fingerprint(private.public)
        report = next((each for each in self.reports if each.key == wanted), None)
        if report is None:
            raise FailureError(
                Code.NO_REPORT,
                "nothing in the file is sealed to this report key",
                "take the report key of an owner whose dataset was sealed with one, and was read by the run",
            )
        try:
            plain = hpke_open(private, report.ciphertext, info=self.run.info(private.public))
        except KeyMaterialError as error:
            raise FailureError(error.code, f"the failure's report: {error.message}") from None
        return Details.parse(plain)


def build_failure(
    details: Details, *, run: FailedRun, report_keys: Sequence[bytes], private_key: bytes, signer: str
) -> Failure:
    """Seal the details to each report key, and sign. `private_key` is the run's, of the address `signer`."""
    plain = details.encode()
    reports = tuple(
        Report(key=fingerprint(public), ciphertext=hpke_seal(public, plain, info=run.info(public)))
        for public in sorted(set(report_keys), key=fingerprint)
    )
    signature = typed.sign_digest(_digest(run, reports, signer), private_key)
    return Failure(run=run, reports=reports, signer=signer, signature=signature)


def check_report_key(public: bytes) -> None:
    """Refuse a key that nothing can be sealed to. Raises `KeyMaterialError` ("key-invalid")."""
    hpke_seal(public, b"", info=b"")


def parse_failure(data: bytes) -> Failure:
    """Read a failure file. Raises only `FailureError`: `failure-forged` when the signature is another's."""
    try:
        fields = Fields(parse_canonical(data, MAX_FAILURE_BYTES), "failure file", error=FailureError)
    except FormatError as error:
        raise FailureError(error.code, f"failure file: {error.message}") from None
    fields.version(VERSION)
    if fields.raw("code") != Code.RUN_FAILED:
        fields.fail(f"must have the code {Code.RUN_FAILED}")
    failure = Failure(
        run=FailedRun(
            run_id=fields.hex("runId", 32),
            chain_id=fields.integer("chainId", 1),
            consortium=fields.address("consortium"),
            compose_hash=fields.hex("composeHash", 32),
        ),
        reports=tuple(_report(item) for item in fields.array("reports", limit=MAX_REPORTS)),
        signer=fields.address("signer"),
        signature=fields.hex("signature", SIGNATURE_SIZE),
    )
    fields.done()
    keys = [report.key for report in failure.reports]
    if keys != sorted(set(keys)):
        fields.fail("must list each report key once, in order")
    try:
        found = typed.recover_digest(_digest(failure.run, failure.reports, failure.signer), failure.signature)
    except KeyMaterialError:
        found = None
    if found != failure.signer:
        raise FailureError(Code.FAILURE_FORGED, f"the failure file was not signed by {failure.signer}")
    return failure


def _report(value: Any) -> Report:
    fields = Fields(value, "failure file's report", error=FailureError)
    report = Report(
        key=fields.hex("key", 32),
        ciphertext=fields.base64("ciphertext", limit=CIPHERTEXT_BYTES, size=CIPHERTEXT_BYTES),
    )
    fields.done()
    return report


def _plain(run: FailedRun, reports: Sequence[Report], signer: str) -> dict[str, Any]:
    return {
        "version": VERSION,
        "runId": to_hex(run.run_id),
        "chainId": run.chain_id,
        "consortium": run.consortium,
        "composeHash": to_hex(run.compose_hash),
        "code": str(Code.RUN_FAILED),
        "reports": [{"key": to_hex(each.key), "ciphertext": to_base64(each.ciphertext)} for each in reports],
        "signer": signer,
    }


def _digest(run: FailedRun, reports: Sequence[Report], signer: str) -> bytes:
    return sha256(lp("sealroom/v1/failure", canonical(_plain(run, reports, signer))))
