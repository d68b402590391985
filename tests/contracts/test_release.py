# SPDX-License-Identifier: Apache-2.0
"""The release fits what Ape deploys, and nothing else: one byte or one comment shows."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from scripts._release import CONTRACTS, INPUT_FILE, Compiled, compare, compile_alone, selection

import sealroom
from tests.contracts import safes
from tests.local_chain import OPERATOR, ROOT, LocalChain

pytestmark = [pytest.mark.anvil, pytest.mark.slow]

TIMEOUT_S = 1500
MATERIALS = {
    "sealroom": {"cryptography", "numpy", "opendp"},
    "enclave": {"cryptography", "numpy", "opendp"},
    "verifier": {"cryptography", "dcap-qvl"},
}
"""Of what the release holds a bill; with some of what is on it."""
PAGES = ("verify.html",)
"""Of the console, what works from disk."""
VERIFIER = {"verifier.lock", f"sealroom_verify-{sealroom.__version__}-py3-none-any.whl"}
"""The verifier alone."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release, as `make release` writes and proves it."""
    out = tmp_path_factory.mktemp("release") / "out"
    done = subprocess.run(
        [str(ROOT / ".ci" / "release"), "--out", str(out)], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("full match") == len(CONTRACTS)
    return out


@pytest.fixture(scope="module")
def release(folder: Path) -> dict[str, Compiled]:
    return {name: Compiled.read(folder, name) for name in CONTRACTS}


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        yield chain


@pytest.fixture(scope="module")
def deployment(chain: LocalChain, release: dict[str, Compiled]) -> dict[str, Any]:
    """A consortium that is of the release's code with all that it needs."""
    forge_ledger = chain.ledger
    code = release["Consortium"].creation
    lens = _deploy(chain, release["Lens"].creation)
    chain.ledger = _deploy(chain, release["Ledger"].creation + abi_encode(["address"], [lens]))
    arguments = abi_encode(["address", "bytes32"], [chain.ledger, keccak(code)])
    chain.factory = _deploy(chain, release["Factory"].creation + arguments)
    room = chain.create_consortium(["hospital-A", "hospital-B"], threshold=2, code=code)
    return {
        "ledger": chain.ledger,
        "lens": lens,
        "factory": chain.factory,
        "consortium": room.consortium,
        "app": room.app,
        "block": chain.block_number(),
        "forge": forge_ledger,
    }


def _deploy(chain: LocalChain, code: bytes) -> str:
    return safes.create(chain, code, sender=OPERATOR)


def _unmatched(chain: LocalChain, release: dict[str, Compiled], deployment: dict[str, Any]) -> dict[str, Any]:
    """Runtime and creation of each contract that is no full match."""
    findings = list(compare(release, chain.rpc, deployment))
    assert {finding.name for finding in findings} == set(CONTRACTS)
    return {finding.name: (finding.runtime, finding.creation) for finding in findings if not finding.matches}


def test_the_files_are_named_in_the_sums_and_hold_no_path_of_this_machine(folder: Path) -> None:
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "SHA256SUMS"}
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert len(files) == 1 + 2 * len(CONTRACTS) + len(MATERIALS) + len(PAGES) + len(VERIFIER)
    assert {*PAGES, *VERIFIER} < set(files)
    for name, content in files.items():
        assert str(ROOT).encode() not in content, name


@pytest.mark.parametrize("name", MATERIALS)
def test_the_bill_of_materials_has_what_is_shipped_and_no_tool(folder: Path, name: str) -> None:
    bill = json.loads((folder / f"{name}.cdx.json").read_text())
    listed = {one["name"] for one in bill["components"]}
    assert bill["bomFormat"] == "CycloneDX" and MATERIALS[name] <= listed
    assert not listed & {"pytest", "mypy", "eth-ape", "cyclonedx-bom"}


def test_what_the_release_says_of_settings_is_what_forge_is_told(folder: Path) -> None:
    settings = json.loads((folder / INPUT_FILE).read_text())["settings"]
    forge = (ROOT / "foundry.toml").read_text()
    assert (settings["viaIR"], settings["evmVersion"]) == (True, "cancun")
    assert settings["optimizer"] == {"enabled": True, "runs": 200}
    for line in ("via_ir = true", 'evm_version = "cancun"', "optimizer = true", "optimizer_runs = 200"):
        assert f"\n{line}\n" in forge


def test_one_changed_byte_of_the_code_is_no_match(
    chain: LocalChain, release: dict[str, Compiled], deployment: dict[str, Any]
) -> None:
    assert _unmatched(chain, release, deployment) == {}
    for name, contract in release.items():
        # Within the metadata's hash, which no instruction is part of.
        place = len(contract.runtime) - 20
        changed = bytearray(contract.runtime)
        changed[place] ^= 1
        other = replace(contract, runtime=bytes(changed))
        (found,) = _unmatched(chain, {**release, name: other}, deployment).items()
        said = f"1 of {len(changed)} bytes differ, only the metadata: the sources or settings differ"
        assert found == (name, (said, None))


def test_one_changed_byte_of_the_creation_code_is_no_match(
    chain: LocalChain, release: dict[str, Compiled], deployment: dict[str, Any]
) -> None:
    assert _unmatched(chain, release, deployment) == {}
    for name in CONTRACTS:
        contract = release[name]
        other = replace(contract, creation=bytes([contract.creation[0] ^ 1]) + contract.creation[1:])
        unmatched = _unmatched(chain, {**release, name: other}, deployment)
        runtime, creation = unmatched[name]
        assert runtime is None and creation is not None
        # The factory names the hash of the consortia that it makes.
        assert set(unmatched) == {name} | ({"Factory"} if name == "Consortium" else set())


def test_bytes_after_the_arguments_of_a_constructor_are_no_match(
    chain: LocalChain, release: dict[str, Compiled], deployment: dict[str, Any]
) -> None:
    assert _unmatched(chain, release, deployment) == {}
    argument = abi_encode(["address"], [deployment["lens"]])
    padded = _deploy(chain, release["Ledger"].creation + argument + b"\0")
    found = next(compare(release, chain.rpc, {**deployment, "ledger": padded}))
    assert found.runtime is None
    assert found.creation == "33 bytes after the code, which are not the constructor's arguments"


def test_the_same_sources_under_other_names_differ_in_the_metadata_alone(
    chain: LocalChain, release: dict[str, Compiled], deployment: dict[str, Any]
) -> None:
    assert _unmatched(chain, release, deployment) == {}
    found = next(compare(release, chain.rpc, {**deployment, "ledger": deployment["forge"]}))
    assert found.runtime is not None and found.runtime.endswith(
        "only the metadata: the sources or settings differ"
    )


def test_a_comment_more_in_one_source_is_no_match(folder: Path, release: dict[str, Compiled]) -> None:
    app = release["DstackApp"]
    everything = json.loads((folder / INPUT_FILE).read_text())
    needed = json.loads(app.metadata)["sources"]
    small = {
        **everything,
        "sources": {name: everything["sources"][name] for name in needed},
        "settings": {**everything["settings"], "outputSelection": selection("DstackApp")},
    }
    solc = ROOT / ".venv" / "bin" / "solc"
    assert compile_alone(solc, small)["DstackApp"] == app

    small["sources"][app.source] = {"content": small["sources"][app.source]["content"] + "// more\n"}
    other = compile_alone(solc, small)["DstackApp"]
    assert len(other.runtime) == len(app.runtime)
    assert other.runtime != app.runtime and other.creation != app.creation
    assert other.metadata != app.metadata
