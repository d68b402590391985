# SPDX-License-Identifier: Apache-2.0
"""The pages of `enclave/spec` say what the code does."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sealroom.codes import Code
from sealroom.model import SIGNED, Record, Study
from sealroom.recipe import render
from tests.formats.worked import CHALLENGE, GRANT, HELLO, envelope
from tests.vectors.vector import FOLDER, read

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "enclave" / "spec"
CODE = ROOT / "enclave" / "sealroom"
OWNERS = ROOT / "agents" / "sealroom_agents" / "owner"
OWNERS_OWN = (OWNERS / "key_file.py", OWNERS / "prepare" / "pseudonyms.py")
"""The code of formats of a page here that is the owner's alone."""
PAGES = {path.name: path.read_text() for path in sorted(SPEC.glob("*.md"))}
ORDER = {
    "recipe.md": ["Example", "Conventions", "app-compose", "Hashes", "Vectors"],
    "sealed-dataset.md": ["Example", "Conventions", "Keys, one line each", "Archive", "Opening", "Vectors"],
    "key-release.md": [
        "Example",
        "Conventions",
        "Hashes, one line each",
        "EIP-712",
        "Ledger",
        "Grant",
        "Lease",
    ],
    "platform-policy.md": ["Example", "Conventions", "Members", "Hash", "Vectors"],
    "envelope.md": ["Example", "Conventions", "Digests, one line each", "Signatures", "Vectors"],
}
DOMAIN = re.compile(r'"(sealroom/v[12]/[a-z0-9-]+)"')


@pytest.mark.parametrize("name", ORDER)
def test_a_page_shows_an_example_before_any_rule(name: str) -> None:
    headings = re.findall(r"^## (.+)$", PAGES[name], re.MULTILINE)

    assert [heading for heading in headings if heading in ORDER[name]] == ORDER[name]
    assert headings[0] == "Example"


def test_pages_and_code_have_the_same_domain_strings() -> None:
    used: set[str] = set()
    for path in (*CODE.rglob("*.py"), *OWNERS_OWN):
        used.update(DOMAIN.findall(path.read_text()))
    # Guest paths are no domain strings; the page gives them in a sentence.
    written = set(re.findall(r"sealroom/v[12]/[a-z0-9-]+", "".join(PAGES.values())))

    assert used == written


def test_an_enclave_asks_again_when_the_gate_cannot_serve() -> None:
    """The page names the codes of the gate's own state beside its table."""
    own = re.search(r"it says (.+), with status 503", PAGES["key-release.md"])
    assert own is not None
    codes = [Code(word) for word in re.findall(r"`([a-z-]+)`", own[1])]

    assert codes and all(code.transient and code.http == 503 for code in codes)


@pytest.mark.parametrize(
    "page, modules",
    [
        (
            "recipe.md",
            ["recipe/recipe.py", "recipe/appcompose.py", "recipe/contract.py", "recipe/outputs.py"],
        ),
        ("sealed-dataset.md", ["sealed/archive.py", "sealed/header.py", "sealed/wrap.py", "sealed/parts.py"]),
        ("envelope.md", ["envelope/envelope.py", "envelope/dsse.py"]),
    ],
)
def test_the_pages_name_every_code_of_their_decoders(page: str, modules: list[str]) -> None:
    raised: set[str] = set()
    for module in modules:
        named = re.findall(r"Error\(\s*Code\.([A-Z_]+)|Code\.(RECIPE_[A-Z_]+)", (CODE / module).read_text())
        raised.update(Code[error or recipe] for error, recipe in named)

    assert {code for code in raised if f"`{code}`" not in PAGES[page]} <= {"recipe-unreadable"}


def test_the_sealed_example_is_the_vector() -> None:
    with tarfile.open(fileobj=io.BytesIO(read(FOLDER / "sealed" / "table").body)) as archive:
        for name in ("header.json", "index.json"):
            member = archive.extractfile(name)
            assert member is not None and member.read().decode() in PAGES["sealed-dataset.md"]


def test_the_recipe_example_renders_to_the_vector(tmp_path: Path) -> None:
    blocks = re.findall(r"```(?:yaml|python)\n(.*?)```", PAGES["recipe.md"], re.DOTALL)
    (tmp_path / "study.yaml").write_text(blocks[0])
    (tmp_path / "analysis.py").write_text(blocks[1])

    assert render(tmp_path) == read(FOLDER / "recipe" / "small_study").body


def _fits(shown: Any, true: Any) -> bool:
    """Whether an example is the true value, where a cut text shows its beginning."""
    if isinstance(shown, dict):
        return shown.keys() == true.keys() and all(_fits(shown[name], true[name]) for name in shown)
    if isinstance(shown, list):
        return all(_fits(item, other) for item, other in zip(shown, true, strict=False))
    if isinstance(shown, str) and "…" in shown:
        start, _, end = shown.partition("…")
        return len(start) >= 6 and str(true).startswith(start) and str(true).endswith(end)
    return type(shown) is type(true) and shown == true


def _examples(page: str) -> list[Any]:
    """The JSON of a page's example, each block and each member of it."""
    found = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGES[page], re.DOTALL)]
    return found + [value for each in found for value in each.values() if isinstance(value, dict)]


@pytest.mark.parametrize(
    "page, true",
    [
        ("key-release.md", HELLO.to_json()),
        ("key-release.md", CHALLENGE.to_json()),
        ("key-release.md", GRANT.to_json()),
        ("envelope.md", envelope().receipt.to_json()),
        ("envelope.md", envelope().statement.to_json()),
        ("envelope.md", dict(envelope().result)),
    ],
    ids=["hello", "challenge", "grant", "receipt", "statement", "result"],
)
def test_the_examples_are_the_worked_values(page: str, true: dict[str, Any]) -> None:
    assert not any(_fits(shown, {**true, "more": 1}) for shown in _examples(page))
    assert sum(_fits(shown, true) for shown in _examples(page)) == 1


def _type_string(record: type[Record]) -> str:
    types = record.types()
    own, *others = [
        f"{name}({','.join(f'{kind} {field}' for field, kind in table)})" for name, table in types.items()
    ]
    return own + "".join(other for other in others if other.partition("(")[0] + "[]" in own)


@pytest.mark.parametrize("record", [Study, *SIGNED], ids=lambda record: record.struct)
def test_the_pages_have_each_type_that_is_signed(record: type[Record]) -> None:
    assert _type_string(record) in PAGES["key-release.md"] + PAGES["envelope.md"]
