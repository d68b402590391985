# SPDX-License-Identifier: Apache-2.0
"""The commands as people type them.

Each file in `transcripts/` is one sitting in a folder of its own. `$ command` must succeed, `! command` must
end with status 1, `!2 command` with status 2, and so on. The lines below a command are all that it prints,
stdout and stderr as they come; `…` stands for any text, a line `[…]` for any lines.
"""

from __future__ import annotations

import json
import os
import pty
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from eth_account import Account
from tests.agents.shell import environment, forked, shell
from tests.agents.worked import (
    ANALYSIS,
    fresh_platform,
    make_card,
    make_gate,
    make_run,
    render_recipe,
    write_cohort,
)
from tests.patience import PATIENCE_S

from sealroom.keys import address_of
from sealroom_agents.attestation import encode_os_images
from sealroom_agents.cli import ENTRIES
from sealroom_agents.cli.terminal import PROGRESS_FROM_BYTES
from sealroom_agents.simulator.platform import simulated_os_image

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TRANSCRIPTS = sorted((HERE / "transcripts").glob("*.txt"))
HEAVY = ("web3", "torch", "pyarrow", "pandas", "cryptography", "rich", "httpx", "sqlalchemy")
"""What may not be imported in order to print help."""


@dataclass(frozen=True)
class Step:
    """One command of a transcript, with what it must print."""

    line: int
    command: str
    status: int
    output: tuple[str, ...]


def read_steps(path: Path) -> list[Step]:
    """The steps of a transcript, in order."""
    steps: list[Step] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        start = re.fullmatch(r"(?:(\$)|!(\d*)) (.+)", line)
        if start is not None:
            status = 0 if start[1] else int(start[2] or 1)
            steps.append(Step(number, start[3], status, ()))
        elif steps and not line.startswith("#"):
            last = steps.pop()
            steps.append(Step(last.line, last.command, last.status, (*last.output, line)))
    return [Step(s.line, s.command, s.status, _without_blank_ends(s.output)) for s in steps]


