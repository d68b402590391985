# SPDX-License-Identifier: Apache-2.0
"""Breaks the contracts one small way at a time, and tells which breaks no Solidity test notices.

    python -m tests.contracts.mutation                    a sample, as large as 15 minutes of one core allow
    python -m tests.contracts.mutation --all              all mutants
    python -m tests.contracts.mutation --only Quorum      those of one source
    python -m tests.contracts.mutation --survivors        only those that survived last time

Works on a copy under .build/mutation. The contracts are compiled there by the older, faster pipeline without
optimiser; the tests are those that `forge test` runs, without walks and large batches, which take too long to
be run a thousand times. What survives is compared with `equivalent.txt`: mutants that nobody could notice,
each with the reason. The exit status is 1 if another one survived.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from .operators import Mutant, mutants

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
WORK = ROOT / ".build" / "mutation"
REPORT = ROOT / ".build" / "mutation.txt"
SOURCES = (
    "Consortium.sol",
    "Quorum.sol",
    "Seats.sol",
    "Ledger.sol",
    "Registry.sol",
    "Lens.sol",
    "Factory.sol",
    "libraries/ReceiptTree.sol",
    "libraries/OwnerSignature.sol",
    "libraries/Text.sol",
    "libraries/ConsortiumTypes.sol",
)
SUITES = ROOT / "tests" / "contracts"
ELSEWHERE = ("DstackApp", "Invariants", "Parity", "Safe", "Upstream", "UpstreamOwned")
"""Tests of what is not mutated, and walks, which take too long."""
TOO_LONG = "batch_of_1000|batch_of_4096"
BUDGET_S = 15 * 60
"""How long a sample may take."""
TEST_LIMIT_S = 90
"""Some mutants never end. Running this long counts as noticed."""
SEED = 1
"""Of the sample, so that it is the same each time; SEED + 1 draws another."""


@dataclass
class Tally:
    killed: int = 0
    stillborn: int = 0
    """They did not compile, so they count for nothing."""
    survived: list[Mutant] = field(default_factory=list)
    excused: list[Mutant] = field(default_factory=list)

    def score(self) -> str:
        noticeable = self.killed + len(self.survived)
        share = 100 * self.killed / noticeable if noticeable else 0.0
        return (
            f"{self.killed} of {noticeable} killed ({share:.1f} %), {len(self.survived)} survived, "
            f"{len(self.excused)} equivalent, {self.stillborn} did not compile"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.contracts.mutation")
    parser.add_argument("--all", action="store_true", help="all mutants, however long it takes")
    parser.add_argument("--only", default="", help="only sources whose path contains this")
    parser.add_argument("--survivors", action="store_true", help="only those in .build/mutation.txt")
    parser.add_argument("--seed", type=int, default=SEED, help="another sample")
    parser.add_argument("--list", action="store_true", help="print the mutants and stop")
    options = parser.parse_args()

    everything = [m for file in SOURCES for m in mutants(file, (ROOT / "contracts" / file).read_text())]
    chosen = [m for m in everything if options.only in m.file]
    if options.survivors:
        before = set(REPORT.read_text().splitlines())
        chosen = [m for m in chosen if str(m) in before]
    random.Random(options.seed).shuffle(chosen)
    if options.list:
        print("\n".join(map(str, chosen)))
        return 0

    prepare()
    took = time.monotonic()
    if not passes():
        print("error: the tests fail on the contracts as they are", file=sys.stderr)
        return 2
    print(f"{len(everything)} mutants in all; the tests take {time.monotonic() - took:.0f} s", flush=True)

    unbounded = options.all or options.survivors or bool(options.only)
    tally = run(chosen, limit_s=None if unbounded else BUDGET_S)
    tried = tally.killed + tally.stillborn + len(tally.survived) + len(tally.excused)
    print(f"\nsample: {tried} of {len(everything)} mutants (seed {options.seed})\n{tally.score()}")
    REPORT.write_text("".join(f"{mutant}\n" for mutant in tally.survived))
    return 1 if tally.survived else 0


def prepare() -> None:
    """Makes the copy anew, but for what the compiler left, which speeds up the next run."""
    WORK.mkdir(parents=True, exist_ok=True)
    for name in ("contracts", "tests"):
        shutil.rmtree(WORK / name, ignore_errors=True)
    shutil.copytree(ROOT / "contracts", WORK / "contracts")
    tests = WORK / "tests" / "contracts"
    shutil.copytree(ROOT / "tests" / "contracts" / "harness", tests / "harness")
    for suite in SUITES.glob("*.t.sol"):
        if suite.name.removesuffix(".t.sol") not in ELSEWHERE:
            shutil.copy(suite, tests)
    for path in tests.rglob("*.sol"):
        # What needs the contracts themselves would be compiled again for each mutant.
        if re.search(r"from \"(\.\./)*contracts/\w+\.sol\"", path.read_text()) or "Upstream" in path.name:
            path.unlink()
    for name in ("node_modules", ".venv"):
        link = WORK / name
        if not link.is_symlink():
            link.symlink_to(ROOT / name)
    settings = (ROOT / "foundry.toml").read_text().split("[fmt]")[0].split("[profile.symbolic]")[0]
    settings = re.sub(
        r"^(additional_compiler_profiles|compilation_restrictions|skip).*\n", "", settings, flags=re.M
    )
    settings = settings.replace("via_ir = true", "via_ir = false").replace(
        "optimizer = true", "optimizer = false"
    )
    (WORK / "foundry.toml").write_text(settings + "\n[fuzz]\nruns = 24\n")


def passes() -> bool | None:
    """Whether all tests pass; None if it does not compile."""
    command = [str(ROOT / ".venv/bin/forge"), "test", "--fail-fast", "--no-match-test", TOO_LONG]
    try:
        done = subprocess.run(
            command, cwd=WORK, env=os.environ, capture_output=True, text=True, timeout=TEST_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return False
    if "Compiler run failed" in done.stdout + done.stderr:
        return None
    return done.returncode == 0


def run(chosen: list[Mutant], limit_s: float | None) -> Tally:
    excuses = excused()
    tally = Tally()
    began = time.monotonic()
    for mutant in chosen:
        if limit_s is not None and time.monotonic() - began > limit_s:
            break
        path = WORK / "contracts" / mutant.file
        source = path.read_text()
        path.write_text(mutant.apply(source))
        try:
            result = passes()
        finally:
            path.write_text(source)
        if result is None:
            tally.stillborn += 1
        elif not result:
            tally.killed += 1
        elif mutant.key in excuses:
            tally.excused.append(mutant)
        else:
            tally.survived.append(mutant)
            print(f"survived  {mutant}", flush=True)
        tried = tally.killed + tally.stillborn + len(tally.survived) + len(tally.excused)
        if tried % 25 == 0:
            print(f"{tried} tried after {time.monotonic() - began:.0f} s", flush=True)
    return tally


def excused() -> set[str]:
    """The mutants of `equivalent.txt`."""
    lines = (HERE / "equivalent.txt").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


if __name__ == "__main__":
    sys.exit(main())
