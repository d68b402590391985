# SPDX-License-Identifier: Apache-2.0
"""Text and numbers for people, with nothing hidden in them (WE-09).

The author of a recipe, a name or a reason may have put characters in it that show nothing, reorder what
stands around them, or look like another letter. In source text and names everything but printable ASCII is
shown by its number; in prose, what is invisible or reorders.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal

from markupsafe import Markup, escape

from sealroom.decimals import decimal_text
from sealroom.recipe import Field
from sealroom.visible import visible

_ID = re.compile(r"\b(0x[0-9a-f]{6})([0-9a-f]{54})([0-9a-f]{4})\b")
_HASH = r'<code class="hash">\1<span class="mid">\2</span>\3</code>'
"""As the macro `hash` of the templates makes it."""


def source(text: str) -> Markup:
    """Source text: every character that is not printable ASCII or a line break is shown by its number."""
    return _marked(text, plain_ascii=True)


def prose(text: str) -> Markup:
    """Prose in any language; only what is invisible, or reorders text, is shown by its number."""
    return _marked(text, plain_ascii=False)


def coded(text: str) -> Markup:
    """The same, with what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one of them has no other
        return prose(text)
    made = [
        Markup("<code>{}</code>").format(prose(part)) if at % 2 else prose(part)
        for at, part in enumerate(parts)
    ]
    return Markup("").join(made)


def put(text: str, **values: object) -> Markup:
    """A text of ours with values in the place of their names in braces: escaped, but for markup."""
    return coded(text).format(**values)


def identified(text: str) -> Markup:
    """Prose whose ids of 32 bytes are shown as hashes are: their middle on demand, and on paper."""
    return Markup(_ID.sub(_HASH, str(prose(text))))


def plain(text: str) -> str:
    """The same as `source` without markup, for places that take none."""
    return "".join(
        f"\\u{{{ord(character):x}}}" if _hides(character, plain_ascii=True) else character
        for character in text
    )


def oddities(text: str) -> int:
    """How many characters `source` would show by their number."""
    return sum(_hides(character, plain_ascii=True) for character in text)


def number(value: Decimal) -> str:
    """A number of a recipe in its one text, which is the text in the recipe's bytes."""
    return decimal_text(value)


def declared(field: Field) -> str:
    """What a field's kind declares, as the page's script writes it."""
    own = field.kind.plain(field.spec)
    return "; ".join(f"{name}: {_told(value)}" for name, value in sorted(own.items()))


def _told(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_told, value)) or "none"
    if isinstance(value, dict):
        return " ".join(f"{name} {_told(item)}" for name, item in value.items())
    return str(value)


def moment(seconds: float) -> str:
    """Unix seconds as date and time, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def instant(seconds: float) -> str:
    """Unix seconds as programs read them, RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(seconds: float) -> str:
    """Unix seconds as a date, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%-d %B %Y")


def short(value: str) -> str:
    """A hash or address with its middle left out; the whole is shown on demand."""
    return value if len(value) <= 14 else f"{value[:8]}…{value[-4:]}"


def count(number: int) -> str:
    """A whole number with thousands apart."""
    return f"{number:,}".replace(",", "\u202f")


def _marked(text: str, *, plain_ascii: bool) -> Markup:
    parts: list[Markup] = []
    plain: list[str] = []
    for character in text:
        if not _hides(character, plain_ascii=plain_ascii):
            plain.append(character)
            continue
        parts.append(escape("".join(plain)))
        plain.clear()
        name = unicodedata.name(character, "no name")
        parts.append(
            Markup('<span class="odd" title="U+{:04X} {}">\\u{{{:x}}}</span>').format(
                ord(character), name, ord(character)
            )
        )
    parts.append(escape("".join(plain)))
    return Markup("").join(parts)


def _hides(character: str, *, plain_ascii: bool) -> bool:
    if character == "\n" or " " <= character <= "~":
        return False
    if plain_ascii:
        return True
    return not visible(character)
