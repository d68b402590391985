# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the format tests."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from sealroom.sealed import seal
from tests.formats.sealing import PART, TABLE, Sealed
from tests.formats.worked import CONTEXT, DATA_KEY, NAME, OWNER


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    folder = tmp_path_factory.mktemp("sealed")
    source, path = folder / "cohort-A.parquet", folder / "cohort-A.tar"
    pq.write_table(TABLE, source, compression="none", row_group_size=1000)
    summary = seal(source, path, recipient=CONTEXT, owner=OWNER, name=NAME, dek=DATA_KEY, part_size=PART)
    return Sealed(source=source, path=path, summary=summary)
