# SPDX-License-Identifier: Apache-2.0
"""`sealroom.toml`: command line over environment over file, parsed once, strictly, with secrets masked."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sealroom_agents.cli import main
from sealroom_agents.config import PROCESSES, Config, load, load_shared, process_command
from sealroom_agents.config.display import masked, toml, values
from sealroom_agents.config.model import SECTIONS
from sealroom_agents.config.options import fields, option_of
from sealroom_agents.errors import ConfigurationError

WHOLE = """
[chain]
id = 1
rpc = ["https://one.example/v2/SECRETKEY", "https://user:SECRETKEY@two.example:8545"]
quorum = 2
factory = "0xABababababababababababababababababababab"

[database]
url = "postgresql://sealroom:SECRETKEY@db.example/sealroom"

[gate]
state = "gate"
watch_token_file = "watch.token"
platform_policy = "/etc/sealroom/policy.json"

[watcher]
watch_token_file = "watch.token"

[console]
port = 9090
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sealroom.toml"
    path.write_text(WHOLE)
    return path


def test_the_command_line_is_over_the_environment_which_is_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEALROOM_CHAIN__ID", "10")
    monkeypatch.setenv("SEALROOM_CONSOLE__PORT", "9091")
    monkeypatch.setenv("SEALROOM_WATCHER__CONSORTIA", '["0x' + "11" * 20 + '"]')
    monkeypatch.setenv("SEALROOM_PASSPHRASE", "of an owner's keystore, and no field")
    config = load(file, {"console": {"port": 9092}})
    assert config.chain.id == 10 and config.chain.quorum == 2
    assert config.console is not None and config.console.port == 9092
    assert config.watcher is not None and config.watcher.consortia == ("0x" + "11" * 20,)
    assert config.chain.factory == "0x" + "ab" * 20
    assert config.runner is None


def test_a_path_in_the_file_counts_from_the_files_folder(file: Path) -> None:
    gate = load(file).gate
    assert gate is not None
    assert gate.state == file.parent / "gate"
    assert gate.platform_policy == Path("/etc/sealroom/policy.json")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("port = 9090", "prot = 9090"), "[console] prot is no field of the table, which has host, port"),
        (("[console]", "[konsole]"), "[konsole] is no field of the file, which has chain"),
        (('state = "gate"\n', ""), "[gate] state is missing (--state)"),
        (("port = 9090", "port = 70000"), "[console] port: input should be less than or equal to 65535"),
        (("0xABab", "0xABa"), "[chain] factory: "),
        (("id = 1", "id = "), "is no TOML"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_by_its_field(file: Path, change: tuple[str, str], told: str) -> None:
    """OP-03: a refusal shows no secret either."""
    load(file)
    file.write_text(WHOLE.replace(*change, 1))
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert told in caught.value.message and caught.value.hint != ""
    assert "SECRETKEY" not in str(caught.value)


def test_a_value_that_does_not_fit_is_named_by_where_it_was_given(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=r"^--consortium: "):
        load(file, {"gate": {"consortia": ("0x12",)}})
    monkeypatch.setenv("SEALROOM_CONSOLE__PORT", "many")
    with pytest.raises(ConfigurationError, match=r"^\$SEALROOM_CONSOLE__PORT: "):
        load(file)
    monkeypatch.delenv("SEALROOM_CONSOLE__PORT")
    monkeypatch.setenv("SEALROOM_KONSOLE__PORT", "1")
    with pytest.raises(ConfigurationError, match=r"there is no table \[konsole\]"):
        load(file)
    monkeypatch.delenv("SEALROOM_KONSOLE__PORT")
    monkeypatch.setenv("SEALROOM_CHAIN__RPC", "https://one.example/SECRETKEY")
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert "SECRETKEY" not in str(caught.value) and "JSON" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sqlite:///s.db", "sqlite:///{}/s.db"),
        ("sqlite:////var/s.db", "sqlite:////var/s.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://sealroom@db/sealroom", "postgresql://sealroom@db/sealroom"),
    ],
)
def test_database_and_content_in_the_file_count_from_its_folder_too(
    tmp_path: Path, written: str, meant: str
) -> None:
    """OP-08: a unit's working folder is another one than that of whoever makes a backup."""
    path = tmp_path / "sealroom.toml"
    path.write_text(f'[gate]\nno_field = 1\n[database]\nurl = "{written}"\ncontent = "envelopes"\n')
    kept = load_shared(path).database
    assert kept.clear == meant.format(tmp_path) and kept.content == f"{tmp_path}/envelopes"
    path.write_text('[database]\ncontent = "s3://bucket/prefix"\n')
    assert load_shared(path, {"database": {"url": "sqlite:///x.db"}}).database.clear == "sqlite:///x.db"
    assert load_shared(path).database.content == "s3://bucket/prefix"
    assert load_shared(path).database.clear == f"sqlite:///{tmp_path}/sealroom.db"


