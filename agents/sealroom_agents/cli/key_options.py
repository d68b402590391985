# SPDX-License-Identifier: Apache-2.0
"""The options that say where a data key is and what opens it: the same for every command that reads one.

None takes a secret as its value: each names a file, a pipe or a program.
"""

from __future__ import annotations

import sys
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom.codes import Code
from sealroom_agents.chains import C
from sealroom_agents.cli.options import FILE
from sealroom_agents.cli.terminal import warn
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom_agents.owner.custody import Openers, Party
    from sealroom_agents.owner.secret_source import SecretSource

_ASKED = f"{__name__}.asked"
"""Where a command keeps what was given, until it is asked for."""
MAX_PASSPHRASE_BYTES = 1024


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    context.meta.setdefault(_ASKED, {})[option.name] = value


def _option(*names: str, **settings: Any) -> Any:
    return click.option(*names, expose_value=False, callback=_keep, **settings)


_OPENERS = (
    _option(
        "--identity",
        type=FILE,
        multiple=True,
        metavar="FILE",
        envvar="SEALROOM_IDENTITY",
        help="Of a wrapped key: an identity file of age that opens it, a private SSH key, or - for stdin; "
        "may be given again.  [default: $SEALROOM_IDENTITY]",
    ),
    _option(
        "--passphrase-file",
        type=FILE,
        metavar="FILE",
        help="Of a key or an identity under a passphrase: a file or pipe with it.  [default: asked for]",
    ),
    _option("--passphrase-command", metavar="CMD", help="A program that prints that passphrase."),
)
_RECIPIENTS = (
    _option(
        "--recipient",
        "recipients",
        multiple=True,
        metavar="[NAME=]AGE",
        help="Wrap the data key for this age recipient (age1…, of a plugin, ssh-ed25519 …), so that it is "
        "never plain on disk. Give two or more, one of them for escrow: escrow=age1…",
    ),
    _option("--new-passphrase", is_flag=True, help="Wrap it under a passphrase too, which is asked for."),
    _option(
        "--new-passphrase-file",
        type=FILE,
        metavar="FILE",
        help="The same, with the passphrase in a file or pipe.",
    ),
)


def key_options(default: str | None = "keys/OWNER/NAME.key") -> Any:
    """`--key` and all that opens it, for `asked_key` and `openers`. `default` is what help says where no key
    is named."""
    usual = "" if default is None else f"  [default: {default}]"
    places = (
        _option(
            "--key",
            type=FILE,
            metavar="FILE",
            help=f"The data key, wrapped or plain: a file, a pipe, or - for stdin.{usual}",
        ),
        _option(
            "--key-command",
            metavar="CMD",
            help="A program that prints the data key, in place of --key: 'pass show cohort-A'. No shell "
            "reads the line.",
        ),
    )
    return _all(*places, *_OPENERS)


def opener_options(command: C) -> C:
    """What opens a wrapped key, for `openers`."""
    return _all(*_OPENERS)(command)


def recipient_options(command: C) -> C:
    """For whom a key is wrapped, for `parties`."""
    return _all(*_RECIPIENTS)(command)


def _all(*options: Any) -> Any:
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


def _asked(name: str) -> Any:
    return click.get_current_context().meta.get(_ASKED, {}).get(name)


def name_key(place: Path) -> None:
    """Say where the key is for a command that another one invokes: it has no command line of its own."""
    click.get_current_context().meta.setdefault(_ASKED, {})["key"] = place


def asked_key() -> SecretSource | None:
    """Where the command line says that the key is; `None` where it says nothing."""
    return _source("key", "key_command", "where the key is")


def _source(place_name: str, command_name: str, what: str) -> SecretSource | None:
    from sealroom_agents.owner.secret_source import SecretSource

    place, command = _asked(place_name), _asked(command_name)
    if place is not None and command is not None:
        names = (f"--{each.replace('_', '-')}" for each in (place_name, command_name))
        raise click.UsageError(f"{' and '.join(names)} both say {what}: leave out one")
    if place is None and command is None:
        return None
    return SecretSource(place=None if place is None else Path(place), command=command)


