# SPDX-License-Identifier: Apache-2.0
"""``make bench``: each hot path beside a named peer, in one run on this machine.

Every figure is a median over interleaved rounds. What counts is the ratio: absolute times are the machine's.
A peer that is not installed is said to be missing, never guessed.

    python -m tests.bench [sealing|relation|gate|console|gas|revocation|sandbox|training|utility …]
"""

from __future__ import annotations

import importlib
import sys

BENCHES = ("sealing", "relation", "gate", "console", "gas", "revocation", "sandbox", "training", "utility")


def main(names: list[str]) -> int:
    unknown = set(names) - set(BENCHES)
    if unknown:
        print(f"error: no benchmark called {', '.join(sorted(unknown))}", file=sys.stderr)
        print(f"hint: choose among {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    for name in names or BENCHES:
        print(f"\n## {name}\n", flush=True)
        # Late: a child's peak memory is never below what its parent held when it forked.
        for line in importlib.import_module(f"tests.bench.{name}").run():
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
