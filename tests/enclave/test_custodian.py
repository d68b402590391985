# SPDX-License-Identifier: Apache-2.0
"""What a script makes the custodian hold and do, however often it asks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from tests.enclave.conftest import GOOD, small_table

from sealroom.errors import JobError
from sealroom.privacy.release import Releases
from sealroom.recipe import Recipe
from sealroom.recipe.tables import DatasetSpec
from sealroom.runtime.custodian import Custodian
from sealroom.runtime.sandbox import Sandbox

ASK_OFTEN = """
from sealroom import unwrap
held = [unwrap("hospital-A/cohort.tar") for _ in range(60)]
assert all(each.equals(held[0]) for each in held)
"""


def memories() -> set[str]:
    """The datasets in memory that this process has open: each memory's number."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(each).startswith("/memfd:dataset"):
                found.add(str(os.stat(each).st_ino))
        except FileNotFoundError:
            continue
    return found


@pytest.mark.parametrize("ending", [GOOD, "raise SystemExit(1)\n"], ids=["a result", "a failure"])
def test_a_dataset_is_in_memory_once_however_often_a_script_asks(
    make_recipe: Callable[..., Recipe], ending: str
) -> None:
    """OP-05, OU-06: each copy would be the custodian's memory, and a script would choose when it runs out."""
    recipe = make_recipe(ASK_OFTEN + ending)
    opened, most = Counter[str](), 0
    before = memories()

    def open_dataset(spec: DatasetSpec) -> pa.Table:
        opened[spec.path] += 1
        return small_table(spec.path[len("hospital-")])

    def check_lease() -> None:
        nonlocal most
        most = max(most, len(memories() - before))

    custodian = Custodian(
        recipe,
        open_dataset=open_dataset,
        releases=Releases(recipe.privacy, recipe.output, epsilon_micro=3_000_000),
        check_lease=check_lease,
    )
    with Sandbox.start() as sandbox:
        if ending == GOOD:
            assert custodian.serve(sandbox).keys() == {field.name for field in recipe.output.fields}
        else:
            with pytest.raises(JobError, match="without a result"):
                custodian.serve(sandbox)
    assert set(opened.values()) == {1}
    assert most == len(opened), "each of them in one memory"
    assert memories() <= before