def openers() -> Openers:
    """What a wrapped key is opened with; identities are read now, a passphrase when it is needed."""
    from sealroom_agents.owner import age
    from sealroom_agents.owner.custody import Openers
    from sealroom_agents.owner.secret_source import SecretSource

    spent = False

    def of_identity(what: str) -> str:
        nonlocal spent
        spent = True
        return _passphrase(what)

    found: dict[str, list[Any]] = {}
    for path in _asked("identity") or ():
        source = SecretSource(place=path)
        content = source.read(age.MAX_IDENTITY_BYTES, on_exposed=warn)
        found[source.name] = age.identities(content, name=source.name, ask=of_identity)
    given = _source("passphrase_file", "passphrase_command", "where the passphrase is") is not None
    asks = given or at_a_terminal()
    return Openers(
        identities=found,
        passphrase=(lambda: _passphrase("the data key")) if asks else None,
        passphrase_named=given and not spent,
        passphrase_spent=given and spent,
    )


def asks_for_parties() -> bool:
    """Whether the command line says for whom a key is wrapped; nothing is read for that."""
    return any(_asked(name) for name in ("recipients", "new_passphrase", "new_passphrase_file"))


def parties() -> tuple[Party, ...]:
    """For whom the command line says that the key is wrapped; none for a plain one.

    Raises `recipient-malformed`, `recipient-exists`, `passphrase-weak`, `passphrase-missing`.
    """
    recipients, place = _asked("recipients") or (), _asked("new_passphrase_file")
    by_passphrase = place is not None or _asked("new_passphrase")
    if not recipients and not by_passphrase:
        return ()
    from sealroom_agents.owner import age
    from sealroom_agents.owner.custody import Party
    from sealroom_agents.owner.key_file import PASSPHRASE, slot_name
    from sealroom_agents.owner.secret_source import SecretSource

    found: list[Party] = []
    for text in recipients:
        name, given, rest = text.partition("=")
        recipient = age.recipient(rest if given else text)
        found.append(Party(slot_name(name if given else _usual_name(recipient.text)), recipient))
    if by_passphrase:
        new = _text(SecretSource(place=place)) if place is not None else _new_passphrase()
        age.need_strong(new)
        found.append(Party(PASSPHRASE, None, new))
    for one in ({each.name for each in found}, {each.recipient for each in found}):
        if len(one) < len(found):
            raise ToolError(
                Code.RECIPIENT_EXISTS, "two recipients are the same, or have one name", "NAME=age1…"
            )
    return tuple(found)


def _usual_name(text: str) -> str:
    """A name for a recipient that was given none: the begin of its key."""
    return text.split()[-1][-12:].replace("/", "-").strip("+=-") if text.startswith("ssh-") else text[:12]


def at_a_terminal() -> bool:
    """Whether somebody can be asked for a passphrase."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _passphrase(what: str) -> str:
    """The passphrase of something that is there: from the options, else typed unseen."""
    source = _source("passphrase_file", "passphrase_command", "where the passphrase is")
    if source is not None:
        return _text(source)
    if not at_a_terminal():
        raise ToolError(
            Code.PASSPHRASE_MISSING,
            f"cannot prompt for the passphrase of {what}: not a terminal",
            "in a script, name --passphrase-file or --passphrase-command",
        )
    return str(click.prompt(f"passphrase of {what}", hide_input=True, err=True))


def _new_passphrase() -> str:
    if not at_a_terminal():
        raise ToolError(
            Code.PASSPHRASE_MISSING,
            "cannot prompt for a new passphrase: not a terminal",
            "in a script, name --new-passphrase-file",
        )
    return str(
        click.prompt("new passphrase of the data key", hide_input=True, err=True, confirmation_prompt=True)
    )


def _text(source: SecretSource) -> str:
    """A passphrase: the first line, as it is."""
    content = source.read(MAX_PASSPHRASE_BYTES)
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeError:
        lines = []
    if len(content) > MAX_PASSPHRASE_BYTES or len(lines) != 1 or not lines[0]:
        raise ToolError(Code.PASSPHRASE_MISSING, f"{source.name} holds no passphrase", "one line of text")
    return lines[0]
