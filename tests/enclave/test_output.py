# SPDX-License-Identifier: Apache-2.0
"""What an analysis can and cannot get out, run through the real child process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.enclave.conftest import GOOD, READ, RELEASE, small_table

from sealroom.codes import Code
from sealroom.errors import JobError, KeyReleaseError, PrivacyError, SealroomError
from sealroom.recipe import Recipe
from sealroom.recipe.result import build_result, check_output, check_result

Run = Callable[..., dict[str, Any]]
CANARY = "Ms-Ada-Lovelace-1815"


def refused(run: Run, analysis: str, **options: Any) -> SealroomError:
    """The refusal of an analysis, after its twin has passed."""
    with pytest.raises(SealroomError) as caught:
        run(analysis, **options)
    return caught.value


def test_a_good_analysis_emits_what_it_released(run_analysis: Run) -> None:
    fields = run_analysis(GOOD)
    assert list(fields) == ["people", "mean_age", "risk"]
    women, _ = fields["people"]["groups"]
    assert women["sex"] == "F" and abs(women["people"] - 400) < 40
    assert abs(float(fields["mean_age"]["groups"][1]["mean"]) - 49.5) < 15
    assert float(fields["risk"]["groups"][1]["coefficient"]) > 0


CASES = {
    "a field that is not declared (OU-08)": (
        "undeclared-field",
        READ + RELEASE + 'emit_signed(result | {"rows": 600})',
    ),
    "a field left out": ("missing-field", READ + RELEASE + 'del result["risk"]\nemit_signed(result)'),
    "a number beyond its bounds": (
        "out-of-bounds",
        READ + RELEASE + 'result["mean_age"]["groups"][0]["mean"] = "100.1"\nemit_signed(result)',
    ),
    "a value that the custodian did not release (DP-15)": (
        "not-released",
        READ + RELEASE + 'result["people"]["groups"][0]["people"] += 1\nemit_signed(result)',
    ),
    "a float (OU-01)": (
        "wrong-type",
        READ + RELEASE + 'result["people"]["groups"][0]["people"] = 400.0\nemit_signed(result)',
    ),
    "one more digit (OU-01)": (
        "wrong-type",
        READ + RELEASE + 'result["mean_age"]["groups"][0]["mean"] += "0"\nemit_signed(result)',
    ),
    "text where a label must be (OU-01)": (
        "wrong-type",
        READ + RELEASE + 'result["people"]["groups"][0]["sex"] = "female"\nemit_signed(result)',
    ),
    "NaN (OU-01)": ("wrong-type", READ + RELEASE + 'result["people"] = float("nan")\nemit_signed(result)'),
    "more bytes than declared (OU-02)": (
        "output-too-large",
        READ + RELEASE + 'emit_signed({"x": "y" * 10**7})',
    ),
    "a second emit": ("already-emitted", GOOD + "emit_signed(result)"),
    "a dataset that is not declared": ("undeclared-dataset", GOOD + 'unwrap("hospital-C/cohort.tar")'),
    "a field of another kind": ("undeclared-field", READ + 'table.mean("people")'),
    "a table without the unit": (
        "schema-mismatch",
        READ + 'private(people.drop(columns="person_id")).count("people")',
    ),
    "a table without a feature": (
        "schema-mismatch",
        READ + 'private(people.drop(columns="age")).logistic("risk")',
    ),
    "one field twice with other rows (DP-14)": (
        "budget-exceeded",
        READ + 'table.count("people")\nprivate(people[people.age > 30]).count("people")',
    ),
    "an exception with data in it (OU-03)": ("job-failed", READ + f'raise ValueError("{CANARY}")'),
    "an end without a result": ("job-failed", READ + RELEASE),
    "an exit status of its own choice (OU-03)": (
        "job-failed",
        READ + "import os\nos._exit(int(people.age.iloc[0]))",
    ),
    "swallowing the refusal": (
        "undeclared-field",
        READ + RELEASE + 'try:\n    emit_signed({"rows": 600})\nexcept Exception:\n    emit_signed(result)',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_breaks_the_contract_is_refused(case: str, run_analysis: Run) -> None:
    code, analysis = CASES[case]
    error = refused(run_analysis, analysis)
    assert error.code == code
    assert CANARY not in error.message


SMUGGLE = """
ids = range({first}, {first} + 400)
emit_signed(
    private(pd.DataFrame({{"person_id": ids, "sex": "F"}})).count("people").summary()
    | private(pd.DataFrame({{"person_id": ids, "sex": "F", "age": {value}}})).mean("mean_age").summary()
    | table.logistic("risk").summary()
)
"""
"""One person's number under 400 ids."""


