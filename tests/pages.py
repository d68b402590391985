# SPDX-License-Identifier: Apache-2.0
"""Blocks of the pages, and whether what they show is what was printed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 600
VARIES = re.compile(r"…|0x[0-9a-f]+|[0-9][0-9,.]*")
"""What may differ between a page and a run: a cut, a hash or an address, a number."""


def blocks(page: str, language: str) -> list[str]:
    """The text of each block of `language` in a page, named from the root."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def printed(page: str, folder: Path) -> str:
    """What the commands of a page's `sh` blocks print, one after another in a folder."""
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", "".join(blocks(page, "sh"))],
        cwd=folder,
        env={"PATH": f"{ROOT / '.venv' / 'bin'}:/usr/bin:/bin", "HOME": os.environ["HOME"], "COLUMNS": "110"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def pattern(line: str) -> re.Pattern[str]:
    """Matches a printed line that says what the page's `line` says, up to `VARIES` and columns' width."""

    def free(match: re.Match[str]) -> str:
        return {"…": ".*", "0x": "0x[0-9a-f]+"}.get(match[0][:2], "[0-9][0-9,.]*")

    parts, end = [], 0
    for match in VARIES.finditer(line):
        parts += [re.escape(line[end : match.start()]), free(match)]
        end = match.end()
    whole = "".join([*parts, re.escape(line[end:]), r"\s*$"])
    return re.compile(re.sub(r"(\\ ){2,}", r"\\s{2,}", whole))


def unprinted(page: str, output: str) -> list[str]:
    """Lines of the page's `text` blocks that no line of `output` matches."""
    printed = output.splitlines()
    shown = [line for block in blocks(page, "text") for line in block.splitlines()]
    return [line for line in shown if not any(pattern(line).match(each) for each in printed)]
