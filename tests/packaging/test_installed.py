# SPDX-License-Identifier: Apache-2.0
"""The built wheel in clean environments: what each extra brings works, and the base reaches a chain.

Versions are those of `requirements.lock`. The extra `torch` is too large to install: pip resolves it
(`--dry-run`), and `test_dependencies` compares its version with the one that the whole suite runs on.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

import pytest
from eth_account import Account

from sealroom_agents.cli import ENTRIES
from sealroom_agents.simulator import SIMULATED_OS_IMAGE
from sealroom_agents.simulator.platform import simulated_os_image
from sealroom_agents.studycard import CardOwner, StudyCard
from sealroom_agents.verification import Pin
from tests.agents.staged import OWNERS, Stage, make_stage
from tests.agents.worked import make_card, write_cohort
from tests.local_chain import LocalChain, Room, account, member, private_key
from tests.packaging.conftest import LIMIT_S, ROOT, Installed

PROCESSES = {"gate", "runner", "watcher", "console"}
AGENTS = {*PROCESSES, "demo", "kms-webhook"}
"""Commands that need the extra `agents`."""
NOT_IN_BASE = {"dstack-sdk", "fastapi", "numpy", "opendp", "pandas", "torch", "web3"}
DRAW = """
import runpy, sys
import numpy as np
from sealroom.privacy.noise import add_noise
from sealroom.privacy.parts import Cost, Part, noise_of
part, cost = Part(name="people", length=3, l1=1, l2_squared=1), Cost(law="laplace", amount=1_000_000)
values = add_noise(np.zeros(3, np.int64), part, cost, noise_of(part, cost))
assert [value.denominator for value in values] == [1, 1, 1]
sys.argv = ["sealroom", "--help"]
runpy.run_module("sealroom", run_name="__main__")
"""
"""Noise from OpenDP, and the enclave program's own help."""
pytestmark = [pytest.mark.slow, pytest.mark.anvil, pytest.mark.timeout(2 * LIMIT_S)]


@pytest.fixture
def with_extra(workshop: Path, wheel: Path, base: Installed) -> Iterator[Callable[[str], Installed]]:
    """Makes an environment with one extra: a copy of the base, which is all that pip would keep of it."""
    made = []

    def make(extra: str) -> Installed:
        folder = workshop / extra
        # Another worker may run commands of the base: what Python compiles has such a name until it is whole.
        being_written = shutil.ignore_patterns("*.pyc.*")
        shutil.copytree(base.folder, folder, symlinks=True, copy_function=os.link, ignore=being_written)
        made.append(folder)
        environment = Installed(folder)
        environment.install(f"{wheel}[{extra}]", workshop / "constraints.txt")
        return environment

    yield make
    for folder in made:
        shutil.rmtree(folder)


