# SPDX-License-Identifier: Apache-2.0
"""Texts of the pages, by page and name, from one file."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

WORDS_FILE = Path(__file__).with_name("words.toml")


@cache
def words() -> dict[str, Any]:
    """By page; whoever takes them changes nothing in them."""
    return tomllib.loads(WORDS_FILE.read_text(encoding="utf-8"))
