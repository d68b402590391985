# SPDX-License-Identifier: Apache-2.0
"""A study whose relation computes, through the real sandbox: DuckDB in a sealed job, over files in memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.enclave import surroundings
from tests.enclave.attacks import kernel_log
from tests.enclave.conftest import as_parquet, in_sealed_memory
from tests.formats.test_recipe_relation import STUDY
from tests.patience import PATIENCE_S

from sealroom import recipe
from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.privacy.release import Releases
from sealroom.privacy.rows import Rows
from sealroom.recipe import Recipe
from sealroom.recipe.result import build_result, check_result
from sealroom.recipe.tables import DatasetSpec
from sealroom.runtime.custodian import Custodian
from sealroom.runtime.sandbox import Sandbox

PEOPLE = 300


def visits(letter: str) -> pa.Table:
    """Visits of people who are in both hospitals; the last rows are nobody's."""
    count = PEOPLE * 3
    people = [number % PEOPLE for number in range(count)] + [None] * 5
    return pa.table(
        {
            "person": pa.array(people, pa.int64()),
            "age": pa.array([20.0 + number % 60 for number in range(count)] + [float("nan")] * 5),
            "sex": ["FM"[number % 2] for number in range(count + 5)],
            "Größe (cm)": pa.array([None] * (count + 5), pa.decimal128(6, 2)),
            "scans": pa.array([[1, 2]] * (count + 5), pa.list_(pa.int64())),
            "letter": [letter] * (count + 5),
        }
    ).drop(["letter"])


class Seen(Releases):
    """Releases that keep the rows they were asked for."""

    rows: dict[str, Rows]

    def release(self, kind: str, name: str, rows: Rows) -> dict[str, Any]:
        self.rows[name] = rows
        return super().release(kind, name, rows)


@pytest.fixture
def parsed(tmp_path: Path) -> Recipe:
    (tmp_path / "study.yaml").write_text(STUDY)
    return recipe.parse(recipe.render(tmp_path))


def run(
    parsed: Recipe,
    broken: bytes | None = None,
    *,
    service: Any = None,
    meanwhile: Callable[[int], None] = lambda pid: None,
    tables: Callable[[str], pa.Table] = visits,
) -> tuple[dict[str, Any], dict[str, Rows], list[Any]]:
    """The fields, the rows that they were released from, and what was opened.

    `meanwhile` gets the job's process id when the sealed job asks for a dataset.
    """
    opened: list[Any] = []

    def open_parquet(spec: DatasetSpec, columns: Sequence[str]) -> int:
        meanwhile(sandbox.pid)
        opened.append((spec.path, sorted(columns)))
        return in_sealed_memory(broken or as_parquet(tables(spec.owner)))

    def never(spec: DatasetSpec) -> pa.Table:
        raise AssertionError("a relation asks for no table")

    releases = Seen(parsed.privacy, parsed.output, epsilon_micro=parsed.epsilon_micro, rows=parsed.rows)
    releases.rows = {}
    custodian = Custodian(
        parsed, open_dataset=never, open_parquet=open_parquet, releases=releases, check_lease=lambda: None
    )
    with Sandbox.of(parsed, service=service) as sandbox:
        fields = custodian.serve(sandbox)
    return fields, releases.rows, opened


