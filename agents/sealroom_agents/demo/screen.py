# SPDX-License-Identifier: Apache-2.0
"""What the demo prints: one line an event, under the name of the step it belongs to."""

from __future__ import annotations

import re
import time
from typing import Any

import click

LONG_HASH = re.compile(r"(0x[0-9a-f]{8})[0-9a-f]{32,}")
LABEL_WIDTH = 29
"""Columns taken by the step's name."""


class Screen:
    """Prints the demo's lines; a step's name is before its first line only."""

    def __init__(self) -> None:
        self._label = ""
        self._started = time.monotonic()
        self._steps: list[tuple[str, float]] = []

    def title(self, text: str) -> None:
        click.secho(text, bold=True)

    def step(self, label: str) -> None:
        """Begin a step: the next line carries its name."""
        self._label = label
        self._steps.append((label, time.monotonic()))

    def say(self, text: str) -> None:
        click.echo(click.style(self._label.ljust(LABEL_WIDTH), fg="cyan", bold=True) + text)
        self._label = ""

    def refused(self, code: str, text: str) -> None:
        """A refusal that the demo provoked: its stable code and its message."""
        self.say(click.style(f"refused {code}: ", fg="yellow") + LONG_HASH.sub(r"\1…", text))

    def plain(self, text: str) -> None:
        """A line that a person may want to copy."""
        click.echo(text)

    def times(self) -> list[tuple[str, float]]:
        """The steps before the present one, and the seconds that each took."""
        return [
            (name, after - began)
            for (name, began), (_, after) in zip(self._steps, self._steps[1:], strict=False)
        ]

    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._started


def short(value: str) -> str:
    """The beginning of a hash or an address."""
    return value[:10] + "…"


def result_lines(result: dict[str, Any]) -> list[str]:
    """The cardio-renal result for people: one line an age band, and one for the model."""
    fields = result["fields"]
    means = {(row["age_band"], row["sex"]): row["mean"] for row in fields["creatinine"]["groups"]}
    bands: dict[str, list[str]] = {}
    for row in fields["people"]["groups"]:
        mean = means[row["age_band"], row["sex"]]
        count = "few" if row["people"] is None else f"{row['people']:,}"
        told = "withheld" if mean is None else f"{mean} mg/dL"
        bands.setdefault(row["age_band"], []).append(f"{row['sex']} {count:>6} people, creatinine {told}")
    lines = [f"{band:>5}   {'   '.join(cells)}" for band, cells in bands.items()]
    weights = {row["term"]: row for row in fields["risk_of_death"]["groups"]}
    del weights["intercept"]
    told = " · ".join(
        f"{name} {row['coefficient']} ({row['coefficient_low']} to {row['coefficient_high']})"
        for name, row in weights.items()
    )
    return [*lines, f"death   log odds: {told}"]
