# SPDX-License-Identifier: Apache-2.0
"""A dataset of the kind files, from a folder to the analysis in its sandbox."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.enclave.conftest import STUDY, small_table
from tests.formats.worked import OWNER

from sealroom import recipe
from sealroom.errors import RecipeError, SealError
from sealroom.keys import Secret
from sealroom.members import FOLDER
from sealroom.privacy.release import Releases
from sealroom.recipe import DatasetSpec, Recipe
from sealroom.runtime.custodian import Custodian
from sealroom.runtime.sandbox import Sandbox
from sealroom.sealed import SealedFile, open_sealed, seal
from sealroom_agents.owner.folder import listing, pack

ANALYSIS = """
import json
import pandas as pd
from sealroom import emit_signed, private, unwrap
notes, people = unwrap("hospital-B/notes.tar"), unwrap("hospital-A/cohort.tar")
assert list(notes) == ["a/2.ndjson", "b.ndjson"] and len(notes["b.ndjson"]) == 9_000_011
rows = [json.loads(line) for line in notes.open("a/2.ndjson")]
people = pd.DataFrame({"person_id": [row["id"] for row in rows], "sex": [row["sex"] for row in rows]})
emit_signed(private(people).count("people").summary())
"""


def study(**dataset: Any) -> dict[str, Any]:
    found: dict[str, Any] = copy.deepcopy(STUDY)
    found["datasets"] = [found["datasets"][0], {"owner": "hospital-B", "name": "notes", **dataset}]
    found["output"]["fields"] = found["output"]["fields"][:1]
    found["privacy"] |= {"epsilon": "1", "delta": "0", "minimum_cohort": 1}
    return found


def rendered(folder: Path, **dataset: Any) -> Recipe:
    (folder / "study.yaml").write_text(json.dumps(study(**dataset)))
    (folder / "analysis.py").write_text(ANALYSIS.strip() + "\n")
    return recipe.parse(recipe.render(folder))


def sealed_tar(folder: Path, content: bytes) -> SealedFile:
    (folder / "a.bin").write_bytes(content)
    key = Secret.generate(32)
    done = seal(
        folder / "a.bin", folder / "a.tar", recipient=None, owner=OWNER, name="notes", dek=key,
        media_type=FOLDER, overwrite=True,
    )  # fmt: skip
    return open_sealed(
        folder / "a.tar",
        dek=key,
        header_digest=done.header_digest,
        index_digest=done.index_digest,
        key_commitment=done.key_commitment,
    )


def run(parsed: Recipe, files: SealedFile) -> dict[str, Any]:
    def open_dataset(spec: DatasetSpec) -> Any:
        return files if spec.schema is None else small_table("A")

    custodian = Custodian(
        parsed,
        open_dataset=open_dataset,
        releases=Releases(parsed.privacy, parsed.output, epsilon_micro=parsed.epsilon_micro),
        check_lease=lambda: None,
    )
    with Sandbox.start() as sandbox:
        return custodian.serve(sandbox)


def test_an_analysis_reads_the_files_of_a_folder_by_name_and_in_order(tmp_path: Path) -> None:
    """In memory, over several parts; the tar itself is not the analysis' business."""
    source = tmp_path / "notes"
    (source / "a").mkdir(parents=True)
    rows = [json.dumps({"id": 1000 + number, "sex": "F" if number % 2 else "M"}) for number in range(400)]
    (source / "a" / "2.ndjson").write_text("\n".join(rows))
    (source / "b.ndjson").write_bytes(b"x" * 9_000_011)
    out = io.BytesIO()
    pack(listing(source), out)
    parsed = rendered(tmp_path, kind="files")
    assert parsed.datasets[1].columns == () and parsed.datasets[1].plain()["kind"] == "files"
    (women, _) = run(parsed, sealed_tar(tmp_path, out.getvalue()))["people"]["groups"]
    assert (
        abs(women["people"] - 150) < 40
    )  # 300 of the 400 are in the table of hospital A, half of them women


def broken(case: str, folder: Path) -> bytes:
    """A folder with one file, and something wrong."""
    (folder / "notes").mkdir()
    (folder / "notes" / "a").write_text("one")
    out = io.BytesIO()
    pack(listing(folder / "notes"), out)
    tar = out.getvalue()
    return {
        "no tar": b"no tar at all" * 1000,
        "no end": tar[:1024],
        "more than an end": tar + b"x" * 512,
        "something behind a file": tar.replace(b"one\0", b"one!"),
    }[case]


@pytest.mark.parametrize("case", ["no tar", "no end", "more than an end", "something behind a file"])
def test_a_folder_that_is_none_ends_the_run(case: str, tmp_path: Path) -> None:
    """With its own code, whichever part of the memory was looked at when it showed."""
    with pytest.raises(SealError) as caught:
        run(rendered(tmp_path, kind="files"), sealed_tar(tmp_path, broken(case, tmp_path)))
    assert caught.value.code == "folder-malformed"


@pytest.mark.parametrize("dataset", [{"kind": "tables"}, {"kind": "files", "schema": "cohort"}, {}])
def test_a_dataset_is_of_a_schema_or_files(tmp_path: Path, dataset: dict[str, str]) -> None:
    with pytest.raises(RecipeError):
        rendered(tmp_path, **dataset)
