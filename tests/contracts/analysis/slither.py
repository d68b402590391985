# SPDX-License-Identifier: Apache-2.0
"""Runs Slither over the contracts, and compares what it finds with the answers below.

    python tests/contracts/analysis/slither.py

Each finding of impact high, medium or low has an answer here: where it is and why it stands. Exit status 1
for a finding without an answer, and for an answer without a finding: the table is neither short nor stale.
Informational findings (naming, low-level calls) are not listed: `forge lint` has its own rules for style.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
VERSION = "0.11.6"
LIMIT_S = 600
IMPACTS = ("High", "Medium", "Low")

EQUALITY = (
    "The rule is about balances and times that somebody else can move by a little. These are ids, bits and "
    "counters, for which exactly equal is what is meant; a time lies in the same struct."
)
TIME = "A validator may shift a timestamp by seconds; expiries, notices and budgets of a day are days away."
ORDER = (
    "The call is to the consortium's one app, after everything that decides (standing, votes, vetoes) is "
    "written. What is written after it is `_composeHash`, which decides nothing but what the app is asked to "
    "drop, and the block and number of an event. Revocation.t.sol tries apps that come back in."
)
FRESH = "The calls are to contracts that this same call deployed. The list is appended to, nothing more."
LISTED = "Bounded: the caller chooses how many lines of the board it reads, or 64 devices at most."
HOLDERS = "Bounded: 64 datasets at most, each asked of the one ledger."
READS = "A view; the caller chooses how much it asks, and each row has its share of gas."
MORE_ERROR = "What is left out is only more about the error."
COMPOSE_HASH = "What is left out is the compose hash, which the board does not show."
MEMBERS = "It begins as all zero, and its members are filled in one after the other."

ANSWERS: dict[tuple[str, str], str] = {
    ("incorrect-equality", "Consortium._checkStudy"): EQUALITY,
    ("incorrect-equality", "Consortium._settle"): EQUALITY,
    ("incorrect-equality", "Consortium.approve"): EQUALITY,
    ("incorrect-equality", "Consortium.fate"): EQUALITY,
    ("incorrect-equality", "Ledger.anchor"): EQUALITY,
    ("incorrect-equality", "Ledger.verify"): EQUALITY,
    ("incorrect-equality", "Quorum._count"): EQUALITY,
    ("incorrect-equality", "Quorum._followed"): EQUALITY,
    ("incorrect-equality", "Quorum._store"): EQUALITY,
    ("incorrect-equality", "Quorum._votesOf"): EQUALITY,
    ("incorrect-equality", "Quorum._withdraw"): EQUALITY,
    ("incorrect-equality", "Quorum.removeSilent"): EQUALITY,
    ("incorrect-equality", "Quorum.votes"): EQUALITY,
    ("incorrect-equality", "Registry._purse"): EQUALITY,
    ("incorrect-equality", "Seats._join"): EQUALITY,
    ("incorrect-equality", "Seats._lift"): EQUALITY,
    ("incorrect-equality", "Seats._seatedBit"): EQUALITY,
    ("incorrect-equality", "Seats.accountsAt"): EQUALITY,
    ("incorrect-equality", "Seats.owners"): EQUALITY,
    ("unused-return", "Factory._row"): COMPOSE_HASH,
    ("unused-return", "Ledger._isSigned"): MORE_ERROR,
    ("unused-return", "OwnerSignature.isValid"): MORE_ERROR,
    ("uninitialized-local", "Ledger.open"): MEMBERS,
    ("reentrancy-no-eth", "Consortium._clear"): ORDER,
    ("reentrancy-no-eth", "Consortium._pin"): ORDER,
    ("reentrancy-no-eth", "Factory.create"): FRESH,
    ("reentrancy-benign", "Consortium._clear"): ORDER,
    ("reentrancy-benign", "Factory.create"): FRESH,
    ("reentrancy-events", "Consortium._clear"): ORDER,
    ("reentrancy-events", "Factory.create"): FRESH,
    ("calls-loop", "Consortium.addMachines"): LISTED,
    ("calls-loop", "Consortium.adoptPlatform"): LISTED,
    ("calls-loop", "Consortium.requiredSeats"): HOLDERS,
    ("calls-loop", "Factory._row"): LISTED,
    ("calls-loop", "Lens._dataset"): READS,
    ("calls-loop", "Lens.look"): READS,
    ("calls-loop", "Lens.row"): READS,
    ("timestamp", "Consortium._checkStudy"): TIME,
    ("timestamp", "Consortium._isLive"): TIME,
    ("timestamp", "Consortium._revoke"): TIME,
    ("timestamp", "Consortium._settle"): TIME,
    ("timestamp", "Consortium.addMachines"): TIME,
    ("timestamp", "Consortium.approve"): TIME,
    ("timestamp", "Consortium.fate"): TIME,
    ("timestamp", "Consortium.revokeWithSignature"): TIME,
    ("timestamp", "Consortium.unpin"): TIME,
    ("timestamp", "Ledger._claim"): TIME,
    ("timestamp", "Ledger._refusal"): TIME,
    ("timestamp", "Ledger.anchor"): TIME,
    ("timestamp", "Ledger.verify"): TIME,
    ("timestamp", "Quorum._checkExpiry"): TIME,
    ("timestamp", "Quorum.removeSilent"): TIME,
    ("timestamp", "Registry._purse"): TIME,
    ("timestamp", "Registry.accept"): TIME,
    ("timestamp", "Seats.acceptSeat"): TIME,
}
"""By rule and place: why the finding stands."""


def main() -> int:
    findings = [entry for entry in slither() if entry["impact"] in IMPACTS]
    places = Counter((entry["check"], place(entry)) for entry in findings)
    unanswered = [entry for entry in findings if (entry["check"], place(entry)) not in ANSWERS]
    for entry in unanswered:
        print(
            f"{entry['impact'].lower()}: {entry['check']} in {place(entry)}\n  {entry['description'].strip()}"
        )
    stale = sorted(set(ANSWERS) - set(places))
    for check, where in stale:
        print(f"stale: the answer to {check} in {where} meets no finding")
    counts = Counter(entry["impact"] for entry in findings)
    shown = ", ".join(f"{counts[impact]} {impact.lower()}" for impact in IMPACTS)
    print(f"slither {VERSION}: {shown}; {len(unanswered)} unanswered, {len(stale)} stale")
    return 1 if unanswered or stale else 0


def place(entry: dict[str, Any]) -> str:
    """`Contract.function` of a finding."""
    for element in entry["elements"]:
        if element["type"] in ("function", "contract"):
            return ".".join([*parent(element), element["name"]])
        if element["type"] == "variable":
            inside = element["type_specific_fields"]["parent"]
            return ".".join([*parent(inside), inside["name"]])
    return "?"


def parent(element: dict[str, Any]) -> list[str]:
    inside = element.get("type_specific_fields", {}).get("parent", {})
    return [inside["name"]] if inside.get("type") == "contract" else []


def slither() -> list[dict[str, Any]]:
    """All findings. Slither cleans the build folder of the project it looks at, so it gets a copy."""
    found = subprocess.run(
        ["bash", "-c", f'source "{Path(__file__).parent}/tool.sh"; tool slither-analyzer {VERSION}'],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    command = Path(found.stdout.strip()) / "slither"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "contracts", copy / "contracts")
        for name in ("node_modules", ".venv"):
            (copy / name).symlink_to(ROOT / name)
        settings = (ROOT / "foundry.toml").read_text().split("[profile.symbolic]")[0]
        kept = [
            line for line in settings.splitlines() if not line.startswith(("additional_", "compilation_"))
        ]
        (copy / "foundry.toml").write_text("\n".join(kept) + "\n")
        report = copy / "report.json"
        done = subprocess.run(
            [command, ".", "--exclude-dependencies", "--filter-paths", "node_modules", "--json", report],
            cwd=copy,
            env=os.environ | {"PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        if not report.exists():
            sys.exit(f"error: slither wrote no report\n{done.stderr[-2000:]}")
        answer = json.loads(report.read_text())
    if not answer["success"]:
        sys.exit(f"error: slither failed: {answer['error']}")
    return list(answer["results"].get("detectors", []))


if __name__ == "__main__":
    sys.exit(main())
