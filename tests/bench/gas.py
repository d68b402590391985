# SPDX-License-Identifier: Apache-2.0
"""Gas of each contract call, on a throw-away anvil."""

from __future__ import annotations

from collections.abc import Iterator

from tests.contracts.gas import measure


def run() -> Iterator[str]:
    yield "| call | gas |"
    yield "|---|---|"
    for name, gas in measure().items():
        yield f"| {name} | {gas:,} |"
