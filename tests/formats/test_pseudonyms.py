# SPDX-License-Identifier: Apache-2.0
"""Pseudonyms: what the page says, by other tools; and that they meet, or not, as it says."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest

from sealroom.keys import Secret
from sealroom.schema import parse_type
from sealroom_agents.owner.prepare.collisions import Collisions
from sealroom_agents.owner.prepare.pseudonyms import (
    MAX_ID_BYTES,
    Pseudonyms,
    Tags,
    fingerprint,
    id_texts,
    spelt,
    study_key,
)
from sealroom_agents.owner.tables.csv_cells import CellError
from tests.patience import PATIENCE_S
from tests.vectors.vector import cases, read

PAGE = Path(__file__).parents[2] / "enclave" / "spec" / "pseudonyms.md"
RUN = Path(__file__).parent / "second_decoder" / "pseudonyms.mjs"
NUMBER, TEXT = parse_type("int64", column="x"), parse_type("string", column="x")
KEY = Secret(bytes(range(32)))


def made(*ids: str | None, key: Secret = KEY, study: str = "s", of: str = "person") -> list[int | None]:
    found, _ = Pseudonyms(study_key(key, study=study, of=of), NUMBER).of(pa.array(ids, pa.string()))
    values: list[int | None] = found.to_pylist()
    return values


def test_a_second_implementation_agrees_on_every_vector() -> None:
    """Written from the page alone, in Node."""
    paths = cases("pseudonym")
    done = subprocess.run(
        ["node", str(RUN), *map(str, paths)], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    for path, line in zip(paths, done.stdout.splitlines(), strict=True):
        fields = read(path).fields
        assert json.loads(line) == {name: fields[name] for name in ("fingerprint", "int64", "string")}


def test_the_pages_example_prints_what_the_page_says() -> None:
    """By openssl and a shell."""
    page = PAGE.read_text()
    block = re.search(r"```sh\n(.+?)```", page, re.DOTALL)
    said = re.search(r"as a text, `([0-9a-f]{32})`.+?\nare it as a number, `([0-9]+)`", page, re.DOTALL)
    assert block is not None and said is not None
    done = subprocess.run(["bash", "-c", block[1]], capture_output=True, text=True, timeout=PATIENCE_S)

    assert done.stdout[:32] == said[1]
    assert int(done.stdout[:16], 16) % 2**63 == int(said[2])


def test_a_pseudonym_depends_on_id_key_study_and_kind() -> None:
    """OP-15."""
    assert made("17", "17", None) == [made("17")[0], made("17")[0], None]
    others = [
        made("18"),
        made("17", key=Secret(b"k" * 32)),
        made("17", study="t"),
        made("17", of="ward"),
        # Labels are fields of their own.
        made("17", study="sperson", of="x"),
        made("17", study="s", of="personx"),
    ]
    assert len({values[0] for values in (made("17"), *others)}) == len(others) + 1
    assert fingerprint(KEY) != fingerprint(Secret(b"k" * 32))


def test_whole_numbers_and_their_digits_are_one_id() -> None:
    numbers = id_texts(pa.array([17, None, -3], pa.int16()), parse_type("int16", column="x"))
    assert spelt(numbers, ()).to_pylist() == ["17", None, "-3"]


def test_an_id_of_which_nothing_is_left_is_refused_with_its_place() -> None:
    assert spelt(pa.array(["a1", "", None]), ("digits-only",)).to_pylist() == ["1", None, None]
    with pytest.raises(CellError) as error:
        spelt(pa.array(["a1", "", None, "unknown"]), ("digits-only",))
    assert error.value.index == 3 and "unknown" not in error.value.reason
    with pytest.raises(CellError) as error:
        spelt(pa.array(["9" * MAX_ID_BYTES, "9" * (MAX_ID_BYTES + 1)]), ())
    assert error.value.index == 1


def test_two_ids_of_one_number_are_counted_whatever_batch_they_are_in(tmp_path: Path) -> None:
    def tags(*pairs: tuple[int, int]) -> Tags:
        return Tags(pa.array([p for p, _ in pairs], pa.int64()), pa.array([r for _, r in pairs], pa.uint64()))

    top = 2**63 - 1
    with Collisions(tmp_path) as found:
        found.add(tags((0, 1), (top, 2**64 - 1), (5, 5)))
        found.add(tags((0, 1), (5, 5)))
        assert found.count() == (3, 0)
        found.add(tags((top, 3), (7, 7)))
        assert found.count() == (5, 1)
    assert not list(tmp_path.iterdir())


def test_many_ids_lie_in_files_without_a_name_and_are_counted_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealroom_agents.owner.prepare.collisions._IN_MEMORY_BYTES", 64)
    hashes = Pseudonyms(study_key(KEY, study="s", of="person"), NUMBER)
    with Collisions(tmp_path) as found:
        for start in range(0, 5000, 500):
            _, tags = hashes.of(pa.array([str(number) for number in range(start, start + 1000)]))
            assert tags is not None
            found.add(tags)
        assert not list(tmp_path.iterdir())
        assert found.count() == (5500, 0)


def test_texts_need_no_count() -> None:
    found, tags = Pseudonyms(study_key(KEY, study="s", of="person"), TEXT).of(pa.array(["17"]))
    assert tags is None and re.fullmatch("[0-9a-f]{32}", found[0].as_py())
