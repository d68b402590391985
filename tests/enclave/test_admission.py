# SPDX-License-Identifier: Apache-2.0
"""What a run of lists may take of memory is known before it begins: the job's part and the custodian's."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from tests.formats.test_recipe_inference import rendered

from sealroom.errors import JobError
from sealroom.privacy.kind import Columns
from sealroom.privacy.people import People
from sealroom.privacy.release import compute
from sealroom.recipe import Recipe, parse, render
from sealroom.runtime.admission import CHUNK_BYTES, check_memory, relation_bytes, release_bytes
from sealroom.runtime.handover import CUSTODIAN_BYTES, table_bytes, table_limit

STUDY = Path(__file__).parents[2] / "enclave" / "studies" / "rare-disease-genomics"
LENGTH = 10_000
PEOPLE = 60_000
"""As many as the study says; each collection has as many rows."""
GIB = 2**30


@lru_cache
def study() -> Recipe:
    return parse(render(STUDY))


def rows(of_each: int = PEOPLE) -> dict[str, int]:
    return {spec.path: of_each for spec in study().datasets}


def test_lists_count_where_they_are_held() -> None:
    """OU-06, DP-06: in the job as DuckDB gives them and as they travel, and in the custodian as they come."""
    lists = PEOPLE * LENGTH
    assert relation_bytes(study(), rows()) > 3 * lists
    assert 2 * lists < release_bytes(study(), rows()) < 2 * lists + 2 * CUSTODIAN_BYTES


@pytest.mark.parametrize(
    ("machine", "job"),
    [
        (relation_bytes(study(), rows()) + release_bytes(study(), rows()) - 1, 64 * GIB),  # all together
        (64 * GIB, relation_bytes(study(), rows())),  # the job, of which DuckDB has a part
    ],
)
def test_a_machine_without_room_for_lists_is_refused(machine: int, job: int) -> None:
    """DP-06: before any key is asked for."""
    with pytest.raises(JobError) as caught:
        check_memory(study(), rows(), 0, job_bytes=job, machine=machine)
    assert caught.value.code == "machine-too-small"


def test_a_machine_with_room_runs_it_and_of_fewer_people_a_smaller_one_does() -> None:
    most = relation_bytes(study(), rows()) + release_bytes(study(), rows())
    check_memory(study(), rows(), GIB, job_bytes=most * 2, machine=most + GIB)
    few = rows(PEOPLE // 100)
    check_memory(study(), few, 0, job_bytes=2 * GIB, machine=GIB)
    with pytest.raises(JobError) as caught:
        check_memory(study(), few, GIB, job_bytes=2 * GIB, machine=GIB)
    assert caught.value.code == "machine-too-small"


def test_what_is_admitted_is_not_refused_when_it_comes() -> None:
    """The custodian's limit of a table, and what admission counts on, are of the same bytes."""
    columns = Columns(numbers=("x",), groups=("g",), vectors=(("l", 100),))
    assert table_bytes(columns, 1000) == 1000 * (8 + 8 + 4 + 200)
    assert table_bytes(columns, 10) <= table_limit(columns, 2**20) < table_bytes(columns, 2**20 // 100)


def test_a_release_of_lists_takes_no_more_than_is_counted() -> None:
    """OU-06: beside the table, which is `count` lists of two bytes an entry."""
    import tracemalloc

    field = study().output.field("allele_counts")
    assert field is not None
    lists = np.ones((2_000, LENGTH), np.int16)
    tracemalloc.start()
    try:
        value = compute(
            field, People(count=len(lists), numbers={}, groups={}, vectors={"dosages": lists}), cohort=20
        )
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(value["means"]) == LENGTH and most < CUSTODIAN_BYTES / 2


def test_what_networks_are_told_and_give_counts_too(tmp_path: Path) -> None:
    """DP-06, OU-06: beside the table of a field, and within what a table may take."""
    networks, people = rendered(tmp_path), 30_000_000
    each = {spec.path: people for spec in networks.datasets if spec.schema is not None}
    most = networks.compiled.most_rows(each) if networks.compiled is not None else 0
    _, score, means = (field.columns for field in networks.output.fields)
    assert networks.inferred_bytes(score) == 8 and networks.inferred_bytes(means) == 12
    told = table_bytes(networks.handed_over(means), most)
    assert release_bytes(networks, each) >= CUSTODIAN_BYTES + told + 12 * most
    few = {path: 1000 for path in each}
    assert release_bytes(networks, few) >= CUSTODIAN_BYTES + CHUNK_BYTES, "weights, and rows on their way"
    check_memory(networks, few, 0, job_bytes=8 * GIB, machine=8 * GIB)
    with pytest.raises(JobError) as caught:
        check_memory(networks, each, 0, job_bytes=1000 * GIB, machine=GIB)
    assert caught.value.code == "machine-too-small"