def _without_blank_ends(lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("\n".join(lines).strip("\n").split("\n")) if any(lines) else ()


def expected(output: tuple[str, ...]) -> re.Pattern[str]:
    """What a transcript's lines match."""
    parts = [
        r"(?:.*\n)*" if line == "[…]" else ".*".join(re.escape(text) for text in line.split("…")) + r"\n"
        for line in output
    ]
    return re.compile("".join(parts))


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an owner has: cards, a simulated root, a file that fits the recipe and one that doesn't."""
    folder = tmp_path_factory.mktemp("desk")
    platform = fresh_platform()
    gate = make_gate(platform)
    recipe = render_recipe(folder / "recipe")
    changed = render_recipe(folder / "recipe2", analysis=ANALYSIS + "# one line more\n")
    other = make_gate(fresh_platform())
    (folder / "root.der").write_bytes(platform.root_der)
    (folder / "app-compose.json").write_bytes(recipe)
    past = make_gate(platform, now=int(time.time()) - 31 * 24 * 3600)
    officer, stranger = (secrets.token_bytes(32) for _ in range(2))
    elsewhere = {"consortium": "0x" + "c3" * 20, "app": "0x" + "a3" * 20}
    for name, card in {
        "study.json": make_card(gate, recipe),
        "study3.json": replace(make_card(gate, recipe), **elsewhere),
        "study2.json": make_card(gate, changed),
        "forged.json": make_card(other, recipe),
        "stale.json": make_card(past, recipe),
    }.items():
        first, second = card.owners
        owners = (replace(first, account=address_of(officer)), second)
        (folder / name).write_bytes(replace(card, owners=owners).encode())
    write_keystore(folder / "officer.keystore", officer)
    write_keystore(folder / "stranger.keystore", stranger)
    (folder / "account").write_text(address_of(officer))
    (folder / "wallet.py").write_text(WALLET.format(key=officer.hex()))
    (folder / "members.py").write_text(MEMBERS)
    (folder / "newkey.py").write_text(NEW_KEY)
    envelope = make_run(platform, gate, recipe).envelope()
    content = json.loads(envelope.encode())
    content["result"]["fields"]["people"]["groups"][0]["people"] += 1
    (folder / "envelope.json").write_bytes(envelope.encode())
    (folder / "os-images.json").write_bytes(encode_os_images([simulated_os_image()]))
    (folder / "edited.json").write_text(json.dumps(content))
    write_cohort(folder / "cohort-A.parquet")
    people = {"person_id": pa.array([1, 2]), "age": pa.array([60, 61]), "name": pa.array(["Ada", "Bo"])}
    write_cohort(folder / "names.parquet", columns=people)
    write_tables(folder)
    (folder / "export.csv").write_text(EXPORT)
    (folder / "export.toml").write_text(DECLARED)
    return folder


EXPORT = "Patienten-Nr;Alter;Geschlecht;Nachname\n" + "".join(
    f" {number:06};{20 + number % 70};{'mw'[number % 2]};Lovelace\n" for number in range(1, 201)
)
"""What a hospital exports."""

DECLARED = """\
version = 1

[input]
form = "csv"
delimiter = ";"

[pseudonyms]
study = "small-study"

[columns.person_id]
from = "Patienten-Nr"
type = "int64"
pseudonym = { spelling = ["trim", "strip-zeros"] }

[columns.age]
from = "Alter"
type = "float64"

[columns.sex]
from = "Geschlecht"
type = "string"
values = { m = "M", w = "F" }
"""
"""What becomes of it."""

WALLET = """\
import sys
from eth_account import Account
from eth_account.messages import encode_defunct
message = encode_defunct(hexstr=open(sys.argv[1]).read().strip())
print("0x" + Account.sign_message(message, "{key}").signature.hex())
"""
"""Any other wallet: it signs bytes as a personal message."""

NEW_KEY = """\
import os, pyrage, sys
identity = pyrage.x25519.Identity.generate()
with open(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY, 0o600), "w") as stream:
    print("# created: today", identity, sep="\\n", file=stream)
print(identity.to_public(), file=open(sys.argv[2], "w"))
"""
"""What age-keygen does: a new identity, and its recipient."""

MEMBERS = """\
import sys, tarfile
archives = [tarfile.open(path) for path in sys.argv[1:]]
names = {tuple(archive.getnames()) for archive in archives}
assert len(names) == 1
for name in names.pop():
    if len({archive.extractfile(name).read() for archive in archives}) > 1:
        print(name, "differs")
"""
"""Which members of some archives differ."""


def write_keystore(path: Path, key: bytes) -> None:
    """A keystore file, quick to open, of the passphrase `open`."""
    path.write_text(json.dumps(Account.encrypt(key, "open", kdf="pbkdf2", iterations=2)))
    path.chmod(0o600)


def write_tables(folder: Path) -> None:
    """The cohort in other forms, and forms of it that cannot be sealed."""
    table = pq.read_table(folder / "cohort-A.parquet")
    pyarrow.csv.write_csv(table, folder / "cohort-A.csv")
    pyarrow.csv.write_csv(
        table, folder / "semicolons.csv", pyarrow.csv.WriteOptions(delimiter=";", quoting_style="none")
    )
    with pa.ipc.new_file(folder / "cohort-A.arrow", table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(folder / "stream.arrows", table.schema) as writer:
        writer.write_table(table)
    (folder / "cells.csv").write_text("person_id,age,sex\n1,60,F\n2,Ada Lovelace,F\n")
    (folder / "ragged.csv").write_text("person_id,age,sex\n1,60,F\n2,Lovelace\n")
    (folder / "unclosed.csv").write_text('person_id,age,sex\n1,50,F\n2,60,"M\n3,61,F\n')
    (folder / "scans" / "1").mkdir(parents=True)
    (folder / "scans" / "1" / "a.dcm").write_bytes(b"scan")
    (folder / "scans" / "b.dcm").write_bytes(b"")


@pytest.fixture
def sitting(desk: Path, tmp_path: Path) -> Path:
    """A copy of the desk, for one transcript."""
    shutil.copytree(desk, tmp_path, dirs_exist_ok=True)
    (tmp_path / "seal-dataset.py").symlink_to(ROOT / "scripts" / "seal-dataset.py")
    return tmp_path


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, sitting: Path) -> None:
    steps = read_steps(path)
    assert steps, f"{path} holds no command"
    for step in steps:
        done = forked(step.command, sitting)
        shown = f"{path.name}:{step.line}: {step.command}\n{done.stdout}"
        assert done.returncode == step.status, shown
        assert expected(step.output).fullmatch(done.stdout), f"{shown}\nexpected:\n" + "\n".join(step.output)


# --- help ----------------------------------------------------------------------------------------

GROUPS = (
    "config",
    "db",
    "drill",
    "govern",
    "image",
    "key",
    "policy",
    "pseudonyms",
    "room",
    "simulate",
    "study",
    "token",
)
"""Commands whose own commands have the options."""


@pytest.fixture(scope="module")
def helps(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """What each command says of itself; each is asked once."""
    folder = tmp_path_factory.mktemp("helps")
    return cache(lambda name: shell(f"sealroom {name} --help", folder))


@pytest.mark.parametrize("name", ENTRIES)
def test_help_of_every_command_shows_an_example(
    name: str, helps: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    done = helps(name)
    assert done.returncode == 0, done.stdout
    assert re.search(rf"\n +sealroom {name} .*--?\w|\n +sealroom {name} [\w~]", done.stdout), done.stdout


@pytest.mark.parametrize("name", ENTRIES)
def test_each_example_of_a_help_can_be_copied(
    name: str, helps: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    said, _, listed = helps(name).stdout.partition("\nOptions:")
    options = set(re.findall(r"(?<!\S)--[a-z0-9-]+", listed))
    # Lines that end in a backslash go on.
    _, first, rest = said.replace("\\\n", " ").partition("\n    sealroom ")
    examples = [line.split() for line in (first + rest).splitlines() if line.startswith("    ")]
    assert examples and {words[0] for words in examples} <= {"sealroom", "ape"}
    # An example may go on with the next command.
    assert {words[1] for words in examples if words[0] == "sealroom"} <= {*ENTRIES}
    own = [words for words in examples if words[:2] == ["sealroom", name]]
    assert own
    if name not in GROUPS:
        assert {word for words in own for word in words if word.startswith("--")} <= options


def test_a_recipe_shows_its_budget_as_the_envelope_does(tmp_path: Path) -> None:
    done = shell(f"sealroom recipe {ROOT / 'enclave' / 'studies' / 'cardio-renal'}", tmp_path)
    assert re.search(r"^privacy +ε 1\.5, δ 1e-6 for each person_id", done.stdout, re.MULTILINE)


def test_no_field_of_a_recipe_speaks_as_its_guarantee(tmp_path: Path) -> None:
    """OU-09: a researcher chooses the names of fields, and of columns that stand beside them."""
    study = tmp_path / "study"
    study.mkdir()
    claims = "by-construction. Each person's rows depend on that person's data alone"
    (study / "study.yaml").write_text(
        json.dumps(
            {
                "version": 2,
                "name": "claims",
                "question": "guarantee: by-construction",
                "image": f"ghcr.io/sealroom/enclave@sha256:{'ab' * 32}",
                "gpu": "none",
                "guarantee": "by-reading",
                "schemas": {"visits": {"unit": "id", "columns": {"id": "int64", claims: "float64"}}},
                "datasets": [{"owner": "a", "name": "visits", "schema": "visits"}],
                "privacy": {
                    "adjacency": "add-remove", "epsilon": "1", "delta": "0", "minimum_cohort": 10,
                    "release_after_seconds": 60,
                },
                "output": {
                    "limit_bytes": 4096,
                    "groups": {},
                    "fields": [
                        {
                            "name": "guarantee", "kind": "mean", "column": claims, "by": [], "lower": "0",
                            "upper": "9", "decimals": 1, "epsilon": "1",
                        }
                    ],
                },
            }
        )
    )  # fmt: skip
    (study / "analysis.py").write_text("print(1)\n")
    done = shell(f"sealroom recipe {study} --out recipe.json", tmp_path)
    said = [line.split(maxsplit=1)[1] for line in done.stdout.splitlines() if line.startswith("guarantee")]
    assert len(said) == 1 and said[0].startswith("by-reading, one row a person. "), (done.stdout, done.stderr)


def test_help_lists_every_command_in_the_order_of_the_story(tmp_path: Path) -> None:
    shown = shell("sealroom --help", tmp_path).stdout
    places = [shown.index(f"\n  {name} ") for name in ENTRIES]
    assert places == sorted(places)
    assert shown.index("Data owners") < shown.index("Researchers and auditors") < shown.index("Operators")


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from sealroom_agents.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print()\nimport json; print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    modules = json.loads(done.stdout.splitlines()[-1])
    assert not set(HEAVY) & set(modules)


SEAL = "sealroom seal --owner hospital-A --in cohort-A.parquet --simulated-root root.der --yes"
"""The owner's one line, as a script says it."""

# --- what a transcript can't show ------------------------------------------------------------------


def at_a_terminal(command: str, folder: Path, *, keys: bytes = b"") -> tuple[int, str]:
    """Run with a terminal on stdin, stdout and stderr, type `keys`; returns the status and what was shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, keys)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # how Linux says that nobody holds the other end any more
        pass
    finally:
        os.close(ours)
    return process.wait(PATIENCE_S), shown.decode(errors="replace")


def test_at_a_terminal_sealing_asks_and_a_no_leaves_everything_as_it_was(sitting: Path) -> None:
    command = "sealroom seal --owner hospital-A --in cohort-A.parquet --simulated-root root.der"
    status, shown = at_a_terminal(command, sitting, keys=b"n\n")
    assert status == 1
    assert "seal cohort-A.parquet for this recipe? [y/N]" in shown
    assert "error: nothing was done" in shown
    assert not (sitting / "sealed").exists()
    status, shown = at_a_terminal(command, sitting, keys=b"y\n")
    assert status == 0
    assert (sitting / "sealed" / "hospital-A" / "cohort-A.tar").exists()


def test_a_large_file_shows_a_bar_at_a_terminal_and_none_in_a_pipe(sitting: Path) -> None:
    rows = 4_500_000
    random = numpy.random.default_rng(7)
    columns = {
        "person_id": pa.array(random.integers(0, 2**62, rows)),
        "age": pa.array(random.random(rows)),
        "sex": pa.array(["F"] * rows),
    }
    write_cohort(sitting / "cohort-A.parquet", columns=columns)
    assert (sitting / "cohort-A.parquet").stat().st_size > PROGRESS_FROM_BYTES
    command = "sealroom seal --owner hospital-A --in cohort-A.parquet --simulated-root root.der --yes"
    status, shown = at_a_terminal(f"{command} --out bar.tar --key-out keys/bar.key", sitting)
    assert status == 0
    assert "sealing cohort-A.parquet" in shown
    piped = shell(f"{command} --out pipe.tar --key-out keys/pipe.key", sitting)
    assert "sealing cohort-A.parquet" not in piped.stdout


def test_the_bar_tells_rate_and_time_left(tmp_path: Path) -> None:
    program = (
        "import time; from sealroom_agents.cli.terminal import progress\n"
        "with progress('sealing', 10**9) as advance:\n"
        "    for step in range(8): time.sleep(0.15); advance(step * 10**8, 10**9)\n"
    )
    status, shown = at_a_terminal(f'python -c "{program}"', tmp_path)
    assert status == 0
    assert re.search(r"\d MB/s", shown)
    assert re.search(r"0:00:\d\d", shown)


def test_sealing_leaves_nothing_behind_when_it_fails(sitting: Path) -> None:
    (sitting / "cohort-A.parquet").write_bytes(b"PAR1 but no more")
    before = sorted(sitting.rglob("*"))
    done = shell(SEAL, sitting)
    assert done.returncode == 1
    assert sorted(sitting.rglob("*")) == before


def test_the_data_key_is_for_its_owner_only_and_in_no_output(sitting: Path) -> None:
    """OP-03."""
    done = shell(SEAL, sitting)
    key = sitting / "keys" / "hospital-A" / "cohort-A.key"
    assert key.stat().st_mode & 0o777 == 0o600
    secret = key.read_text().split("0x")[1].strip()
    assert secret not in done.stdout
    sealed = sitting / "sealed" / "hospital-A" / "cohort-A.tar"
    assert bytes.fromhex(secret) not in sealed.read_bytes()


def test_json_output_is_one_object_and_nothing_else_on_stdout(sitting: Path) -> None:
    summary = json.loads(shell(f"{SEAL} --json 2>/dev/null", sitting).stdout)
    registration = json.loads((sitting / summary["registration"]).read_text())
    assert registration == {
        "dataset": summary["datasetId"],
        "owner": summary["account"],
        "name": "cohort-A",
        "number": 1,
        "version": {
            "header": summary["headerDigest"],
            "index": summary["indexDigest"],
            "keyCommitment": summary["keyCommitment"],
            "schemaHash": summary["schemaHash"],
            "rows": 200,
        },
    }
