# SPDX-License-Identifier: Apache-2.0
"""What is certain to fail in a study, and what is likely to: all of it at once, each with its line.

Each section of study.yaml is judged by the reader that rendering uses, one after another, so that one fault
hides no other; at the end the study is rendered, so that nothing is missed. What rendering does not look at
comes on top: imports that the image has not, names in a script that the recipe does not declare, labels that
the SQL never gives, groups too small to be told, time too short.
"""

from __future__ import annotations

from pathlib import Path

from sealroom.recipe.recipe import STUDY_FILE
from sealroom_agents.studies.checking import queries, scripts
from sealroom_agents.studies.checking.consortium import owners
from sealroom_agents.studies.checking.findings import Finding, Findings
from sealroom_agents.studies.checking.sections import StudyFile
from sealroom_agents.studies.checking.sizes import sizes


def check(folder: Path, *, people: int | None = None, rows: int | None = None) -> list[Finding]:
    """All findings, those that are certain first, in order of their places.

    `people` of all owners together, `rows` of all datasets: where they are known, sizes and times are judged.
    """
    findings = Findings()
    study = StudyFile(folder, findings)
    if study.content is not None:
        study.sections()
    recipe = study.rendered()
    if recipe is not None:
        scripts.names(recipe, findings)
        queries.labels(recipe, study.positions, findings)
        sizes(recipe, study.positions, findings, people, rows)
        owners(folder, recipe, findings)
    return sorted(
        findings.found,
        key=lambda each: (not each.certain, each.place.file != STUDY_FILE, each.place.line or 0),
    )
