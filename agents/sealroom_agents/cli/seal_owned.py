# SPDX-License-Identifier: Apache-2.0
"""Whose dataset `sealroom seal` seals: an owner's of a study card, or an account's before there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from sealroom_agents.cli.terminal import ask_passphrase, warn

if TYPE_CHECKING:
    from pathlib import Path

    from sealroom_agents.owner.keystore import Keystore, Signer
    from sealroom_agents.studycard import StudyCard


@dataclass(frozen=True)
class Owned:
    """Whose dataset it is."""

    place: str
    """Folder of the owner's files: the owner's id, or before there is a study, the account."""
    registrant: str
    """Account that registers the dataset, or did."""
    signer: str
    """Account whose signature the file may have."""
    consortium: str | None = None
    """The consortium whose registry is asked, where no card names it."""

    def on(self, card: StudyCard, owner: str) -> Owned:
        """The same, as the card has it. Raises `owner-not-in-card`."""
        account = card.owner(owner).account
        registrant = self.registrant or account
        if registrant != account:
            warn(
                f"{owner} votes with {account}: only a dataset that moved there is still called after "
                f"{registrant}"
            )
        return Owned(place=owner, registrant=registrant, signer=account)


def owned_by(
    owner: str | None, account: str | None, *, rpc: tuple[str, ...], consortium: str | None
) -> Owned:
    """Whose dataset it is, as the command line says."""
    address = "" if account is None else _address("--account", account)
    place = None if consortium is None else _address("--consortium", consortium)
    if owner is None and not address:
        raise click.UsageError("needs --owner ID, for a study; or --account ADDRESS, before there is one")
    if owner is None:
        given = click.get_current_context().get_parameter_source
        for name, option in _OF_A_STUDY.items():
            if given(name) is not ParameterSource.DEFAULT:
                raise click.UsageError(f"{option} is about a study: name its owner with --owner ID")
        if bool(rpc) != (consortium is not None):
            raise click.UsageError(
                "--rpc and --consortium go together: in which registry the name must be free"
            )
    elif consortium is not None:
        raise click.UsageError("--consortium goes with --account; with --owner the study card names it")
    return Owned(place=owner or address, registrant=address, signer=address, consortium=place)


def _address(option: str, text: str) -> str:
    from sealroom.encoding import normal_address
    from sealroom.errors import FormatError

    try:
        return normal_address(text)
    except FormatError:
        raise click.UsageError(f"{option} {text!r} is no address: 0x and 40 hex digits") from None


_OF_A_STUDY = {
    "study": "--study",
    "gate_compose": "--gate-compose",
    "simulated_root": "--simulated-root",
}
"""Options that say something about the study, by the names of their parameters."""


def keystore_in(path: Path | None) -> Keystore | None:
    """The keystore file to sign with, if one is named. Raises as `keystore.read`."""
    if path is None:
        return None
    from sealroom_agents.owner import keystore

    return keystore.read(path)


def unlocked(signing: Keystore | None, *, account: str, owner: str) -> Signer | None:
    """The owner's key, unlocked before the work begins, so that a typing error costs no hour."""
    if signing is None:
        return None
    from sealroom_agents.owner.signing import require_owner

    if signing.address is not None:
        require_owner(signing.address, account, owner=owner)
    signer = signing.unlock(ask_passphrase(str(signing.path)))
    require_owner(signer.address, account, owner=owner)
    return signer
