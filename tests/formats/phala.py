# SPDX-License-Identifier: Apache-2.0
"""Phala's script as a real guest ran it, and the worked study as Phala Cloud builds it. The recording is read
from where it lies and is no part of the project; tests without it are skipped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sealroom.recipe import render
from sealroom.recipe.wrapped import MEMBER, SCRIPT_FILE
from tests.formats.worked import STUDY

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "platform"
GUEST = RECORDED / "dstack-0.5.8-gpu1" / "app-compose.json"
needs_script = pytest.mark.skipif(not GUEST.is_file(), reason="no recorded guest in ../shared/vectors")


def script() -> str:
    """The script, from a guest's measured bytes."""
    found = json.loads(GUEST.read_bytes())[MEMBER]
    assert isinstance(found, str)
    return found


def study(folder: Path, text: str) -> Path:
    """The worked study for Phala Cloud, with this script beside it."""
    shutil.copytree(STUDY, folder)
    written = folder / "study.yaml"
    written.write_text(written.read_text().replace("gpu: none\n", "gpu: none\nhints: phala-cloud\n", 1))
    (folder / SCRIPT_FILE).write_bytes(text.encode())
    return folder


def wrapped(folder: Path) -> bytes:
    """Its recipe."""
    return render(study(folder / "wrapped", script()))