def test_a_relation_is_computed_in_the_sandbox_and_released(parsed: Recipe) -> None:
    """DP-03, OU-05: one row a person over both owners, from the columns that are named, and no id leaves."""
    fields, rows, opened = run(parsed)
    check_result(build_result(fields, parsed), parsed)
    assert opened == [
        (path, ["Größe (cm)", "age", "person", "sex"])
        for path in ("hospital-A/visits-A.tar", "hospital-B/visits-B.tar")
    ]
    people = rows["age"].one_per_person()
    assert people.count == PEOPLE == len(rows["people"].one_per_person().groups["sex"])
    assert sorted(rows["age"].units.tolist()) == list(range(PEOPLE))
    # Of each person the greatest age, whatever the order in which people come.
    expected = sorted(
        max(20.0 + number % 60 for number in range(person, PEOPLE * 3, PEOPLE)) for person in range(PEOPLE)
    )
    assert np.sort(people.numbers["age"]).tolist() == expected
    assert np.bincount(people.groups["sex"]).tolist() == [PEOPLE // 2, PEOPLE // 2]


def test_three_rows_of_each_person_count_and_one_who_leaves_takes_three(tmp_path: Path) -> None:
    """DP-02, DP-03: through the real sandbox; of the six visits of a person the relation keeps three."""
    begin, end = STUDY.index("    SELECT person"), STUDY.index("privacy:")
    text = STUDY.replace("rows: 1", "rows: 3").replace(
        STUDY[begin:end], "    SELECT person, age, sex, 1 AS visit FROM visits\n"
    )
    (tmp_path / "study.yaml").write_text(text)
    parsed = recipe.parse(recipe.render(tmp_path))

    def without(letter: str) -> pa.Table:
        table = visits(letter)
        return table.filter(pc.fill_null(pc.not_equal(table.column("person"), 7), True))

    fields, all_of_them, _ = run(parsed)
    check_result(build_result(fields, parsed), parsed)
    assert all("rows" in row and "people" not in row for row in fields["people"]["groups"])
    _, others, _ = run(parsed, tables=without)
    for name, rows in all_of_them.items():
        assert (len(rows), len(others[name])) == (PEOPLE * 3, PEOPLE * 3 - 3)
        assert rows.people(3).count == len(rows) and rows.people(2).count == PEOPLE * 2
    # What else is handed over is the same to the bit; a person's number says only whose rows are whose.
    ages, left = (Counter(each["age"].numbers["age"].tolist()) for each in (all_of_them, others))
    assert ages - left == Counter({27.0: 3})
    assert not left - ages


def test_a_file_that_duckdb_cannot_read_fails_the_run_without_a_word(parsed: Recipe) -> None:
    """OU-03."""
    with pytest.raises(JobError) as raised:
        run(parsed, broken=b"PAR1 secret PAR1")
    assert raised.value.code == Code.JOB_FAILED and "secret" not in str(raised.value)


IN_A_PLACE = """
import sys
from pathlib import Path
from sealroom import recipe
from tests.enclave.relation.test_run import PEOPLE, STUDY, run
folder = Path(sys.argv[1])
fields, rows, _ = run(recipe.parse(recipe.render(folder)))
print(len(fields) > 0 and rows["age"].one_per_person().count == PEOPLE)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="the places are made with root's privilege")
@pytest.mark.parametrize("place", surroundings.PLACES)
def test_a_relation_is_computed_in_every_place_that_a_job_may_have(place: str, tmp_path: Path) -> None:
    """OU-05: DuckDB starts where it may read nothing, whichever wall it is that refuses."""
    tmp_path.chmod(0o755)
    (tmp_path / "study.yaml").write_text(STUDY)
    done = subprocess.run(
        [sys.executable, surroundings.__file__, place, sys.executable, "-c", IN_A_PLACE, str(tmp_path)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.stdout.strip() == "True", done.stderr


# Not SIGABRT, which the first process of a namespace does not hear from outside.
ENDS: dict[str, Callable[[int], None]] = {
    "a crash": lambda pid: os.kill(pid, signal.SIGSEGV),
    "a trap": lambda pid: os.kill(pid, signal.SIGILL),
}


@pytest.mark.skipif(os.getuid() != 0, reason="root alone may signal a job")
@pytest.mark.parametrize("end", ENDS)
def test_an_engine_that_ends_fails_the_run_and_says_nothing(
    end: str, parsed: Recipe, capfd: pytest.CaptureFixture[str]
) -> None:
    """OU-03, OU-04: no number is released, the custodian goes on, and neither the kernel's log nor an output
    has a word of it."""
    before, pids, released = set(kernel_log()), [], []

    def meanwhile(pid: int) -> None:
        if not pids:
            pids.append(pid)
            ENDS[end](pid)

    with pytest.raises(JobError) as raised:
        released.append(run(parsed, meanwhile=meanwhile))
    assert raised.value.code == Code.JOB_FAILED and not released
    assert raised.value.message == "the analysis ended without a result"
    time.sleep(0.2)
    said = [line.partition("] ")[2] for line in kernel_log() if line not in before]  # without its time
    assert not [line for line in said if re.search(rf"\b{pids[0]}\b", line)]
    assert capfd.readouterr() == ("", "")
    fields, _, _ = run(parsed)  # of the same process
    check_result(build_result(fields, parsed), parsed)


OUT_OF_MEMORY = """
import sys
from pathlib import Path
from sealroom import recipe
from sealroom.errors import JobError
from sealroom.runtime import relation_job
from tests.enclave.attacks import Forks
from tests.enclave.relation.test_run import run
parsed = recipe.parse(recipe.render(Path(sys.argv[1])))
whole = relation_job.MEMORY_SHARE
for share in (whole, 1e-7, whole):
    relation_job.MEMORY_SHARE = share  # the job's launcher is a fork of this process
    try:
        run(parsed, service=Forks())
        print("released")
    except JobError as error:
        print(error.code)
"""


def test_an_engine_without_memory_fails_the_run(parsed: Recipe, tmp_path: Path) -> None:
    """OU-06, OU-03: the limit is DuckDB's own, so that the kernel neither ends anything nor logs it."""
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, str(tmp_path)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert done.stdout.split() == ["released", "job-failed", "released"], done.stderr


def test_the_job_of_a_relation_loads_neither_pandas_nor_what_reads_recipes() -> None:
    """Each takes as long as the relation of a small study."""
    code = "import sys, sealroom.runtime.relation_job; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"pandas", "pydantic", "eth_abi", "opendp", "torch"}
    assert "sealroom.recipe" not in done.stdout.split()


ASK_TWICE = """
from sealroom.runtime import job
for _ in range(2):
    job._session._ask({"op": "parquet", "path": "hospital-A/visits-A.tar"})
"""


def test_a_dataset_is_handed_over_once(parsed: Recipe) -> None:
    """OU-06: each copy is memory of the custodian's, and its end would come when a job chose."""
    asked: list[Any] = []

    def open_parquet(spec: DatasetSpec, columns: Sequence[str]) -> int:
        asked.append(spec.path)
        return os.memfd_create("dataset", os.MFD_CLOEXEC)

    releases = Releases(parsed.privacy, parsed.output, epsilon_micro=parsed.epsilon_micro)
    custodian = Custodian(
        parsed, open_dataset=lambda spec: pa.table({}), open_parquet=open_parquet, releases=releases,
        check_lease=lambda: None,
    )  # fmt: skip
    script = {"analysis": ASK_TWICE, "unit": "person", "fields": {}, "groups": {}}
    custodian._begin = lambda: script  # type: ignore[method-assign]
    with Sandbox.start() as sandbox, pytest.raises(JobError) as raised:
        custodian.serve(sandbox)
    assert raised.value.code == Code.REQUEST_MALFORMED
    assert asked == ["hospital-A/visits-A.tar"]
