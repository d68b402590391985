# SPDX-License-Identifier: Apache-2.0
"""FHIR, VCF and DICOM through `sealroom prepare`, by the declared files that docs/inputs.md shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.agents.test_dicom import image, saved

from sealroom.keys import Secret
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.prepare.declared import parse
from sealroom_agents.owner.prepare.run import prepared

KEY = Secret(bytes(range(32)))


def shown(section: str) -> dict[str, str]:
    """The blocks of a section of the page, by their language."""
    text = Path("docs/inputs.md").read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL))


def rows(path: Path, declared: str) -> list[dict[str, Any]]:
    with prepared(path, parse(declared.encode(), name="p.toml"), key=KEY, place=path.parent) as made:
        return pa.Table.from_batches(made.batches()).to_pylist()


def test_one_person_has_one_pseudonym_whatever_the_input(tmp_path: Path) -> None:
    blocks = shown("VCF")
    (tmp_path / "v.vcf").write_text(
        "".join(f"{'	'.join(e.split())}\n" for e in blocks["text"].splitlines())
    )
    variants = rows(tmp_path / "v.vcf", blocks["toml"])
    assert [(each["apoe_e4"], each["apoe_e2"]) for each in variants] == [(1, 0), (0, None)]
    scans = saved(tmp_path / "d", image([[0] * 64] * 64, np.int16))
    (scan,) = rows(scans, shown("DICOM")["toml"])
    assert scan["person_id"] == variants[0]["person_id"] != "P-17"
    assert (scan["year"], scan["age"], scan["kind"], len(scan["pixels"])) == (2021, 34, "CT", 64 * 64)


def test_a_cell_that_is_not_as_the_study_declares_is_told_by_its_line(tmp_path: Path) -> None:
    blocks = shown("FHIR")
    path = tmp_path / "o.ndjson"
    path.write_text(blocks["json"] * 2)
    assert [(each["hba1c"], each["year"]) for each in rows(path, blocks["toml"])] == [(6.1, 2021)] * 2
    other = blocks["json"].replace("4548-4", "1-8")
    path.write_text(other + blocks["json"] + blocks["json"].replace("6.10", "1e999"))
    with pytest.raises(ToolError, match="line 3, column hba1c") as caught:
        rows(path, blocks["toml"])
    assert caught.value.code == "cell-unfit"
