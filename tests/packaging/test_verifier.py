# SPDX-License-Identifier: Apache-2.0
"""The verifier alone: its wheel in a clean environment says the same as `sealroom verify`, word for word.

Its packages are those of its own lock, by their hashes. Nothing of it asks a network without `--rpc`.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sealroom_agents.attestation import TrustRoot
from sealroom_agents.simulator.platform import simulated_os_image
from sealroom_agents.verification import NOTHING, Pin
from sealroom_agents.verification.model_file import write_model
from tests.agents.liars import LIES, Truth, tell_the_truth
from tests.agents.staged import Stage, make_stage
from tests.agents.worked_model import model_run
from tests.local_chain import LocalChain
from tests.packaging.conftest import LIMIT_S, ROOT, Installed, made_once
from tests.packaging.test_dependencies import declared, imports, packages
from tests.vectors.vector import FOLDER as VECTORS

FOLDER = ROOT / "agents" / "verifier"
PROJECT = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
WHOLE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PROGRAM = "sealroom-verify"
LATE = {
    "numpy": "computes in the enclave",
    "torch": "trains in the enclave",
    "rich": "a bar over long work, which verifying is not",
    "rlp": "makes proofs",
    "trie": "makes proofs",
}
"""What its modules import in functions that no walk calls."""
NEVER = {"duckdb", "aiohttp", "httpx", "numpy", "opendp", "pandas", "pyarrow", "torch", "web3"}
"""What a walk of an envelope without SQL does without."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * LIMIT_S)]
READ = """
import json, sys
from pathlib import Path
from sealroom.errors import SealroomError
from sealroom.privacy.kinds import KINDS
from sealroom.recipe import parse

def said(path):
    try:
        parse(path.read_bytes().partition(b"\\n\\n")[2])
    except SealroomError as error:
        return str(error.code)
    except ModuleNotFoundError as missing:
        return f"without {missing.name}"
    return "read"

found = {path.name: said(path) for path in sorted(Path(sys.argv[1]).iterdir())}
print(json.dumps({"recipes": found, "kinds": sorted(KINDS)}))
"""
"""What is said of each recipe, and the kinds of values that are known."""


