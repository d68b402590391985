# SPDX-License-Identifier: Apache-2.0
"""Studies to start from: small ones that pass `check` and `dry-run` as they are."""

from __future__ import annotations

from pathlib import Path

from sealroom.codes import Code
from sealroom.recipe.recipe import ANALYSIS_FILE, STUDY_FILE
from sealroom.schema.names import STUDY_NAME, STUDY_NAME_WORDS
from sealroom_agents.errors import ToolError
from sealroom_agents.released import LOCAL_IMAGE, Release, published

FOLDER = Path(__file__).parent / "templates"
TEMPLATES = {
    "cohort": "counts, means and quantiles by group, by SQL",
    "survival": "survival curves and hazard ratios by group, by SQL",
    "model": "a logistic model and a small network, by SQL",
    "vector": "means of many columns at once, such as variants, by SQL",
    "blocks": "any Python, over one block of people at a time",
    "reading": "any Python over all rows, which owners have to read",
}
"""What each is, in order."""
OWNERS_FILE = "owners.json"
README_FILE = "README.md"


def write_study(folder: Path, template: str, release: Release | None = None) -> list[Path]:
    """Write a study named as its folder; returns its files. Raises `ToolError`.

    Nothing is overwritten: the folder is new or empty. `release` names the enclave's image; without one it is
    that of this version, and a word for local rooms alone where none was published.
    """
    name = folder.resolve().name
    if not STUDY_NAME.fullmatch(name):
        raise ToolError(Code.STUDY_NAME, f"{name!r} is no name of a study", f"use {STUDY_NAME_WORDS}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ToolError(Code.OUTPUT_EXISTS, f"{folder} is there already", "take another name")
    study = (FOLDER / template / STUDY_FILE).read_text()
    question = next(line for line in study.splitlines() if line.startswith("question: "))
    texts = {
        STUDY_FILE: _with_image(study, release or published()).replace("name: NAME\n", f"name: {name}\n", 1),
        OWNERS_FILE: (FOLDER / OWNERS_FILE).read_text(),
        README_FILE: (FOLDER / README_FILE)
        .read_text()
        .replace("QUESTION", question.removeprefix("question: "))
        .replace("NAME", name),
    }
    script = FOLDER / template / ANALYSIS_FILE
    if script.exists():
        texts[ANALYSIS_FILE] = script.read_text()
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (folder / file).write_text(text)
    return [folder / file for file in texts]


def _with_image(study: str, release: Release | None) -> str:
    if release is None:
        image, about = (
            LOCAL_IMAGE,
            "This one is none: it runs in local rooms alone, until a release names one.",
        )
    else:
        image, about = release.images["enclave"].reference, f"This one is of release {release.release}."
    return study.replace("ABOUT_IMAGE\n", f"{about}\n", 1).replace("image: IMAGE\n", f"image: {image}\n", 1)
