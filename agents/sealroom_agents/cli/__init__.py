# SPDX-License-Identifier: Apache-2.0
"""The command ``sealroom``: a group whose commands are imported only when they are called.

This module is the only place that knows the commands' names, the order in which help tells them, and how an
error becomes lines on the terminal and an exit status:

====  =========================================================================================
0     done; what was checked holds; also a process that SIGTERM or Ctrl-C ended in order
1     refused, or broken: the ``error:`` line says what, the ``hint:`` line what to do
2     the command was called in a way it doesn't understand
3     ``check`` and ``verify``: not decided, since no node answered
4     ``verify`` and ``decide --check``: self-consistent, origin unproven
130   stopped by Ctrl-C, SIGTERM or SIGHUP; what was half made is removed
78    a process that must not start as it was configured (sysexits ``EX_CONFIG``)
====  =========================================================================================

With ``--json``, a refusal is also one JSON object on stdout, ``{"ok": false, "code", "error", "hint"}``: its
code is stable, its words are not.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom.codes import Code
from sealroom.errors import SealroomError
from sealroom_agents.cli.terminal import complain
from sealroom_agents.errors import CommandExit, ConfigurationError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


@dataclass(frozen=True)
class Entry:
    """One command: enough to list it without importing it."""

    name: str
    """What is typed after ``sealroom``."""
    target: str
    """``module:attribute`` of its click command."""
    summary: str
    """Its line in ``sealroom --help``."""


_HERE = "sealroom_agents"
SECTIONS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "Data owners",
        (
            Entry("card", f"{_HERE}.cli.card:card", "write the study card from chain and gate, or check one"),
            Entry(
                "profile",
                f"{_HERE}.cli.profile:profile",
                "show what stands in a table, and whether a study can read it",
            ),
            Entry("images", f"{_HERE}.cli.images:images", "write a folder of pictures as a table to seal"),
            Entry("seal", f"{_HERE}.cli.seal:seal", "seal a dataset at its source, for one recipe"),
            Entry("reseal", f"{_HERE}.cli.reseal:reseal", "wrap a sealed dataset for another study"),
            Entry("unseal", f"{_HERE}.cli.unseal:unseal", "open a sealed dataset with its data key"),
            Entry("key", f"{_HERE}.cli.key:key", "show and change who can open a data key"),
            Entry(
                "inspect", f"{_HERE}.cli.inspection:inspect", "show what a sealed dataset says without a key"
            ),
            Entry(
                "explain-failure",
                f"{_HERE}.cli.explain_failure:explain_failure",
                "open the reason why a run failed",
            ),
            Entry("check", f"{_HERE}.cli.check:check", "hold a sealed dataset against study card and chain"),
            Entry("sign", f"{_HERE}.cli.sign:sign", "put the owner's signature into a sealed dataset"),
            Entry(
                "upload", f"{_HERE}.cli.transfer:upload", "send a sealed dataset, and compare what arrived"
            ),
            Entry(
                "fetch", f"{_HERE}.cli.transfer:fetch", "fetch a sealed dataset, if it is the expected one"
            ),
        ),
    ),
    (
        "Governance",
        (
            Entry("govern", f"{_HERE}.governance.command:command", "what owners see, decide, sign and stop"),
            Entry("policy", f"{_HERE}.cli.policy:policy", "show, compare, try the owners' platform policy"),
            Entry(
                "approval",
                f"{_HERE}.cli.approval:approval",
                "read a proposal from the chain, with twelve words to compare",
            ),
            Entry(
                "decide",
                f"{_HERE}.cli.decide:decide",
                "write or check the page of a study, as one signed file from disk",
            ),
        ),
    ),
    (
        "Researchers and auditors",
        (
            Entry("study", f"{_HERE}.cli.study:study", "write, check, try out and explain a study"),
            Entry("layers", f"{_HERE}.cli.layers:layers", "print a torch module as the layers of a study"),
            Entry("recipe", f"{_HERE}.cli.recipe:recipe", "render a study to the bytes that owners approve"),
            Entry(
                "relation", f"{_HERE}.cli.relation:relation", "show the SQL that a study runs, as compiled"
            ),
            Entry("proposal", f"{_HERE}.cli.proposal:proposal", "write what owners approve on chain"),
            Entry("run", f"{_HERE}.cli.run:run", "submit a recipe, follow the run, save its envelope"),
            Entry("call", f"{_HERE}.cli.call:call", "ask a console, and verify what it answers"),
            Entry("pin", f"{_HERE}.cli.pin:pin", "write what results are proven against"),
            Entry("verify", f"{_HERE}.cli.verify:verify", "walk every link of a result's envelope"),
            Entry("prove", f"{_HERE}.cli.prove:prove", "put proofs of its anchoring into an envelope"),
            Entry("model", f"{_HERE}.cli.model:model", "write a released model as a file with its envelope"),
            Entry(
                "attestation",
                f"{_HERE}.cli.attestation:attestation",
                "write what a result proves for tools that read in-toto and SLSA",
            ),
            Entry("gpu", f"{_HERE}.cli.gpu:gpu", "verify evidence of NVIDIA GPUs"),
            Entry("show", f"{_HERE}.cli.show:show", "show a result as tables, and draw it"),
            Entry("gate-log", f"{_HERE}.cli.gatelog:gate_log", "check a gate's audit log against envelopes"),
        ),
    ),
    (
        "Operators",
        (
            Entry("gate", f"{_HERE}.gate.command:command", "release data keys to attested enclaves"),
            Entry("kms-webhook", f"{_HERE}.gate.boot:kms_webhook", "tell a dstack KMS what it may boot"),
            Entry("runner", f"{_HERE}.runner.command:command", "start approved runs and anchor receipts"),
            Entry("watcher", f"{_HERE}.watcher.command:command", "follow the chain, end what was revoked"),
            Entry(
                "console", f"{_HERE}.console.command:command", "serve the REST interface and the web pages"
            ),
            Entry("token", f"{_HERE}.cli.token:token", "API tokens that stand for researchers' accounts"),
            Entry("up", f"{_HERE}.up.command:command", "start and keep all processes of sealroom.toml"),
            Entry(
                "room", f"{_HERE}.local.command:command", "join, approve and revoke in a room on one machine"
            ),
            Entry("drill", f"{_HERE}.local.drill:command", "measure a revocation in a local room"),
            Entry("doctor", f"{_HERE}.doctor.command:command", "say what is wrong, and what to do"),
            Entry("config", f"{_HERE}.cli.config:config", "show, check and explain sealroom.toml"),
            Entry(
                "provision", f"{_HERE}.cli.provision:provision", "ask Phala Cloud what a recipe would measure"
            ),
            Entry("db", f"{_HERE}.upkeep.command:command", "look at the database, upgrade it, rebuild it"),
            Entry("backup", f"{_HERE}.upkeep.command:backup", "write database and envelopes to one file"),
            Entry("restore", f"{_HERE}.upkeep.command:restore", "make database and envelopes from a backup"),
            Entry("simulate", f"{_HERE}.simulator.command:command", "a software TDX, for local chains only"),
            Entry("demo", f"{_HERE}.demo.command:command", "run one study, from sealing to revocation"),
        ),
    ),
    (
        "This tool",
        (
            Entry(
                "completion",
                f"{_HERE}.cli.completion:completion",
                "print a script by which a shell completes commands",
            ),
            Entry("man", f"{_HERE}.cli.man:man", "write manual pages of all commands"),
        ),
    ),
)

EXTRAS = {
    **dict.fromkeys(
        (
            "alembic", "apscheduler", "fastapi", "httptools", "jinja2", "multipart", "prometheus_client",
            "pydantic_settings", "python_multipart", "sqlalchemy", "sse_starlette", "starlette", "structlog",
            "tenacity", "uvicorn", "uvloop",
        ),
        "agents",
    ),
    **dict.fromkeys(("dstack_sdk", "numpy", "opendp", "pandas"), "enclave"),
    "PIL": "images",
    "psycopg": "postgres",
    "pyrage": "age",
    "s3fs": "s3",
    "torch": "torch",
}  # fmt: skip
"""Which extra of the package `sealroom` brings a module."""
ENTRIES = {entry.name: entry for _, entries in SECTIONS for entry in entries}


class LazyGroup(click.Group):
    """A group that lists its commands from `SECTIONS` and imports one only when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(ENTRIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = ENTRIES.get(cmd_name)
        if entry is None:
            return None
        module_name, _, attribute = entry.target.partition(":")
        command = getattr(importlib.import_module(module_name), attribute)
        command.name = cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as missing:
            raise click.exceptions.NoSuchCommand(
                missing.command_name, possibilities=ENTRIES, ctx=ctx
            ) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # click's own imports each command for its summary.
        from click.shell_completion import CompletionItem

        entries = [entry for entry in ENTRIES.values() if entry.name.startswith(incomplete)]
        return [
            *(CompletionItem(entry.name, help=entry.summary) for entry in entries),
            *click.Command.shell_complete(self, ctx, incomplete),
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in ENTRIES)
        for title, entries in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(entry.name.ljust(width), entry.summary) for entry in entries])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and when standalone turn every error into lines and a status; the one place that does."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        # Some commands hold keys: what a crash leaves in the current folder must not.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        given = sys.argv[1:] if args is None else list(args)
        run = partial(super().main, args, prog_name, complete_var, False, **extra)
        sys.exit(_status(run, as_json="--json" in given, given=given))


