# SPDX-License-Identifier: Apache-2.0
"""owners.json, where a study has one: who is in the consortium."""

from __future__ import annotations

import json
from pathlib import Path

from sealroom.codes import Code
from sealroom.model import REGIMES
from sealroom.recipe import Recipe
from sealroom.spelling import nearest
from sealroom_agents.studies.checking.findings import Findings
from sealroom_agents.studies.positions import Place

OWNERS_FILE = "owners.json"


def owners(folder: Path, recipe: Recipe, findings: Findings) -> None:
    """owners.json, if there is one: who is in the consortium."""
    path = folder / OWNERS_FILE
    if not path.exists():
        return
    place = Place(OWNERS_FILE)
    try:
        content = json.loads(path.read_text())
        ids = [str(each["id"]) for each in content["owners"]]
        regimes = [str(one) for each in content["owners"] for one in each["regimes"]]
        threshold = int(content["threshold"])
    except (OSError, ValueError, KeyError, TypeError):
        findings.error(
            place, Code.MALFORMED, f"{OWNERS_FILE} has no owners with an id each, and a threshold",
            "compare it with that of a new study: sealroom study new",
        )  # fmt: skip
        return
    for owner in dict.fromkeys(spec.owner for spec in recipe.datasets if spec.owner not in ids):
        near = nearest(owner, ids)
        findings.error(
            place, Code.OWNER_UNKNOWN, f"{owner} owns a dataset, and is none of the owners in {OWNERS_FILE}",
            f"did you mean {near}?" if near else f"owners are {', '.join(ids)}",
        )  # fmt: skip
    for regime in dict.fromkeys(regimes):
        if regime not in REGIMES:
            findings.error(
                place, Code.MALFORMED, f"{regime!r} is no regime that a contract knows",
                f"known are {', '.join(REGIMES)}",
            )  # fmt: skip
    if not 0 < threshold <= len(ids):
        findings.error(
            place, Code.OWNER_UNKNOWN, f"a threshold of {threshold} of {len(ids)} owners", "lower it"
        )