def test_the_wheel_holds_each_file_of_the_packages(wheel: Path) -> None:
    """Templates, ABIs and pages too; and the pages' bundles, which git does not hold."""
    listed = subprocess.run(
        ["git", "ls-files", "enclave/sealroom", "agents/sealroom_agents"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    packed = set(zipfile.ZipFile(wheel).namelist())
    missing = [name for name in listed.stdout.split() if name.partition("/")[2] not in packed]
    assert missing == []
    built = "sealroom_agents/console/static/built/"
    with zipfile.ZipFile(wheel) as opened:
        bundles = set(json.loads(opened.read(f"{built}manifest.json")).values())
    assert bundles and {f"{built}{name}" for name in (*bundles, "decide.html", "verify.html")} <= packed


def test_each_command_of_the_base_helps_or_says_what_to_install(base: Installed) -> None:
    for name in ENTRIES:
        done = base.sealroom(name, "--help")
        if name in AGENTS:
            assert done.returncode == 1
            assert done.stderr.splitlines()[-1] == 'hint: pip install "sealroom[agents]"'
        else:
            assert (done.returncode, done.stderr) == (0, ""), name


def test_the_base_is_without_what_only_an_enclave_or_an_agent_needs(base: Installed) -> None:
    (packages,) = base.folder.glob("lib/python3*/site-packages")
    held = {one.metadata["Name"].lower() for one in distributions(path=[str(packages)])}
    assert "cryptography" in held and held & NOT_IN_BASE == set()


def test_the_extra_torch_can_be_had(workshop: Path, wheel: Path, base: Installed) -> None:
    base.install(f"{wheel}[torch]", workshop / "constraints.txt", "--dry-run")


def test_the_extra_agents_starts_every_command(with_extra: Callable[[str], Installed]) -> None:
    installed = with_extra("agents")
    for name in ENTRIES:
        assert installed.sealroom(name, "--help").returncode == 0, name
    for module in sorted(PROCESSES):
        assert installed.run(f"sealroom_agents.{module}", "--help").returncode == 0, module


@pytest.mark.parametrize(
    ("extra", "program"),
    [
        ("s3", "import fsspec; fsspec.core.url_to_fs('s3://bucket/hospital-A/cohort-A.tar', anon=True)"),
        ("enclave", DRAW),
    ],
)
def test_an_extra_brings_what_it_is_for(
    with_extra: Callable[[str], Installed], tmp_path: Path, extra: str, program: str
) -> None:
    installed = with_extra(extra)
    (tmp_path / "tried.py").write_text(program)
    done = installed.run("tried", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_base_without_s3_says_what_to_install(base: Installed) -> None:
    done = base.sealroom("fetch", "s3://bucket/a.tar", "--sha256", "0x" + 64 * "1", "--out", "a.tar")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == 'hint: pip install "sealroom[s3]"'


# --- the base and a chain ----------------------------------------------------------------------------


OFFICER = 3
"""anvil's account of an owner who has registered nothing yet."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with LocalChain.start() as chain:
        yield make_stage(chain, tmp_path_factory.mktemp("stage"))


def card_of(stage: Stage, room: Room) -> StudyCard:
    """The study card of a consortium on this chain."""
    view = stage.reader.finalized_view(room.consortium)
    return replace(
        make_card(stage.gate, stage.recipe),
        consortium=view.consortium,
        app=view.app,
        ledger=view.ledger,
        owners=tuple(CardOwner(id=owner.id, account=owner.account) for owner in view.owners),
    )


@pytest.fixture
def desk(stage: Stage, tmp_path: Path) -> Path:
    """What an owner and an auditor hold."""
    stage.chain.finalize()
    identity, card = stage.gate.identity, card_of(stage, stage.room)
    pin = Pin(
        chain_id=stage.chain.chain_id,
        consortium=card.consortium,
        gate_compose=identity.compose_hash,
        gate_root=identity.gate_root,
        kms_root=identity.kms_root,
        os_images=(simulated_os_image(),),
    )
    (tmp_path / "study.json").write_bytes(card.encode())
    (tmp_path / "pin.json").write_bytes(pin.encode())
    (tmp_path / "envelope.json").write_bytes(stage.done().encode())
    (tmp_path / "root.der").write_bytes(stage.platform.root_der)
    keystore = tmp_path / "officer.json"
    keystore.write_text(json.dumps(Account.encrypt(private_key(OFFICER), "open", kdf="pbkdf2", iterations=2)))
    keystore.chmod(0o600)
    write_cohort(tmp_path / "cohort-A.parquet")
    return tmp_path


def test_the_base_proves_a_result_offline_and_on_chain(base: Installed, stage: Stage, desk: Path) -> None:
    proof = ("verify", "envelope.json", "--pin", "pin.json", "--simulated-root", "root.der")
    for chain in ((), ("--rpc", stage.chain.url)):
        stage.chain.mine()  # a head of now
        done = base.sealroom(*proof, *chain, cwd=desk)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr.startswith("holds, on a simulated machine: ")


def test_the_base_seals_for_a_chain_and_registers_there(base: Installed, stage: Stage, desk: Path) -> None:
    owners = [member(account(OFFICER + n), name) for n, name in enumerate(OWNERS)]
    room = stage.chain.create_consortium(owners, threshold=2, salt=b"\x02" * 32)
    stage.chain.adopt_platform(
        room,
        gate_root=stage.gate.identity.gate_root,
        gate_signer=stage.gate.identity.signer,
        gate_compose=stage.gate.identity.compose_hash,
        policy_hash=stage.gate.identity.policy_hash,
        os_images=[SIMULATED_OS_IMAGE],
        devices=[stage.platform.machine().device_id],
    )
    stage.chain.finalize()
    (desk / "study.json").write_bytes(card_of(stage, room).encode())
    chain = ("--rpc", stage.chain.url, "--yes")
    sealed = base.sealroom(
        "seal", "--owner", "hospital-A", "--in", "cohort-A.parquet", "--simulated-root", "root.der", *chain,
        cwd=desk,
    )  # fmt: skip
    assert sealed.returncode == 0, sealed.stderr
    registered = base.sealroom(
        "govern", "register", "--registration", "sealed/hospital-A/cohort-A.tar", "--lifetime", "10",
        "--consortium", room.consortium, "--keystore", "officer.json", *chain, cwd=desk,
    )  # fmt: skip
    assert registered.returncode == 0, registered.stderr
    checked = base.sealroom("check", "sealed/hospital-A/cohort-A.tar", "--rpc", stage.chain.url, cwd=desk)
    assert "registr" in checked.stdout
