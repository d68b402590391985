# SPDX-License-Identifier: Apache-2.0
"""Vectors of the failure file: good ones, and one fault each.

Sealing draws at random. So the reports are sealed here, by the primitives of `make_sealed_crypto.py` and with
one encapsulation that was drawn once: whatever it was drawn for, each key makes one secret of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import address_bytes, canonical, sha256, to_base64, to_hex
from sealroom.errors import JobError
from sealroom.failure import Details, FailedRun, script_failed
from sealroom.keys import address_of
from tests.formats.worked import CHAIN_ID, COMPOSE, CONSORTIUM, ENCLAVE_SIGNER, secret
from tests.vectors.make_sealed_crypto import ENCAPSULATION, XWing, hpke, lp
from tests.vectors.vector import FOLDER, Vector

SEEDS = (secret("report key"), secret("another report key"))
RUN = FailedRun(
    run_id=sha256(b"a run that failed"),
    chain_id=CHAIN_ID,
    consortium=CONSORTIUM,
    compose_hash=sha256(COMPOSE),
)


def _report(seed: bytes, run: FailedRun, details: bytes) -> dict[str, str]:
    key = XWing(seed)
    info = lp(
        "sealroom/v1/failure-report",
        run.run_id,
        run.chain_id,
        address_bytes(run.consortium),
        run.compose_hash,
        key.public,
    )
    sealed = ENCAPSULATION + hpke(key.shared_secret(ENCAPSULATION), info, details)
    return {"key": to_hex(sha256(key.public)), "ciphertext": to_base64(sealed)}


def _body(reports: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "version": 1,
        "runId": to_hex(RUN.run_id),
        "chainId": RUN.chain_id,
        "consortium": RUN.consortium,
        "composeHash": to_hex(RUN.compose_hash),
        "code": "run-failed",
        "reports": sorted(reports, key=lambda report: report["key"]),
        "signer": address_of(ENCLAVE_SIGNER),
    }


def _signed(body: Mapping[str, Any], key: bytes = ENCLAVE_SIGNER) -> dict[str, Any]:
    digest = sha256(lp("sealroom/v1/failure", canonical(body)))
    return {**body, "signature": to_hex(typed.sign_digest(digest, key))}


def make_failures() -> None:
    """Write all cases."""
    slow = Details.of(JobError(Code.JOB_TIMEOUT, "the analysis had not ended when its time was over"))
    script = Details.of(script_failed(3, "KeyError", lines=9))
    both = [_report(seed, RUN, slow.encode()) for seed in SEEDS]
    good = _body(both)
    elsewhere = replace(RUN, run_id=sha256(b"another run"))

    def write(name: str, comment: str, body: bytes | Mapping[str, Any], code: str = "success") -> None:
        fields = {"expect": code, "comment": comment, "report-seed": SEEDS[0].hex()}
        if code != "success":
            fields["stage"] = "FailureError"
        data = body if isinstance(body, bytes) else canonical(body)
        Vector(fields, data).write(FOLDER / "failure" / name)

    def details(change: Mapping[str, Any], size: int = 4096) -> Mapping[str, Any]:
        plain = {
            "code": "job-failed",
            "exception": None,
            "line": None,
            "message": "m",
            "remedy": "r",
            "version": 1,
        }
        return _signed(_body([_report(SEEDS[0], RUN, canonical({**plain, **change}).ljust(size))]))

    write("two_keys", "an analysis that took too long", _signed(good))
    write("script", "a script's exception", _signed(_body([_report(SEEDS[0], RUN, script.encode())])))
    write("version", "a version to come", _signed(good | {"version": 2}), "unsupported-version")
    write("code", "a reason in clear", _signed(good | {"code": "job-timeout"}), "malformed")
    write("more", "a member more", _signed(good | {"reason": "slow"}), "malformed")
    write(
        "order",
        "the reports in another order",
        _signed(good | {"reports": good["reports"][::-1]}),
        "malformed",
    )
    write("twice", "a report twice", _signed(good | {"reports": good["reports"][:1] * 2}), "malformed")
    write("seventeen", "more reports than datasets", _signed(good | {"reports": both[:1] * 17}), "malformed")
    write("spaces", "a space in front", b" " + canonical(_signed(good)), "not-canonical")
    write("too_large", "more bytes than any file has", b" " * (128 * 1024 + 1), "too-large")
    write("signer", "signed by another key", _signed(good, secret("a stranger")), "failure-forged")
    write(
        "moved",
        "a run's id changed after signing",
        {**_signed(good), "runId": to_hex(bytes(32))},
        "failure-forged",
    )
    write(
        "another_run",
        "the report of another run, in a file that is signed",
        _signed(_body([_report(SEEDS[0], elsewhere, slow.encode())])),
        "does-not-open",
    )
    write("another_key", "sealed to another key alone", _signed(_body(both[1:])), "no-report")
    write("no_key", "no dataset has a report key", _signed(_body([])), "no-report")
    write("line", "line 0", details({"line": 0}), "malformed")
    write("exception", "an exception of the script's own", details({"exception": "Patient4711"}), "malformed")
    write("long", "a message of 301 characters", details({"message": "m" * 301}), "malformed")
    write("details_more", "a member more in the details", details({"value": "71.5"}), "malformed")
