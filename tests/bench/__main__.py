# SPDX-License-Identifier: Apache-2.0
"""``make bench``: each hot path beside a named peer, in one run on this machine.

Every figure is a median over interleaved rounds. What counts is the ratio: absolute times are the machine's.
A peer that is not installed is said to be missing, never guessed.

    python -m tests.bench [NAME …]         all that `BENCHES` names, or these
    python -m tests.bench gate/releases    one part of a benchmark that has parts
"""

from __future__ import annotations

import importlib
import signal
import sys

BENCHES = (
    "sealing",
    "relation",
    "gate",
    "console",
    "following",
    "gas",
    "revocation",
    "sandbox",
    "training",
    "transfer",
    "utility",
)


def main(names: list[str]) -> int:
    # Told to end, it ends what it started, and removes what it wrote.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    unknown = {name.partition("/")[0] for name in names} - set(BENCHES)
    if unknown:
        print(f"error: no benchmark called {', '.join(sorted(unknown))}", file=sys.stderr)
        print(f"hint: choose among {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    for name in names or BENCHES:
        print(f"\n## {name}\n", flush=True)
        bench, _, part = name.partition("/")
        # Late: a child's peak memory is never below what its parent held when it forked.
        module = importlib.import_module(f"tests.bench.{bench}")
        if part and part not in getattr(module, "PARTS", ()):
            print(f"error: benchmark {bench} has no part {part}", file=sys.stderr)
            print(f"hint: {', '.join(getattr(module, 'PARTS', ())) or 'it has none'}", file=sys.stderr)
            return 2
        for line in module.run(part) if part else module.run():
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