def hook() -> ModuleType:
    """What the build says of its files."""
    spec = importlib.util.spec_from_file_location("verifier_build", FOLDER / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- what it is made of ------------------------------------------------------------------------------


def test_what_it_declares_is_what_its_modules_import() -> None:
    used: set[str] = set()
    for path in hook().closure():
        used |= imports(path)
    needed = declared(PROJECT["dependencies"])
    extras = set[str]().union(*map(declared, PROJECT["optional-dependencies"].values()))
    names = {name for module in used - LATE.keys() for name in packages(module)}
    # eth-utils hashes by eth-hash, and eth-hash by a package that it has to be told.
    assert names | {"eth-hash"} == needed | extras


def test_its_lines_are_those_of_the_whole_package() -> None:
    """One version of each for both."""
    whole = {*WHOLE["dependencies"]}
    lines = {*PROJECT["dependencies"]}.union(*PROJECT["optional-dependencies"].values())
    assert lines - whole == {"eth-hash[pycryptodome]"}
    assert PROJECT["requires-python"] == WHOLE["requires-python"]
    locked = [line for line in (FOLDER / "requirements.lock").read_text().splitlines() if "==" in line]
    pinned = {line.partition(" ")[0] for line in locked if not line.startswith((" ", "#"))}
    everything = (ROOT / "requirements.lock").read_text()
    assert pinned and [one for one in sorted(pinned) if f"\n{one} " not in everything] == []


def test_what_is_left_out_is_imported_by_something() -> None:
    """No module is left out for a reason that has gone."""
    build = hook()
    reached = {name for path in build.closure() for name in build.imported(ast.parse(path.read_bytes()))}
    reached |= {name.rpartition(".")[0] for name in reached}
    assert build.LEFT_OUT.keys() - reached == set()


# --- the wheel, installed ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def verifier_wheel(workshop: Path) -> Path:
    folder = workshop / "verifier-wheel"
    with made_once(folder) as anew:
        if anew:
            pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
            subprocess.run([*pip, "-w", folder, FOLDER], check=True, timeout=LIMIT_S)
    (found,) = folder.glob("sealroom_verify-*.whl")
    return found


@pytest.fixture(scope="session")
def verifier(workshop: Path, verifier_wheel: Path) -> Installed:
    """The wheel, with the packages of its lock and no others."""
    made = Installed(workshop / "verifier")
    with made_once(made.folder) as anew:
        if anew:
            command = [sys.executable, "-m", "venv", "--clear", "--without-pip", made.folder]
            subprocess.run(command, check=True, timeout=LIMIT_S)
            lock = FOLDER / "requirements.lock"
            made.install(str(verifier_wheel), workshop / "constraints.txt", "--no-deps")
            made.install(f"--requirement={lock}", lock, "--require-hashes")
    return made


@pytest.fixture
def with_extras(workshop: Path, verifier: Installed, verifier_wheel: Path) -> Iterator[Installed]:
    """A copy with both extras."""
    made = Installed(workshop / "verifier-extras")
    shutil.copytree(verifier.folder, made.folder, symlinks=True, ignore=shutil.ignore_patterns("*.pyc.*"))
    made.install(f"{verifier_wheel}[relation,rpc]", workshop / "constraints.txt")
    yield made
    shutil.rmtree(made.folder)


def asked(python: Path, script: Path, *words: str) -> dict[str, Any]:
    """What a script prints, run by an environment's Python with nothing of this checkout in reach."""
    done = subprocess.run(
        [python, "-P", script, *words],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        cwd=script.parent,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "110"},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def told(
    installed: Installed | None, folder: Path, cases: Mapping[str, Sequence[str]], *online: str
) -> dict[str, Any]:
    """Status and words of each case, of the verifier in an environment or of this checkout's `sealroom`."""
    (folder / "cases.json").write_text(json.dumps(cases))
    script = Path(shutil.copy(ROOT / "tests/packaging/told.py", folder))
    python = Path(sys.executable) if installed is None else installed.folder / "bin" / "python"
    return asked(python, script, str(folder), "sealroom" if installed is None else PROGRAM, *online)


def test_the_wheel_holds_sources_of_the_checkout_and_nothing_else(verifier_wheel: Path) -> None:
    """Byte for byte, whatever of it imports another."""
    where = {"sealroom": ROOT / "enclave", "sealroom_agents": ROOT / "agents"}
    with zipfile.ZipFile(verifier_wheel) as opened:
        held = [name for name in opened.namelist() if ".dist-info/" not in name]
        differ = [
            name for name in held if opened.read(name) != (where[name.partition("/")[0]] / name).read_bytes()
        ]
    assert len(held) > 100 and differ == []
    assert not [name for name in held if name.startswith(("sealroom/runtime/", "sealroom/sealed/"))]


def test_the_environment_has_no_data_tools_and_nothing_that_speaks_http(verifier: Installed) -> None:
    (site,) = verifier.folder.glob("lib/python3*/site-packages")
    held = {one.metadata["Name"].lower().replace("_", "-") for one in distributions(path=[str(site)])}
    assert "cryptography" in held and held & NEVER == set()


def test_each_kind_and_each_recipe_is_read_as_by_the_whole(verifier: Installed, tmp_path: Path) -> None:
    """Kinds are found in a folder: one that is missing would make honest recipes unreadable."""
    (tmp_path / "read.py").write_text(READ)
    mine = asked(verifier.folder / "bin" / "python", tmp_path / "read.py", str(VECTORS / "recipe"))
    whole = asked(Path(sys.executable), tmp_path / "read.py", str(VECTORS / "recipe"))
    assert mine["kinds"] == whole["kinds"]
    differ = {name: said for name, said in mine["recipes"].items() if said != whole["recipes"][name]}
    assert set(differ.values()) == {"without duckdb"}
    assert len(differ) < len(mine["recipes"]) / 2


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return tell_the_truth(tmp_path_factory.mktemp("truth"))


def written(folder: Path, name: str, data: bytes, pin: Pin, trust: TrustRoot) -> list[str]:
    """The command line for a file, which is written beside its pin and root."""
    stem = name.replace(" ", "-")
    (folder / f"{stem}.json").write_bytes(data)
    line = [f"{stem}.json"]
    if pin.origins:
        (folder / f"{stem}.pin").write_bytes(pin.encode())
        line += ["--pin", f"{stem}.pin"]
    if trust.root_der is not None:
        (folder / f"{stem}.der").write_bytes(trust.root_der)
        line += ["--simulated-root", f"{stem}.der"]
    return line


def test_offline_it_says_of_every_lie_what_the_whole_says(
    verifier: Installed, truth: Truth, tmp_path: Path
) -> None:
    """OU-09: the same links, codes, words and status, from the same code; the network is never asked."""
    cases: dict[str, list[str]] = {}
    for name, tell in LIES.items():
        lie = tell(truth)
        cases[name] = written(tmp_path, name, lie.envelope.encode(), lie.pin or truth.pin, truth.trust)
    whole = truth.envelope.encode()
    cases["the truth"] = written(tmp_path, "truth", whole, truth.pin, truth.trust)
    cases["as JSON"] = [*cases["the truth"], "--json"]
    cases["without pins"] = written(tmp_path, "bare", whole, NOTHING, truth.trust)
    cases["under Intel's root"] = cases["the truth"][:3]
    cases["no envelope"] = written(tmp_path, "none", b"{}", truth.pin, truth.trust)
    cases["no file"] = ["missing.json"]
    cases["the page"] = ["--page", "verify.html"]
    run = model_run(tmp_path / "model", truth.platform, truth.gate)
    cases["a model"] = written(tmp_path, "weights", write_model(run.envelope()), NOTHING, truth.trust)
    mine, other = told(verifier, tmp_path, cases), told(None, tmp_path, cases)
    assert mine["told"] == other["told"]
    ended = {name: each["status"] for name, each in mine["told"].items()}
    assert {name: ended[name] for name in ("the truth", "without pins", "a model", "no envelope")} == {
        "the truth": 0,
        "without pins": 4,
        "a model": 4,
        "no envelope": 1,
    }
    assert all(ended[name] == 1 for name in LIES if name != "grant.time")
    assert not NEVER & set(mine["loaded"])


def test_its_own_command_is_installed(verifier: Installed, truth: Truth, tmp_path: Path) -> None:
    line = written(tmp_path, "truth", truth.envelope.encode(), truth.pin, truth.trust)
    command = verifier.folder / "bin" / PROGRAM

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.defpath}
        return subprocess.run(
            [command, *words], capture_output=True, text=True, timeout=LIMIT_S, cwd=tmp_path, env=environment
        )

    done = run(*line)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.startswith("holds, on a simulated machine: ")
    assert run("--version").stdout.startswith(f"{PROGRAM} ")
    helped = run("--help").stdout
    assert f"{PROGRAM} envelope.json --pin pin.json" in helped and "sealroom verify" not in helped
    # Not decided, which is another status than broken.
    without = run(*line, "--rpc", "http://127.0.0.1:9")
    assert without.returncode == 3
    assert without.stderr.splitlines()[-1] == 'hint: pip install "sealroom-verify[rpc]"'


