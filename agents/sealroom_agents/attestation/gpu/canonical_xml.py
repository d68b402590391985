# SPDX-License-Identifier: Apache-2.0
"""XML of manifests: a small strict reader, and Canonical XML 1.1 of what it read.

Refused are document types and so all entities, processing instructions, comments, names that are not ASCII,
and attributes of the prefix `xml`, which alone make the canonical form of a part hard. No manifest has any of
these. What a manifest says is read from the canonical bytes that its signature covers, so a fault here can
refuse a genuine manifest and cannot let a forged one pass.

Source: W3C Canonical XML 1.1, without comments, of a whole document or of one element with all it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

MAX_DEPTH = 16
MAX_NODES = 16_384
MAX_NAMESPACES = 32
"""In one scope: each element below has them all."""

_NAME = re.compile(r"(?:([A-Za-z_][A-Za-z0-9_.-]*):)?([A-Za-z_][A-Za-z0-9_.-]*)")
_NAMESPACE = "xmlns"


class XmlError(ValueError):
    """Why a document is not read."""


@dataclass
class Element:
    """An element, and the namespaces in whose scope it stands."""

    name: str
    """Name with its prefix, as written."""
    scope: dict[str, str]
    """Namespace by prefix; the default one has the prefix ''."""
    attributes: dict[str, str]
    """Values by the names as written, without declarations of namespaces."""
    children: list[Element | str] = field(default_factory=list)

    @property
    def tag(self) -> tuple[str, str]:
        """Namespace and local name."""
        return _split(self.name, self.scope, default=self.scope.get("", ""))

    def get(self, name: str, namespace: str = "") -> str | None:
        """The attribute of this local name and namespace."""
        for written, value in self.attributes.items():
            if _split(written, self.scope, default="") == (namespace, name):
                return value
        return None

    def elements(self) -> list[Element]:
        """The elements directly inside. Raises `XmlError` where there is text besides white space."""
        found = [child for child in self.children if isinstance(child, Element)]
        if any(isinstance(child, str) and child.strip() for child in self.children):
            raise XmlError(f"text in {self.name}")
        return found

    def text(self) -> str:
        """The text inside. Raises `XmlError` where there are elements."""
        if any(isinstance(child, Element) for child in self.children):
            raise XmlError(f"elements in {self.name}")
        return "".join(str(child) for child in self.children)

    def walk(self) -> Iterator[Element]:
        """This element and all below it."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()


def read_xml(data: bytes) -> Element:
    """The root of a document in UTF-8. Raises `XmlError`."""
    reader = _Reader()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.ProcessingInstructionHandler = reader.refuse
    parser.CommentHandler = reader.refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise XmlError(f"no well-formed XML: {error}") from error
    if reader.root is None:
        raise XmlError("no element")
    return reader.root


def canonical_xml(element: Element, *, without: Element | None = None) -> bytes:
    """Canonical bytes of an element, as if it alone were the document; `without` leaves one child out."""
    parts: list[str] = []
    _write(element, {}, without, parts)
    return "".join(parts).encode()


class _Reader:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._nodes = 0

    def start(self, name: str, found: dict[str, str]) -> None:
        self._count()
        if len(self._open) == MAX_DEPTH:
            raise XmlError("nested too deeply")
        scope = dict(self._open[-1].scope) if self._open else {}
        attributes: dict[str, str] = {}
        for written, value in found.items():
            self._count()
            prefix, local = _parts(written)
            if written == _NAMESPACE:
                scope[""] = value
            elif prefix == _NAMESPACE:
                if not value or local in ("xml", _NAMESPACE):
                    raise XmlError(f"a namespace {local} that cannot be")
                scope[local] = value
            else:
                attributes[written] = value
        if len(scope) > MAX_NAMESPACES:
            raise XmlError("too many namespaces")
        element = Element(name, scope, attributes)
        _ = element.tag
        if len({_split(written, scope, default="") for written in attributes}) != len(attributes):
            raise XmlError("an attribute twice")
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _name: str) -> None:
        self._open.pop()

    def characters(self, text: str) -> None:
        self._count()
        self._open[-1].children.append(text)

    def refuse(self, *_found: object) -> None:
        raise XmlError("a document type, an instruction or a comment")

    def _count(self) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise XmlError("too many elements")


def _parts(written: str) -> tuple[str, str]:
    match = _NAME.fullmatch(written)
    if match is None:
        raise XmlError("a name of another form")
    return match[1] or "", match[2]


def _split(written: str, scope: dict[str, str], *, default: str) -> tuple[str, str]:
    """Namespace and local name of what is written."""
    prefix, local = _parts(written)
    if not prefix:
        return default, local
    if prefix not in scope:
        raise XmlError(f"prefix {prefix} without a namespace")
    return scope[prefix], local


def _write(element: Element, outer: dict[str, str], without: Element | None, parts: list[str]) -> None:
    parts.append(f"<{element.name}")
    for prefix, namespace in sorted(element.scope.items()):
        if namespace != outer.get(prefix, ""):
            parts.append(f' {_NAMESPACE}{":" if prefix else ""}{prefix}="{_attribute(namespace)}"')
    ordered = sorted((_split(name, element.scope, default=""), name) for name in element.attributes)
    parts.extend(f' {name}="{_attribute(element.attributes[name])}"' for _, name in ordered)
    parts.append(">")
    for child in element.children:
        if isinstance(child, str):
            parts.append(_text(child))
        elif child is not without:
            _write(child, element.scope, without, parts)
    parts.append(f"</{element.name}>")


def _text(value: str) -> str:
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return value.replace("\r", "&#xD;")


def _attribute(value: str) -> str:
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return value.replace("\t", "&#x9;").replace("\n", "&#xA;").replace("\r", "&#xD;")
