# SPDX-License-Identifier: Apache-2.0
"""The failure file: one public form, details for report keys alone, and nothing that was moved or changed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sealroom.codes import Code
from sealroom.encoding import canonical
from sealroom.errors import FailureError, JobError, SealError
from sealroom.failure import (
    DETAILS_BYTES,
    MAX_FAILURE_BYTES,
    MAX_REPORTS,
    Details,
    FailedRun,
    Failure,
    build_failure,
    parse_failure,
    script_failed,
)
from sealroom.keys import KemPrivateKey, address_of

KEYS = [KemPrivateKey.from_seed(bytes([number]) * 32) for number in range(1, 4)]
SIGNER = b"\x21" * 32
RUN = FailedRun(run_id=b"\x07" * 32, chain_id=31337, consortium="0x" + "c0" * 20, compose_hash=b"\x5e" * 32)
WHY = Details.of(JobError(Code.UNDECLARED_DATASET, "the recipe declares no such dataset"))


def failure(details: Details = WHY, *, run: FailedRun = RUN, keys: list[KemPrivateKey] = KEYS[:2]) -> Failure:
    return build_failure(
        details,
        run=run,
        report_keys=[key.public for key in keys],
        private_key=SIGNER,
        signer=address_of(SIGNER),
    )


def test_every_holder_of_a_report_key_reads_the_same() -> None:
    read = parse_failure(failure().encode())
    assert read.run == RUN
    assert [read.open(key) for key in KEYS[:2]] == [WHY, WHY]


LONGEST = "\x01" * 5000
ERRORS = [
    JobError(Code.JOB_TIMEOUT, "too slow"),
    SealError(Code.PART_ALTERED, LONGEST, LONGEST),
    script_failed(3, "ZeroDivisionError", lines=4),
    ValueError("patient 4711"),
    JobError(Code.JOB_FAILED, "half a pair \ud800 " + "ε" * 999),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_details_have_one_size_and_come_back(error: Exception) -> None:
    """OU-06: whatever they say."""
    details = Details.of(error)
    assert len(details.encode()) == DETAILS_BYTES
    assert Details.parse(details.encode()) == details
    assert "4711" not in str(details)
    assert len(failure(details).encode()) == len(failure().encode())


def test_the_public_part_tells_no_reason() -> None:
    """OU-06: byte for byte the same but for ciphertexts and the signature over them."""

    def public(error: Exception) -> bytes:
        plain = json.loads(failure(Details.of(error)).encode())
        for report in plain["reports"]:
            del report["ciphertext"]
        del plain["signature"]
        return canonical(plain)

    assert len({public(error) for error in ERRORS}) == 1


def test_the_size_follows_from_the_number_of_keys() -> None:
    sizes = [len(failure(keys=KEYS[:count]).encode()) for count in range(4)]
    assert sizes == sorted(set(sizes))
    assert len(failure(keys=[KEYS[0]] * 3).encode()) == sizes[1]
    many = [KemPrivateKey.from_seed(bytes([number]) * 32) for number in range(MAX_REPORTS)]
    whole = failure(keys=many).encode()
    assert len(parse_failure(whole).reports) == MAX_REPORTS and len(whole) <= MAX_FAILURE_BYTES


def test_another_key_reads_nothing() -> None:
    with pytest.raises(FailureError) as refused:
        failure().open(KEYS[2])
    assert refused.value.code == "no-report"


@pytest.mark.parametrize(
    "other",
    [
        {"run_id": b"\x08" * 32},
        {"chain_id": 1},
        {"consortium": "0x" + "c1" * 20},
        {"compose_hash": b"\x5f" * 32},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_report_does_not_open_in_another_runs_file(other: dict[str, object]) -> None:
    """OU-09: whoever signs it."""
    run = replace(RUN, **other)  # type: ignore[arg-type]
    moved = replace(failure(run=run), reports=failure().reports)
    with pytest.raises(FailureError) as refused:
        moved.open(KEYS[0])
    assert refused.value.code == "does-not-open"
    with pytest.raises(FailureError) as refused:
        parse_failure(moved.encode())
    assert refused.value.code == "failure-forged"


def test_no_changed_byte_passes() -> None:
    good = failure(keys=KEYS[:1]).encode()
    for place in range(0, len(good), 7):
        changed = bytearray(good)
        changed[place] ^= 1
        with pytest.raises(FailureError):
            parse_failure(bytes(changed))


def test_what_is_no_failure_file_is_refused() -> None:
    plain = json.loads(failure().encode())
    wrong = {
        "malformed": [
            plain | {"code": "job-failed"},
            plain | {"more": 1},
            plain | {"reports": plain["reports"][::-1]},
            plain | {"reports": plain["reports"][:1] * 2},
            plain | {"chainId": 0},
        ],
        "unsupported-version": [plain | {"version": 2}],
        "failure-forged": [plain | {"reports": []}, plain | {"signer": "0x" + "11" * 20}],
    }
    for code, files in wrong.items():
        for file in files:
            with pytest.raises(FailureError) as refused:
                parse_failure(canonical(file))
            assert refused.value.code == code
    for data, code in ((b" " + canonical(plain), "not-canonical"), (b" " * 200_000, "too-large")):
        with pytest.raises(FailureError) as refused:
            parse_failure(data)
        assert refused.value.code == code


@pytest.mark.parametrize(
    ("line", "exception", "taken"),
    [
        (2, "KeyError", (2, "KeyError")),
        (4, "KeyError", (None, "KeyError")),
        (0, "KeyError", (None, "KeyError")),
        (True, "KeyError", (None, "KeyError")),
        (2**70, None, (None, None)),
        ("2", "Patient4711", (None, None)),
        (1, "int", (1, None)),
        (1.0, ["KeyError"], (None, None)),
        (None, {"KeyError": 1}, (None, None)),
    ],
)
def test_of_a_script_only_its_line_and_pythons_own_exceptions_are_taken(
    line: object, exception: object, taken: tuple[int | None, str | None]
) -> None:
    """OU-03, A7: a script's process may send anything."""
    details = Details.of(script_failed(line, exception, lines=3))
    assert (details.line, details.exception) == taken


def test_details_in_another_form_are_refused() -> None:
    plain = json.loads(WHY.encode())
    for wrong in (
        canonical(plain),
        canonical(plain).ljust(DETAILS_BYTES - 1) + b"\n",
        canonical(plain | {"line": 0}).ljust(DETAILS_BYTES),
        canonical(plain | {"exception": "Patient4711"}).ljust(DETAILS_BYTES),
        canonical(plain | {"version": 2}).ljust(DETAILS_BYTES),
        canonical(plain | {"text": ""}).ljust(DETAILS_BYTES),
    ):
        with pytest.raises(FailureError):
            Details.parse(wrong)
