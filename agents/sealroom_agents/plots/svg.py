# SPDX-License-Identifier: Apache-2.0
"""Panels as SVG, without a library: with a title and a description for who does not see them, and text that
can be read and selected. Lengths are in pixels. `draw` makes one file that brings its colours for a light and
a dark page; `inline` makes one panel as a part of a page, whose style sheet has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from sealroom_agents.plots.chart import Form, Mark, Panel, real

WIDTH = 800
EDGE = 16
"""Free space around everything."""
LINE = 20
"""Height of a row of text."""
CHARACTER = 7.0
"""About the width of a character of the text."""
TITLE_CHARACTER = 10.0
PLOT_HEIGHT = 220
"""Height of a curve or strip."""
LABELS = (60, 260)
"""Narrowest and widest column of labels."""
LABELS_SHARE = 0.35
"""Most of the width that they take."""
SERIES = 6
"""Colours; further series take them again."""

_LIGHT = ("#1f6feb", "#b35900", "#1a7f4b", "#8250df", "#bf2a4d", "#57606a")
_DARK = ("#79b8ff", "#f0a55a", "#5fd394", "#c8a6ff", "#ff8fa8", "#b1bac4")
_RULES = (
    ("bg", "fill", "#ffffff", "#0d1117"),
    ("grid", "stroke", "#d0d7de", "#30363d"),
    ("axis", "stroke", "#6e7781", "#8b949e"),
    ("t", "fill", "#1f2328", "#e6edf3"),
    ("m", "fill", "#57606a", "#9da7b3"),
    *((f"f{n}", "fill", light, dark) for n, (light, dark) in enumerate(zip(_LIGHT, _DARK, strict=True))),
    *((f"s{n}", "stroke", light, dark) for n, (light, dark) in enumerate(zip(_LIGHT, _DARK, strict=True))),
)


def draw(title: str, panels: Sequence[Panel], *, about: str = "") -> str:
    """A figure of these panels under one another. `about`: a sentence on where the numbers are from."""
    body: list[str] = []
    y = float(EDGE - 4)
    for line in _wrapped(title, TITLE_CHARACTER):
        y += 22
        body.append(_text(EDGE, y, line, "t h"))
    y += 14
    for line in _wrapped(about):
        body.append(_text(EDGE, y + 6, line, "m"))
        y += 16
    for panel in panels:
        part, height = _panel(panel, WIDTH)
        body.append(f'<g transform="translate(0 {y + 14:.0f})">{part}</g>')
        y += 14 + height
    height = int(y + EDGE)
    told = " ".join([about, *(panel.summary() for panel in panels)]).strip()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" role="img" aria-labelledby="title desc">'
        f'<title id="title">{escape(title)}</title><desc id="desc">{escape(told)}</desc>'
        f"<style>{_style()}</style>"
        f'<rect class="bg" width="{WIDTH}" height="{height}"/>{"".join(body)}</svg>\n'
    )


def inline(panel: Panel, width: int, *, about: str) -> str:
    """A panel as a part of a page, so wide; its title, its note and its numbers are text of the page.
    `about`: what it is, for who does not see it."""
    inside, height = _DRAWS[panel.form](panel, width)
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height + 4:.0f}" role="img" aria-label="{escape(about)}">'
        f"{inside}</svg>"
    )


def _style() -> str:
    light = "".join(f".{name}{{{what}:{value}}}" for name, what, value, _ in _RULES)
    dark = "".join(f".{name}{{{what}:{value}}}" for name, what, _, value in _RULES)
    return (
        "text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif}"
        "text.h{font-size:17px;font-weight:600}text.b{font-weight:600;font-size:13px}"
        ".end{text-anchor:end}.mid{text-anchor:middle}.band{opacity:.22}.bar{opacity:.55}"
        "line,path.line{fill:none}.hollow{fill-opacity:.25}"
        f"{light}@media(prefers-color-scheme:dark){{{dark}}}"
    )


# --- one panel ---------------------------------------------------------------------------------------


def _panel(panel: Panel, width: int) -> tuple[str, float]:
    """The inside of a panel, and its height."""
    parts = [_text(EDGE, 12, panel.title, "t b")]
    inside, height = _DRAWS[panel.form](panel, width)
    parts.append(f'<g transform="translate(0 22)">{inside}</g>')
    height += 22
    for line in _wrapped(panel.note):
        height += 16
        parts.append(_text(EDGE, height, line, "m"))
    return "".join(parts), height + 4


def _rows(panel: Panel, width: int) -> tuple[str, float]:
    """A line a mark: its label, its bar or point with the interval, and the number as text."""
    shown = [", ".join(mark.labels) for mark in panel.marks]
    most = min(LABELS[1], width * LABELS_SHARE)
    left = EDGE + min(max(max(map(len, shown), default=0) * CHARACTER + 10, LABELS[0]), most)
    right = width - EDGE - max((len(mark.text) for mark in panel.marks), default=0) * CHARACTER - 10
    scale = _scale(panel, panel.marks, left, max(right, left + 120), zero=panel.form == "bars")
    bottom = LINE * len(panel.marks)
    parts = [_across(scale, bottom)]
    series = _series(panel)
    for place, (mark, label) in enumerate(zip(panel.marks, shown, strict=True)):
        y, colour = LINE * place + LINE / 2, series(mark)
        parts.append(_text(left - 8, y + 4, _short(label, left - EDGE - 8), "t end"))
        parts.append(_text(width - EDGE, y + 4, mark.text, ("t" if mark.value is not None else "m") + " end"))
        if mark.value is None:
            continue
        x = scale.at(mark.value)
        if panel.form == "bars":
            low, high = sorted((scale.at(0.0), x))
            parts.append(
                f'<rect class="f{colour} bar" x="{low:.1f}" y="{y - 6:.1f}"'
                f' width="{high - low:.1f}" height="12"/>'
            )
        if mark.low is not None and mark.high is not None:
            ends = [scale.at(mark.low), scale.at(mark.high)]
            parts.append(_line(ends[0], y, ends[1], y, f"s{colour}", 2))
            parts += [_line(end, y - 4, end, y + 4, f"s{colour}", 2) for end in ends]
        if panel.form == "points":
            hollow = " hollow" if _says_nothing(panel, mark) else ""
            parts.append(f'<circle class="f{colour}{hollow}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    return "".join(parts), bottom + 24


def _says_nothing(panel: Panel, mark: Mark) -> bool:
    """Whether the interval of a number holds zero, or of a ratio 1: then not even its sign is known."""
    origin = 1.0 if panel.logarithmic else 0.0
    return mark.low is not None and mark.high is not None and mark.low < origin < mark.high


def _curve(panel: Panel, width: int) -> tuple[str, float]:
    """A line a series over the numbers of the last label, with a band for its intervals."""
    left, right = EDGE + 64.0, width - EDGE - 8.0
    groups: dict[tuple[str, ...], list[Mark]] = {}
    for mark in panel.marks:
        groups.setdefault(mark.labels[:-1], []).append(mark)
    places = [place for mark in panel.marks if (place := real(mark.labels[-1])) is not None]
    across = _Scale.over(places, left, right, logarithmic=False)
    up = _scale(panel, panel.marks, PLOT_HEIGHT, 8.0, zero=False)
    parts = [_up(up, left, right), _below(across, PLOT_HEIGHT, panel.names[-1])]
    low, high = max(across.low, up.low), min(across.high, up.high)
    if panel.diagonal and low < high:
        parts.append(_line(across.at(low), up.at(low), across.at(high), up.at(high), "axis even", 1))
    for number, marks in enumerate(groups.values()):
        colour = number % SERIES
        known = [
            (across.at(x), mark)
            for mark in marks
            if mark.value is not None and (x := real(mark.labels[-1])) is not None
        ]
        known.sort(key=lambda each: each[0])
        ends = [(x, m.low, m.high) for x, m in known if m.low is not None and m.high is not None]
        if ends:
            upper = [f"{x:.1f} {up.at(high):.1f}" for x, _, high in ends]
            lower = [f"{x:.1f} {up.at(low):.1f}" for x, low, _ in reversed(ends)]
            parts.append(f'<path class="f{colour} band" d="M{" L".join([*upper, *lower])}Z"/>')
        middle = [f"{x:.1f} {up.at(mark.value):.1f}" for x, mark in known if mark.value is not None]
        if middle:
            parts.append(f'<path class="s{colour} line" stroke-width="2" d="M{" L".join(middle)}"/>')
    named = [", ".join(labels) for labels in groups if labels]
    legend, height = _legend(named, PLOT_HEIGHT + 44, width)
    return "".join([*parts, legend]), PLOT_HEIGHT + 40 + height


def _strip(panel: Panel, width: int) -> tuple[str, float]:
    """A place a mark in declared order: its interval as a band, its number as a dot.

    Where several marks share a pixel, the band reaches from the lowest end to the highest.
    """
    left, right = EDGE + 64.0, width - EDGE - 8.0
    up = _scale(panel, panel.marks, PLOT_HEIGHT, 8.0, zero=False)
    count = len(panel.marks)
    across = _Scale(1.0, float(max(count, 2)), left, right, logarithmic=False)
    bands: dict[int, tuple[float, float]] = {}
    dots: dict[tuple[int, int], None] = {}
    for place, mark in enumerate(panel.marks, start=1):
        if mark.value is None:
            continue
        x = round(across.at(float(place)))
        ends = [up.at(each) for each in (mark.value, mark.low, mark.high) if each is not None]
        top, low = bands.get(x, (math.inf, -math.inf))
        bands[x] = min(top, *ends), max(low, *ends)
        dots[x, round(up.at(mark.value))] = None
    lines = "".join(f"M{x} {top:.0f}V{low:.0f}" for x, (top, low) in bands.items())
    points = "".join(f"M{x} {y}h.01" for x, y in dots)
    about = f"{', '.join(filter(None, panel.names)) or 'rows'}, {count:,} in declared order"
    return (
        _up(up, left, right)
        + _below(across, PLOT_HEIGHT, about)
        + f'<path class="s0 band" stroke-width="1.4" d="{lines}"/>'
        + f'<path class="s0" stroke-width="2.4" stroke-linecap="round" d="{points}"/>',
        PLOT_HEIGHT + 40,
    )


def _series(panel: Panel) -> Callable[[Mark], int]:
    """The colour of a mark: by the label with the fewest values, where these are few; the last of several."""
    values = [list(dict.fromkeys(each)) for each in zip(*(mark.labels for mark in panel.marks), strict=True)]
    few = [place for place, each in enumerate(values) if 1 < len(each) <= SERIES]
    if len(panel.names) < 2 or not few:
        return lambda _: 0
    place = min(few, key=lambda one: (len(values[one]), -one))
    return lambda mark: values[place].index(mark.labels[place])


def _legend(names: Sequence[str], y: float, width: int) -> tuple[str, float]:
    """A line of names with their colours, or several."""
    if not names:
        return "", 0.0
    parts, x, line = [], float(EDGE + 64), 0
    for number, name in enumerate(names):
        wide = 28 + len(name) * CHARACTER + 14
        if x + wide > width - EDGE and x > EDGE + 64:
            x, line = float(EDGE + 64), line + 1
        at = y + line * 18
        parts.append(_line(x, at, x + 20, at, f"s{number % SERIES}", 4))
        parts.append(_text(x + 26, at + 4, name, "t"))
        x += wide
    return "".join(parts), 18.0 * (line + 1)


_DRAWS: Mapping[Form, Callable[[Panel, int], tuple[str, float]]] = {
    "bars": _rows,
    "points": _rows,
    "curve": _curve,
    "strip": _strip,
}


# --- axes --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scale:
    """From numbers to pixels."""

    low: float
    high: float
    start: float
    """Pixels of the lowest number."""
    end: float
    logarithmic: bool

    @classmethod
    def over(cls, numbers: Sequence[float], start: float, end: float, *, logarithmic: bool) -> _Scale:
        """A scale that holds all of these numbers."""
        low, high = min(numbers, default=0.0), max(numbers, default=1.0)
        if low == high:
            low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
        return cls(low, high, start, end, logarithmic)

    def at(self, number: float) -> float:
        low, high, value = self.low, self.high, number
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(max(number, low))
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round numbers within the scale, a handful."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps: Sequence[int] = (1, 2, 5) if len(powers) <= 3 else (1,)
            found = [step * 10.0**power for power in powers for step in steps]
            found = [each for each in found if self.low <= each <= self.high]
            if len(found) > 1:
                return found
        span = self.high - self.low
        unit = 10.0 ** math.floor(math.log10(span / 4))
        step = next(unit * times for times in (1, 2, 5, 10) if span / (unit * times) <= 6)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def _scale(panel: Panel, marks: Sequence[Mark], start: float, end: float, *, zero: bool) -> _Scale:
    ends = [each for mark in marks for each in (mark.value, mark.low, mark.high) if each is not None]
    numbers = [*ends, 0.0] if zero else ends
    scale = _Scale.over(numbers, start, end, logarithmic=panel.logarithmic)
    if zero or panel.logarithmic:
        return scale
    room = (scale.high - scale.low) * 0.03
    return _Scale(scale.low - room, scale.high + room, start, end, logarithmic=False)


def _across(scale: _Scale, bottom: float) -> str:
    """Vertical lines at round numbers, and the numbers below; a stronger one at zero, or at the ratio 1."""
    parts, origin = [], 1.0 if scale.logarithmic else 0.0
    for tick in scale.ticks():
        x = scale.at(tick)
        parts.append(
            _line(x, 0, x, bottom, "axis" if tick == origin else "grid", 1)
            + _text(x, bottom + 15, _tick(tick), "m mid")
        )
    return "".join(parts)


def _up(scale: _Scale, left: float, right: float) -> str:
    """Horizontal lines at round numbers, and the numbers at the left."""
    parts = []
    for tick in scale.ticks():
        y = scale.at(tick)
        parts.append(_line(left, y, right, y, "grid", 1) + _text(left - 8, y + 4, _tick(tick), "m end"))
    return "".join(parts)


def _below(scale: _Scale, bottom: float, name: str) -> str:
    parts = [_line(scale.start, bottom, scale.end, bottom, "axis", 1)]
    for tick in scale.ticks():
        x = scale.at(tick)
        parts.append(_line(x, bottom, x, bottom + 4, "axis", 1))
        parts.append(_text(x, bottom + 17, _tick(tick), "m mid"))
    parts.append(_text((scale.start + scale.end) / 2, bottom + 33, name, "t mid"))
    return "".join(parts)


def _tick(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 and value == round(value) else f"{value:.6g}"


# --- small things ------------------------------------------------------------------------------------


def _text(x: float, y: float, text: str, classes: str) -> str:
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, name: str, width: float) -> str:
    return (
        f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        f' stroke-width="{width:g}"/>'
    )


def _short(text: str, width: float) -> str:
    most = max(int(width / CHARACTER), 4)
    return text if len(text) <= most else text[: most - 1] + "…"


def _wrapped(text: str, character: float = CHARACTER) -> list[str]:
    """Lines that fit between the edges."""
    most = int((WIDTH - 2 * EDGE) / character)
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines
