# SPDX-License-Identifier: Apache-2.0
"""The command behind ``make study``."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from sealroom.recipe import Recipe, parse, render
from sealroom_agents.errors import DemoError
from sealroom_agents.fullsize.answers import Answers
from sealroom_agents.fullsize.compare import Beside, beside

CHECKOUT = Path(__file__).resolve().parents[3]
STUDIES = CHECKOUT / "enclave" / "studies"
GENERATOR = "cohort.py"


@click.command()
@click.argument("name")
@click.option("--scale", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--dir", "cache", type=click.Path(path_type=Path), default=CHECKOUT / ".build" / "studies")
@click.option(
    "--way", type=click.Choice(["whole", "plain"]), hidden=True, help="One of the two ways, in this process."
)
def command(name: str, scale: float, seed: int, cache: Path, way: str | None) -> None:
    """Run the study NAME on made-up data, and put its result beside the one without privacy.

    The files are made once for a scale and a seed, and kept. Then the study runs twice, each time in a
    process of its own: as in an enclave, from sealed files through the sandbox and the noise; and in plain
    DuckDB, pandas and scikit-learn. Result, picture and figures are written beside the files.
    """
    study = STUDIES / name
    if not (study / GENERATOR).is_file():
        known = sorted(path.parent.name for path in STUDIES.glob(f"*/{GENERATOR}"))
        raise DemoError(f"there is no study {name} with made-up data", hint=f"one of {', '.join(known)}")
    recipe = parse(render(study))
    digest = hashlib.sha256((study / GENERATOR).read_bytes()).hexdigest()[:8]
    folder = cache / name / f"{scale:g}-{seed}-{digest}"
    if way is not None:
        _one(way, recipe, folder)
        return
    _files(study, recipe, folder, scale, seed)
    click.echo(f"{name} at scale {scale:g}: {_rows(recipe, folder):,} rows of {_owners(recipe)} owners")
    for each in ("whole", "plain"):
        arguments = ["--scale", str(scale), "--seed", str(seed), "--dir", str(cache), "--way", each]
        subprocess.run([sys.executable, "-m", "sealroom_agents.fullsize", name, *arguments], check=True)
    ran, told = _load(folder, "whole"), _load(folder, "plain")
    answers: dict[str, Answers] = {
        field: {(table, number, tuple(labels)): value for table, number, labels, value in rows}
        for field, rows in told["answers"].items()
    }
    plain = told["figures"]
    found = beside(recipe, ran["fields"], answers)
    _write(folder, recipe, ran, plain, found, scale)
    for one in found:
        click.echo("\n".join(one.lines()))
    click.echo()
    click.echo("\n".join(_took(ran, plain)))
    click.echo(f"result, picture and figures: {folder}")


def _files(study: Path, recipe: Recipe, folder: Path, scale: float, seed: int) -> None:
    """The owners' files, plain and sealed, unless they are there."""
    from sealroom_agents.fullsize.whole import seal_dataset

    if not all(_plain(folder, spec.path).is_file() for spec in recipe.datasets):
        click.echo("making data up …", err=True)
        size = ["--scale", f"{scale:g}", "--seed", str(seed)]
        subprocess.run(
            [sys.executable, study / GENERATOR, "--out", folder, *size],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    for spec in recipe.datasets:
        if not (folder / spec.path).is_file():
            click.echo(f"sealing {spec.path} …", err=True)
            seal_dataset(_plain(folder, spec.path), folder / spec.path, spec.name)


def _plain(folder: Path, path: str) -> Path:
    return (folder / path).with_suffix(".parquet")


def _rows(recipe: Recipe, folder: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(_plain(folder, spec.path)).num_rows for spec in recipe.datasets)


def _owners(recipe: Recipe) -> int:
    return len({spec.owner for spec in recipe.datasets})


def _one(way: str, recipe: Recipe, folder: Path) -> None:
    """One way in this process; what it gave goes to a file."""
    if way == "whole":
        from sealroom_agents.fullsize import whole

        ran = whole.run(recipe, {spec.path: folder / spec.path for spec in recipe.datasets})
        found: Any = {**vars(ran), "figures": ran.figures.plain()}
    else:
        from sealroom_agents.fullsize import plain

        files = {spec.path: _plain(folder, spec.path) for spec in recipe.datasets}
        answers, figures = plain.run(recipe, files, _load(folder, "whole")["fields"])
        rows = {name: [[*key, value] for key, value in each.items()] for name, each in answers.items()}
        found = {"answers": rows, "figures": figures.plain()}
    (folder / f"{way}.json").write_text(json.dumps(found))


def _load(folder: Path, way: str) -> Any:
    """What a way gave."""
    return json.loads((folder / f"{way}.json").read_text())


def _took(ran: dict[str, Any], plain: dict[str, float]) -> list[str]:
    """What both ways took, as a table."""
    whole = ran["figures"]
    inside = whole["cpu"] - ran["opening"]
    return [
        f"{'':<34}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}{'of plain':>10}",
        f"{'without privacy':<34}{plain['cpu']:8.1f}{plain['wall']:8.1f}{plain['peak'] / 1e6:9.0f}{1:10.2f}",
        f"{'whole enclave':<34}{whole['cpu']:8.1f}{whole['wall']:8.1f}{whole['peak'] / 1e6:9.0f}"
        f"{whole['cpu'] / plain['cpu']:10.2f}",
        f"{'  of it opening the sealed files':<34}{ran['opening']:8.1f}",
        f"{'  of it sums, noise and values':<34}{ran['releasing']:8.1f}",
        f"{'  all but opening':<34}{inside:8.1f}{'':17}{inside / plain['cpu']:10.2f}",
        f"{ran['people']:,} people in the relation; admitted for {ran['estimate'] / 1e6:,.0f} MB;"
        f" {os.cpu_count()} cores, {platform.machine()}",
    ]


def _write(
    folder: Path,
    recipe: Recipe,
    ran: dict[str, Any],
    plain: dict[str, float],
    found: list[Beside],
    scale: float,
) -> None:
    from sealroom.recipe.result import build_result
    from sealroom_agents.plots.figure import drawn

    told = {
        "scale": scale,
        "result": build_result(ran["fields"], recipe),
        "beside": [one.plain() for one in found],
        "people": ran["people"],
        "whole": {**ran["figures"], "opening": ran["opening"], "releasing": ran["releasing"]},
        "admitted_for": ran["estimate"],
        "plain": plain,
    }
    (folder / "result.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    (folder / "result.svg").write_text(drawn(recipe, ran["fields"]))