# --- with proofs, and with a node --------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with LocalChain.start() as chain:
        yield make_stage(chain, tmp_path_factory.mktemp("stage"))


@pytest.mark.anvil
def test_proofs_are_walked_offline_and_a_node_is_asked_with_the_extra(
    verifier: Installed, with_extras: Installed, stage: Stage, tmp_path: Path
) -> None:
    stage.chain.finalize()
    early = stage.done()
    stage.chain.finalize()
    proven = stage.reader.with_proofs(early)
    assert proven is not None
    identity = stage.gate.identity
    pin = Pin(
        chain_id=stage.chain.chain_id,
        consortium=stage.room.consortium,
        gate_compose=identity.compose_hash,
        gate_root=identity.gate_root,
        kms_root=identity.kms_root,
        os_images=(simulated_os_image(),),
    )
    offline = {
        name: written(tmp_path, name, one.encode(), pin, stage.trust)
        for name, one in (("proven", proven), ("early", early))
    }
    mine, whole = told(verifier, tmp_path, offline), told(None, tmp_path, offline)
    assert mine["told"] == whole["told"]
    assert "gate-registered" in mine["told"]["proven"]["out"] and not NEVER & set(mine["loaded"])
    online = {name: [*line, "--rpc", stage.chain.url] for name, line in offline.items()}
    stage.chain.mine()  # a head of now
    mine = told(with_extras, tmp_path, online, "online")
    stage.chain.mine()
    whole = told(None, tmp_path, online, "online")
    assert mine["told"] == whole["told"]
    assert {name: each["status"] for name, each in mine["told"].items()} == {"proven": 0, "early": 0}
    (tmp_path / "read.py").write_text(READ)
    read = asked(with_extras.folder / "bin" / "python", tmp_path / "read.py", str(VECTORS / "recipe"))
    assert "without duckdb" not in read["recipes"].values()