def _status(run: Callable[[], Any], *, as_json: bool = False, given: Sequence[str] = ()) -> int:
    try:
        status = run()
        # Output to a closed pipe must fail here, not in the interpreter's exit.
        sys.stdout.flush()
        return status if isinstance(status, int) else CommandExit.DONE
    except SealroomError as failed:
        error = _of_room(failed, given)
        status = _refused(error.code, error.message, error.hint, as_json=as_json)
        return CommandExit.CONFIGURATION if isinstance(error, ConfigurationError) else status
    except ModuleNotFoundError as missing:
        package, hint = _package(missing)
        return _refused(
            Code.PACKAGE_MISSING, f"this needs the Python package {package}", hint, as_json=as_json
        )
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return CommandExit.USAGE
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else "sealroom"
        complain(_lower(" ".join(error.format_message().split())), f"see '{path} --help'")
        return CommandExit.USAGE
    except click.ClickException as error:
        complain(_lower(error.format_message()), None)
        return CommandExit.FAILED
    except (click.Abort, KeyboardInterrupt):
        complain("stopped", None)
        return CommandExit.INTERRUPTED
    except BrokenPipeError:
        # `sealroom … | head` is no error; point stdout elsewhere so that the exit's flush stays quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CommandExit.DONE
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        complain(f"{name}{_lower(error.strerror or str(error))}", None)
        return CommandExit.FAILED