def test_rows_under_made_up_ids_count_nowhere(run_analysis: Run) -> None:
    """DP-21: 600 exact records once left this way at a nominal ε of 1.

    What is left of it: under ids that exist, a script can still write what it likes, one row an id. That is
    what owners read it for."""
    fields = run_analysis(READ + SMUGGLE.format(first=5000, value="people.age.iloc[7]"))
    assert all(row["people"] is None for row in fields["people"]["groups"])  # fewer than a cohort
    assert all(row["mean"] is None for row in fields["mean_age"]["groups"])
    left = run_analysis(READ + SMUGGLE.format(first=1000, value="97.0"))
    women, _ = left["people"]["groups"]
    assert abs(women["people"] - 300) < 40  # of 400 ids, hospital A has 300, each counted once


def test_a_person_who_is_missing_is_dropped_and_never_refused(run_analysis: Run) -> None:
    """DP-21: a refusal would tell whether one person is there: the run ends alike with and without."""
    asks = (
        READ
        + """
one = pd.DataFrame({"person_id": [1007], "sex": ["F"], "age": [50.0], "ill": [True]})
table = private(one)
"""
    )
    for tables in (None, {"A": 7}):
        found = {f"hospital-{letter}/cohort.tar": small_table(letter) for letter in "AB"}
        if tables:
            whole = found["hospital-A/cohort.tar"]
            found["hospital-A/cohort.tar"] = whole.filter([n != 7 for n in range(len(whole))])
        assert set(run_analysis(asks + RELEASE + "emit_signed(result)", tables=found)) == {
            "people",
            "mean_age",
            "risk",
        }


def test_asking_again_with_the_same_rows_gives_the_same_value(run_analysis: Run) -> None:
    """DP-14: averaging repeated answers gains nothing."""
    analysis = READ + 'first = table.count("people").value\n' + RELEASE
    assert run_analysis(analysis + 'assert result["people"] == first\nemit_signed(result)')


def test_less_budget_than_the_fields_cost_is_refused(run_analysis: Run) -> None:
    assert run_analysis(GOOD, epsilon_micro=3_000_000)
    error = refused(run_analysis, GOOD, epsilon_micro=2_999_999)
    assert isinstance(error, PrivacyError) and error.code == "budget-exceeded"


def test_an_emit_after_the_lease_has_ended_is_refused(run_analysis: Run) -> None:
    """A job that a revocation has overtaken gets nothing out."""
    requests: list[int] = []

    def ends_before_the_emit() -> None:
        requests.append(1)
        if len(requests) == 6:  # two datasets, three releases, then the emit
            raise KeyReleaseError(Code.LEASE_ENDED, "the lease of this run has ended")

    assert refused(run_analysis, GOOD, check_lease=ends_before_the_emit).code == "lease-ended"


def test_a_dataset_with_another_column_type_is_refused(run_analysis: Run) -> None:
    tables = {f"hospital-{letter}/cohort.tar": small_table(letter) for letter in "AB"}
    assert run_analysis(GOOD, tables=tables)
    tables["hospital-B/cohort.tar"] = tables["hospital-B/cohort.tar"].set_column(
        1, "age", tables["hospital-B/cohort.tar"]["age"].cast("int64")
    )
    assert refused(run_analysis, GOOD, tables=tables).code == "schema-mismatch"


def test_a_person_with_many_rows_counts_once(run_analysis: Run) -> None:
    """DP-19: the unit is the person, not the row."""
    repeated = READ.replace("table = private(people)", "table = private(pd.concat([people] * 20))")
    fields = run_analysis(repeated + RELEASE + "emit_signed(result)")
    assert fields["people"]["groups"][0]["people"] < 500


def test_a_result_names_its_study_and_its_price(
    make_recipe: Callable[[str], Recipe], run_analysis: Run
) -> None:
    parsed = make_recipe(GOOD)
    result = build_result(run_analysis(GOOD), parsed)
    check_result(result, parsed)
    assert (result["study"], result["epsilon"], result["delta"]) == ("small", "3", "1e-6")
    with pytest.raises(JobError) as caught:
        check_result(result | {"epsilon": "0.1"}, parsed)
    assert caught.value.code == "wrong-type"


def test_a_suppressed_group_is_null_throughout(
    make_recipe: Callable[[str], Recipe], run_analysis: Run
) -> None:
    """DP-12: a group below the minimum cohort shows no number."""
    parsed = make_recipe(GOOD)
    fields = run_analysis(
        GOOD.replace("table = private(people)", 'table = private(people[people.sex == "F"])')
    )
    men = fields["mean_age"]["groups"][1]
    assert men == {"sex": "M"} | dict.fromkeys(men.keys() - {"sex"}) and len(men) == 7
    check_output(fields, parsed.output, rows=1)
    half = json.loads(json.dumps(fields))
    half["mean_age"]["groups"][1]["mean"] = "50.0"
    with pytest.raises(JobError) as caught:
        check_output(half, parsed.output, rows=1)
    assert caught.value.code == "wrong-type"
