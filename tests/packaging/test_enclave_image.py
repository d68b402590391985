# SPDX-License-Identifier: Apache-2.0
"""The enclave image installs what the measured code and an analysis may import, and nothing else."""

from __future__ import annotations

import re

from tests.packaging.test_dependencies import ROOT, declared, imports, packages

FOLDER = ROOT / "enclave"
THROUGH = {"coincurve", "pycryptodome"}
"""Used by other packages: eth-keys is a hundred times as fast with one, eth-hash has keccak of the other."""


def wanted() -> set[str]:
    lines = (FOLDER / "requirements.in").read_text().splitlines()
    return declared([line for line in lines if not line.startswith("#")])


def pinned(folder: str) -> set[tuple[str, str]]:
    """Names and versions of a lock file."""
    return set(re.findall(r"^([\w.-]+)==([^ ;\n]+)", (ROOT / folder / "requirements.lock").read_text(), re.M))


def requested() -> set[str]:
    """Packages of the image's lock that requirements.in asks for, by the lock's own notes."""
    blocks = re.split(r"\n(?=[\w.-]+==)", (FOLDER / "requirements.lock").read_text())
    return {block.partition("==")[0] for block in blocks if "-r enclave/requirements.in" in block}


def test_the_image_installs_what_the_measured_code_imports() -> None:
    used = {
        package
        for path in (FOLDER / "sealroom").rglob("*.py")
        for module in imports(path)
        for package in packages(module)
    }
    assert wanted() == used | THROUGH


def test_the_lock_of_the_image_is_made_from_its_list() -> None:
    assert requested() == wanted()


def test_the_image_has_the_versions_that_the_tests_run_with() -> None:
    """Beside torch and what its CUDA build brings, which the root's lock leaves out."""
    tested = pinned(".")
    versions = {name: version for name, version in pinned("enclave") if name in {each for each, _ in tested}}
    assert len(versions) > 40 and set(versions.items()) <= tested
    alone = {name for name, _ in pinned("enclave")} - versions.keys()
    assert {name for name in alone if not name.startswith(("nvidia-", "cuda-"))} == {"torch", "triton"}


def test_the_page_of_the_recipe_names_what_an_analysis_may_import() -> None:
    page = (FOLDER / "spec" / "recipe.md").read_text()
    named = re.search(r"^The analysis MAY import .*?`enclave/requirements.in`: (.*?)\. ", page, re.M | re.S)
    assert named is not None
    assert set(re.findall(r"`([\w-]+)`", named[1])) == wanted()
