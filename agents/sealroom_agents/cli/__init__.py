# SPDX-License-Identifier: Apache-2.0
"""The command ``sealroom``: a group whose commands are imported only when they are called.

This module is the only place that knows the commands' names and the order in which help tells them; `ending`
knows how each ends.
"""

from __future__ import annotations

import gc
import importlib
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.cli.ending import Program, status_of
from sealroom_agents.cli.terminal import colours
from sealroom_agents.errors import CommandExit

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
            Entry(
                "prepare",
                f"{_HERE}.cli.prepare:prepare",
                "make the columns that a study reads of an input as it is",
            ),
            Entry(
                "pseudonyms",
                f"{_HERE}.cli.pseudonyms:pseudonyms",
                "make and compare the key for ids that nobody reads",
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
            Entry(
                "status",
                f"{_HERE}.cli.status:status",
                "show datasets, keys and wraps, which studies open them, budget left",
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
            Entry(
                "image", f"{_HERE}.cli.image:image", "the digest of an image on disk, and those of a release"
            ),
            Entry("drill", f"{_HERE}.local.drill:command", "rehearse a restore, or a revocation"),
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
            "uvicorn", "uvloop",
        ),
        "agents",
    ),
    **dict.fromkeys(("dstack_sdk", "numpy", "opendp", "pandas"), "enclave"),
    "PIL": "images",
    "pydicom": "dicom",
    "psycopg": "postgres",
    "pyrage": "age",
    "s3fs": "s3",
    "torch": "torch",
}  # fmt: skip
"""Which extra of the package `sealroom` brings a module."""
SEALROOM = Program("sealroom", EXTRAS)
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
        """Run, and when standalone turn every error into lines and a status."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        # Some commands hold keys: what a crash leaves in the current folder must not.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        run = partial(super().main, args, prog_name, complete_var, False, color=colours(), **extra)
        status = status_of(run, SEALROOM, given=sys.argv[1:] if args is None else args)
        # What is left goes with the process: to look through it for rubbish takes a tenth of a short command.
        gc.freeze()
        sys.exit(status)


def _show_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    from sealroom import __version__  # not the package's metadata, which the image has not

    click.echo(f"sealroom {__version__}")
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
