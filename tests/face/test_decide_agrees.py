# SPDX-License-Identifier: Apache-2.0
"""The decision room says the same numbers as the command line: twelve words, odds, how exact a field is."""

from __future__ import annotations

import hashlib
import json
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

from sealroom.privacy.kinds import KINDS
from sealroom.privacy.parts import Cost, sampled_of
from sealroom.recipe import Field
from sealroom_agents.studies.expected import EXAMPLE
from sealroom_agents.studies.odds import odds
from sealroom_agents.twelve_words import twelve_words
from tests.enclave.kinds.cases import CASES, EACH
from tests.enclave.kinds.kit import COSTS, GROUPS, spec_of
from tests.face.bundling import ROOT, bundled

LIMIT_S = 600
RECORDS = 4321
EPSILONS = ("0.000001", "0.04", "0.3", "0.5", "1.5", "4.5", "6.9", "7", "9", "20", "64")


def of_page(lines: list[dict[str, Any]], folder: Path) -> list[Any]:
    """The answers of the page's modules."""
    (folder / "asked").write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = ["node", str(bundled(ROOT / "tests/face/decide_corpus.ts", folder)), str(folder / "asked")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def bars_of(field: Field, rows: int) -> list[list[str]]:
    """The preview at `RECORDS` records, as `study explain --registered` foretells it."""
    cells = 1
    for name in field.columns.groups:
        cells *= len(GROUPS[name])
    each = max(RECORDS * rows // cells, 1)
    found = []
    for bar in field.preview(rows):
        example = EXAMPLE.search(bar.about)
        half = bar.half_width if example is None else bar.half_width * 1000 / each
        about = bar.about if example is None else bar.about.replace("1,000", f"{each:,}", 1)
        found.append([about, f"{half:.3g}"])
    return found


def test_page_and_command_line_say_the_same(tmp_path: Path) -> None:
    """WE-01, WE-09: both sides of the cross-check code, the odds to the last tenth, each closed form."""
    asked: list[dict[str, Any]] = []
    told: list[Any] = []
    for seed in (b"", b"a", b"b"):
        id_ = hashlib.sha256(seed).digest()
        asked.append({"id": "0x" + id_.hex()})
        told.append(list(twelve_words(id_)))
    asked.append({"id": "0x" + "ff" * 32})
    told.append(["zoo"] * 12)
    for epsilon in map(Decimal, EPSILONS):
        for pico in (0, 1, 10**6, 10**8):
            asked.append({"epsilonMicro": str(int(epsilon * 10**6)), "deltaPico": str(pico)})
            bound = odds(epsilon, Decimal(pico) / 10**12).right
            told.append("more than 99.9" if bound > Decimal("99.9") else str(bound))
    closed = set()
    for name, law in EACH:
        kind, members = KINDS[CASES[name].kind], CASES[name].members
        if kind.of_blocks:
            continue
        spec = spec_of(kind, members)
        for rows in (1, 3):
            cost = Cost(law=law, amount=COSTS[law].amount, sampled=sampled_of(kind.parts(spec, law)))
            field = Field(name="f", kind=kind, spec=spec, cost=cost)
            asked.append({"field": field.plain(), "groups": GROUPS, "rows": rows, "records": RECORDS})
            told.append(bars_of(field, rows) if kind.closed else None)
            closed |= {kind.name} if kind.closed else set()
    assert closed == {name for name, kind in KINDS.items() if kind.closed}
    for line, mine, page in zip(asked, told, of_page(asked, tmp_path), strict=True):
        assert page == mine, line
