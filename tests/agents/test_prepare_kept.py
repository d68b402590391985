# SPDX-License-Identifier: Apache-2.0
"""The declared file of a prepared dataset appears with its key or not at all; a later version finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealroom_agents.errors import ToolError
from sealroom_agents.owner.prepare.kept import newest_kept
from sealroom_agents.owner.staging import Outputs, Staging, recover


def outputs(folder: Path) -> Outputs:
    return Outputs(
        sealed=folder / "sealed" / "a.tar",
        key=folder / "keys" / "a.key",
        registration=folder / "sealed" / "a.json",
    )


def make(staging: Staging) -> None:
    for path in (staging.sealed, staging.key, staging.registration, staging.prepare):
        path.write_bytes(path.name.encode())


def test_all_four_appear_together(tmp_path: Path) -> None:
    out = outputs(tmp_path)
    with Staging(out) as staging:
        make(staging)
        assert not out.prepare.exists()
        staging.publish()
    assert out.prepare == tmp_path / "keys" / "a.prepare.toml" and out.prepare.is_file()
    assert all(path.is_file() for path in out.all)
    assert not [path for path in tmp_path.rglob(".*")]


@pytest.mark.parametrize("there", ["prepare", "sealed"])
def test_one_that_appeared_meanwhile_stays_and_none_of_ours_does(tmp_path: Path, there: str) -> None:
    out = outputs(tmp_path)
    with pytest.raises(ToolError) as error, Staging(out) as staging:
        make(staging)
        getattr(out, there).write_bytes(b"another's")
        staging.publish()
    assert error.value.code == "output-exists"
    assert getattr(out, there).read_bytes() == b"another's"
    assert [path for path in (*out.all, out.prepare) if path.exists()] in (
        [getattr(out, there)],
        # An older registration may be replaced, and says nothing of a key.
        [getattr(out, there), out.registration],
    )


def test_what_a_killed_run_put_in_place_is_removed_by_the_next(tmp_path: Path) -> None:
    out = outputs(tmp_path)
    with Staging(out) as staging:
        make(staging)
        for made, target in ((staging.key, out.key), (staging.prepare, out.prepare)):
            target.write_bytes(made.read_bytes())
        left = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for path, content in left.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    recover(out)
    assert not out.key.exists() and not out.prepare.exists()


def test_a_later_version_finds_the_newest_before_it(tmp_path: Path) -> None:
    assert newest_kept(tmp_path / "none", "a", below=2) is None
    for name in (
        "a.prepare.toml",
        "a.v3.prepare.toml",
        "a.v12.prepare.toml",
        "ab.v2.prepare.toml",
        "a.v02.prepare.toml",
    ):
        (tmp_path / name).touch()
    found = [newest_kept(tmp_path, "a", below=version) for version in (1, 2, 3, 4, 12, 13)]
    names = ["a.prepare.toml"] * 2 + ["a.v3.prepare.toml"] * 2 + ["a.v12.prepare.toml"]
    assert [None if path is None else path.name for path in found] == [None, *names]