def _of_room(error: SealroomError, given: Sequence[str]) -> SealroomError:
    """An error of a chain or console that does not answer says so where it is that of a room that stopped."""
    if error.code not in (Code.CHAIN_UNREACHABLE, Code.CONSOLE_UNREACHABLE):
        return error
    from sealroom_agents.local.room import Places, Room
    from sealroom_agents.storage_options import ROOM

    named = [Path(after) for option, after in pairwise(given) if option == "--room"]
    folder = (named or [ROOM])[-1]
    return Room.read(folder).away(error) if Places(folder).room.exists() else error


def _refused(code: Code, message: str, hint: str | None, *, as_json: bool) -> int:
    if as_json:
        refusal = {"ok": False, "code": code, "error": message, "hint": hint}
        click.echo(json.dumps(refusal))
    complain(message, hint)
    return CommandExit.FAILED


def _package(missing: ModuleNotFoundError) -> tuple[str, str]:
    """The package that was not found, and how to get it. Raises `missing` when it is one of ours: a bug."""
    package = (missing.name or "").partition(".")[0]
    if package in ("", "sealroom", "sealroom_agents"):
        raise missing
    extra = EXTRAS.get(package)
    return package, f'pip install "sealroom[{extra}]"' if extra else f"pip install {package}"


def _lower(message: str) -> str:
    """First letter lower, unless the first word is a name in capitals."""
    if len(message) > 1 and message[1].isupper():
        return message
    return (message[:1].lower() + message[1:]).rstrip(".")


def _show_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"sealroom {version('sealroom')}")
    ctx.exit(CommandExit.DONE)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="\b\nExample:\n"
    "  sealroom card --rpc URL --consortium 0x… --recipe app-compose.json --gate URL\n"
    "  sealroom seal --study study.json --owner hospital-A --in cohort-A.parquet\n"
    "  sealroom verify envelope.json --pin pin.json",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version.",
)
def main() -> None:
    """Compute travels. Data stays.

    Several owners let one approved recipe compute over all their data in an attested enclave, and only its
    signed, differentially private answer comes out.
    """
