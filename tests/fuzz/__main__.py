# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of all decoders, each in a process of its own: `python -m tests.fuzz [TARGET...]`.

    python -m tests.fuzz                       all targets, five minutes together
    python -m tests.fuzz --seconds 60          one minute together
    python -m tests.fuzz recipe --seconds 600  one of them for long
    python -m tests.fuzz --list

What makes a target fail is kept in `.build/fuzz/crashes/`; `python -m tests.fuzz TARGET --again FILE` runs it
once more. Inputs that reached something new are kept in `.build/fuzz/`, and the next run begins with them.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".build" / "fuzz"
DEFAULT_SECONDS = 300
INPUT_SECONDS = 10
"""How long one input may take."""
MEMORY_MB = 2048
MAX_INPUT = 64 * 1024
INSTRUMENTED = [
    "sealroom",
    "sealroom_agents.attestation.gpu",
    "sealroom_agents.owner",
    "pydicom",
    "rfc8785",
    "yaml",
]


def main() -> int:
    """Run targets one after another; 0 when none failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=DEFAULT_SECONDS, help="for all targets together")
    parser.add_argument("--list", action="store_true", help="name the targets and stop")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run one input and stop")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        return _fuzz(options.targets[0], options.seconds)

    from tests.fuzz.targets import TARGETS

    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown or (options.again and len(options.targets) != 1):
        return _refuse(f"no target {', '.join(unknown)}" if unknown else "--again takes one target")
    if options.list:
        print("\n".join(TARGETS))
        return 0
    if options.again:
        TARGETS[options.targets[0]].run(options.again.read_bytes())
        return 0
    try:
        import atheris  # type: ignore[import-untyped,unused-ignore] # noqa: F401
    except ImportError:
        print("error: atheris is not installed", file=sys.stderr)
        print("hint: it has wheels for Linux on x86-64; `make setup` installs it there", file=sys.stderr)
        return 2
    names = options.targets or list(TARGETS)
    each = max(1, options.seconds // len(names))
    return max(_run(name, each) for name in names)


def _refuse(what: str) -> int:
    print(f"error: {what}", file=sys.stderr)
    print("hint: `python -m tests.fuzz --list` names them", file=sys.stderr)
    return 2


def _run(name: str, seconds: int) -> int:
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz", name, "--alone", "--seconds", str(seconds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    log = FOLDER / f"{name}.log"
    log.write_text(done.stdout + done.stderr)
    states = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", done.stderr)
    runs = re.search(r"Done (\d+) (?:runs|in)", done.stderr)
    reached = (
        f"coverage {states[0][0]} to {states[-1][0]}, {states[-1][2]} inputs kept"
        if states
        else "nothing reached"
    )
    said = "clean" if done.returncode == 0 else f"FAILED: see {log.relative_to(ROOT)}"
    count = f"{int(runs[1]):,} runs" if runs else "stopped early"
    print(f"{name:15} {time.monotonic() - began:5.0f} s  {count}, {reached}: {said}", flush=True)
    return 0 if done.returncode == 0 else 1


def _fuzz(name: str, seconds: int) -> int:
    """Fuzz one target in this process; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.targets import TARGETS, words

    target = TARGETS[name]
    corpus, seeds, crashes = FOLDER / name, FOLDER / f"{name}.seeds", FOLDER / "crashes"
    for folder in (corpus, seeds, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    first = target.seeds()
    for number, seed in enumerate(first):
        (seeds / f"{number:03d}").write_bytes(seed)
        target.run(seed)
    dictionary = FOLDER / f"{name}.dict"
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in words(first)))
    arguments = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_INPUT}",
        f"-timeout={INPUT_SECONDS}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={crashes}/{name}-",
        "-len_control=0",
        *([f"-dict={dictionary}"] if dictionary.stat().st_size else []),  # libFuzzer takes no empty one
        str(corpus),
        str(seeds),
    ]
    atheris.Setup([sys.argv[0], *arguments], target.run)
    atheris.Fuzz()
    return 0


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