def test_no_dotenv_file_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OP-03: who can write into the working folder does not configure a gate."""
    (file.parent / ".env").write_text("SEALROOM_CHAIN__ID=5\n")
    monkeypatch.chdir(file.parent)
    assert load(file).chain.id == 1


def test_what_is_shown_is_a_whole_file_without_secrets(file: Path) -> None:
    config = load(file)
    shown = toml(values(config))
    assert "SECRETKEY" not in shown and "SECRETKEY" not in repr(config)
    again = tomllib.loads(shown)
    assert again["chain"]["rpc"] == ["https://one.example/…", "https://two.example:8545/…"]
    assert again["database"]["url"] == "postgresql://db.example/…"
    assert again["gate"]["port"] == 8400
    Config.model_validate(again)
    assert masked("sqlite:///sealroom.db") == "sqlite:///sealroom.db"
    assert masked("not a URL with SECRETKEY") == "…"


def test_every_option_of_every_process_is_a_field_and_every_field_an_option() -> None:
    reached = set()
    for process in PROCESSES:
        command = main.get_command(click.Context(main), process)
        assert command is not None
        options = {name for each in command.params for name in each.opts}
        assert options == {"--config", *(option_of(field) for _, _, field in fields(process))}
        reached |= {(table, name) for table, name, _ in fields(process)}
    named = {(table, name) for table, each in SECTIONS.items() for name in each.model_fields}
    assert reached == named - {("runner", "options")}  # whatever a backend has, in the file alone


def test_a_command_takes_from_its_file_what_no_option_says(file: Path) -> None:
    taken: list[Config] = []

    @process_command("gate")
    def command(config: Config) -> None:
        """A gate that notes what it is given."""
        taken.append(config)

    given = [
        "--config",
        str(file),
        "--port",
        "0",
        "--rpc",
        "http://127.0.0.1:1",
        "--consortium",
        "0x" + "CD" * 20,
    ]
    assert CliRunner().invoke(command, given).exit_code == 0
    gate = taken[0].gate
    assert gate is not None and (gate.port, gate.state) == (0, file.parent / "gate")
    assert gate.consortia == ("0x" + "cd" * 20,)
    assert taken[0].chain.urls == ("http://127.0.0.1:1",)
    assert CliRunner().invoke(command, ["--port", "65536"]).exit_code == 2


def test_no_option_and_no_file_sets_what_is_the_owners(file: Path) -> None:
    """OP-10, CH-04: who runs the gate cannot make a lease outlive a revocation, nor a stale block count."""

    @process_command("gate")
    def command(config: Config) -> None:
        """A gate."""

    for name in (
        "lease",
        "lease-seconds",
        "staleness",
        "staleness-seconds",
        "heartbeat",
        "heartbeat-seconds",
    ):
        refused = CliRunner().invoke(command, ["--config", str(file), f"--{name}", "31536000"])
        assert refused.exit_code == 2 and "No such option" in refused.output
        table = file.with_name(f"{name}.toml")
        table.write_text(file.read_text().replace("[gate]", f"[gate]\n{name.replace('-', '_')} = 31536000"))
        with pytest.raises(ConfigurationError):
            load(table)


def test_config_prints_schema_and_values_and_finds_what_processes_would_refuse(file: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["config", *arguments])
        return result.exit_code, result.output

    status, text = run("schema")
    found = json.loads(text)
    assert status == 0 and set(found["properties"]) == set(SECTIONS)
    assert found["$defs"]["Gate"]["properties"]["state"]["option"] == "--state"
    assert found["$defs"]["Gate"]["additionalProperties"] is False
    status, text = run("show", "--config", str(file))
    assert status == 0 and "SECRETKEY" not in text and "[console]" in text
    status, text = run("check", "--config", str(file), "--json")
    assert status == 1
    fields_ = {fault["field"] for fault in json.loads(text)["faults"]}
    assert fields_ == {
        "[gate] watch_token_file", "[gate] platform_policy", "[watcher] watch_token_file",
        "[database] content",
    }  # fmt: skip
    token = file.parent / "watch.token"
    token.touch(mode=0o600)
    token.write_text("t" * 32)
    policy = file.parent / "policy.json"
    policy.write_text("{}")
    whole = WHOLE.replace("/etc/sealroom/policy.json", "policy.json")
    file.write_text(whole.replace("[gate]", 'content = "content"\n\n[gate]'))
    assert run("check", "--config", str(file))[0] == 0
    token.chmod(0o644)  # OP-03
    status, text = run("check", "--config", str(file))
    assert status == 1 and f"chmod 600 {token}" in text


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('rpc = ["http://127.0.0.1:9", "http://127.0.0.1:9"]', "[chain] rpc"),
        ('rpc = ["ftp://127.0.0.1:9"]', "[chain] rpc"),
        ('[console]\npins = "nope.toml"', "[console] pins"),
        ('[console]\nsigning_key = "nope.key"', "[console] signing_key"),
        ('[console]\nmetrics = "nonsense"', "[console] metrics"),
        ('[database]\ncontent = "gs://bucket/x"\n[console]', "[database] content"),
    ],
)
def test_what_a_process_refuses_when_it_starts_is_found_before(file: Path, line: str, field: str) -> None:
    """So `sealroom up` does not restart for ever what cannot start."""
    rpc = "" if line.startswith("rpc") else 'rpc = ["http://127.0.0.1:9"]\n'
    more = "" if "[console]" in line else "\n[console]"
    file.write_text(f'[chain]\nfactory = "0x{"ab" * 20}"\n{rpc}{line}{more}\nport = 0\n')
    result = CliRunner().invoke(main, ["config", "check", "--config", str(file), "--json"])
    assert [fault["field"] for fault in json.loads(result.output)["faults"]] == [field]
    if field == "[chain] rpc":  # in this process nothing else may have been set up before
        started = CliRunner().invoke(main, ["console", "--config", str(file)])
        assert started.exit_code == 78, started.output
