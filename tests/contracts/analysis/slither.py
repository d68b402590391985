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
TIME = "A validator may shift a timestamp by seconds; expiries are days away."
ORDER = (
    "The call is to the consortium's one app, after everything that decides (epoch, expiry, votes, "
    "revokers) is written. What is written after it is `_composeHash` alone, which decides nothing but what "
    "`unpin` asks of the app. Revocation.t.sol tries apps that come back in."
)
LISTED = "Bounded: the caller chooses how many lines of the board it reads, or 64 devices at most."
NAMES = (
    "A parameter of an interface has the name of a view. The interface has no code that could confuse them."
)

ANSWERS: dict[tuple[str, str], str] = {
    ("incorrect-equality", "Consortium._checkStudy"): EQUALITY,
    ("incorrect-equality", "Consortium.activeStudy"): EQUALITY,
    ("incorrect-equality", "Consortium.revokedBy"): EQUALITY,
    ("incorrect-equality", "Consortium.state"): EQUALITY,
    ("incorrect-equality", "Ledger._checkAnchorable"): EQUALITY,
    ("incorrect-equality", "Ledger.open"): EQUALITY,
    ("incorrect-equality", "Ledger.verify"): EQUALITY,
    ("incorrect-equality", "Quorum._checkEpoch"): EQUALITY,
    ("incorrect-equality", "Quorum._checkNotWithdrawn"): EQUALITY,
    ("incorrect-equality", "Quorum._countCaller"): EQUALITY,
    ("incorrect-equality", "Quorum._seatIn"): EQUALITY,
    ("incorrect-equality", "Quorum.accounts"): EQUALITY,
    ("divide-before-multiply", "Text.slitherConstructorConstantVariables"): (
        "ONES is the word of 32 bytes 0x01: the division has no remainder."
    ),
    ("unused-return", "Ledger._isSigned"): "What is left out is only more about the error.",
    ("unused-return", "OwnerSignature.isValid"): "What is left out is only more about the error.",
    ("reentrancy-no-eth", "Consortium._revoke"): ORDER,
    ("reentrancy-events", "Consortium._revoke"): ORDER,
    ("reentrancy-benign", "Factory.create"): (
        "The calls are to contracts that this same call deployed. The list is appended to, nothing more."
    ),
    ("reentrancy-events", "Factory.create"): "The calls are to contracts that this same call deployed.",
    ("calls-loop", "Consortium._adoptOrStore"): LISTED,
    ("calls-loop", "Factory._row"): LISTED,
    ("timestamp", "Consortium._checkStudy"): TIME,
    ("timestamp", "Consortium._isLive"): TIME,
    ("timestamp", "Consortium.clearance"): TIME,
    ("timestamp", "Consortium.isLive"): TIME,
    ("timestamp", "Consortium.unpin"): TIME,
    ("shadowing-local", "IConsortium.changeOwners"): NAMES,
    ("shadowing-local", "IConsortium.changeOwnersWithSignatures"): NAMES,
    ("shadowing-local", "IConsortium.hashOwners"): NAMES,
    ("shadowing-local", "IConsortium.hashPlatform"): NAMES,
    ("shadowing-local", "IConsortium.revokeWithSignature"): NAMES,
    ("shadowing-local", "IConsortium.withdrawWithSignature"): NAMES,
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
