# SPDX-License-Identifier: Apache-2.0
"""`docs/model-owner.md`: its commands print what it shows."""

from __future__ import annotations

from pathlib import Path

from tests.pages import printed, unprinted

PAGE = "docs/model-owner.md"


def test_its_commands_print_what_it_shows(tmp_path: Path) -> None:
    found = printed(PAGE, tmp_path)
    assert unprinted(PAGE, found) == [], found
