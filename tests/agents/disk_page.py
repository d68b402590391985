# SPDX-License-Identifier: Apache-2.0
"""Pages from disk for tests: made by the command, of a lab's study."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result
from tests.agents.office import PASSPHRASE, keystore
from tests.outside import Lab

from sealroom.files import PRIVATE, write_atomic
from sealroom_agents.cli import main


def decide(*arguments: str | Path) -> Result:
    """The command."""
    given = ["decide", *map(str, arguments)]
    return CliRunner(env={"SEALROOM_PASSPHRASE": PASSPHRASE}).invoke(main, given)


def made(lab: Lab, folder: Path, study: bytes, *recipes: bytes, by: int = 0) -> Path:
    """The page of a study, signed by one of anvil's accounts. recipes: further ones."""
    folder.mkdir(parents=True, exist_ok=True)
    lab.chain.mine()  # a head of now
    key, page = folder / "officer.json", folder / "decide.html"
    write_atomic(key, keystore(by).encode(), mode=PRIVATE)
    told: list[str | Path] = ["--page", page, "--consortium", lab.room.consortium, "--rpc", lab.chain.url]
    for number, compose in enumerate((lab.recipe.compose, *recipes)):
        file = folder / f"{number}.json"
        file.write_bytes(compose)
        told += ["--recipe", file]
    result = decide(*told, "--study", "0x" + study.hex(), "--keystore", key, "--yes")
    assert result.exit_code == 0, (result.output, result.exception)
    return page
