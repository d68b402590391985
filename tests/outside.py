# SPDX-License-Identifier: Apache-2.0
"""What the tests of runner, watcher and console share: three hospitals on a real chain, and their recipe.

with Lab.start(tmp_path) as lab:
    lab.register()
    study = lab.propose()
    lab.chain.approve(lab.room, study, 0, 1, 2)      # live
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealroom.model import Owner
from sealroom.recipe import Recipe, parse, render
from sealroom.schema import schema_hash
from sealroom_agents.chain import ChainReader
from sealroom_agents.chain.contracts import interface
from sealroom_agents.store import Holder, Run, Store
from tests.local_chain import CAP_PICO, Dataset, LocalChain, Room, account, member

GATE = 15
"""anvil's account that stands for the gate's signer."""
ENCLAVE = 14
"""anvil's account that stands for an enclave's signer."""
HOLDER = Holder(id="one", place="here", name="r")
"""A runner."""
OWNERS = ("hospital-A", "hospital-B", "hospital-C")
CAP_MICRO = 4_500_000
NOTE = b"\x09" * 32
"""What the gate writes down with a run."""
QUESTION = "How many people are there by sex, and how old are they?"
COLUMNS = "person_id: int64, age: float64, sex: string"
STUDY_YAML = """\
version: 2
name: small-study
question: {question}
image: ghcr.io/sealroom/enclave@sha256:1111111111111111111111111111111111111111111111111111111111111111
gpu: none
researchers: {researchers}
guarantee: by-reading
schemas:
  cohort:
    unit: person_id
    columns: {{{columns}}}
datasets:
  - {{owner: hospital-A, name: cohort-A, schema: cohort}}
  - {{owner: hospital-B, name: cohort-B, schema: cohort}}
privacy:
  adjacency: add-remove
  epsilon: "1.5"
  delta: "0"
  minimum_cohort: 20
  release_after_seconds: 40
output:
  limit_bytes: 4096
  groups:
    sex: [F, M]
  fields:
    - {{name: people, kind: count, by: [sex], epsilon: "0.5"}}
    - {{name: age, kind: mean, column: age, by: [sex], lower: "0", upper: "120", decimals: 1, epsilon: "1"}}
"""
ANALYSIS = """\
import pandas as pd

from sealroom import emit_signed, private, unwrap

people = private(pd.concat([unwrap("hospital-A/cohort-A.tar"), unwrap("hospital-B/cohort-B.tar")]))
emit_signed(people.count("people").summary() | people.mean("age").summary())
"""


def make_recipe(
    folder: Path,
    *,
    question: str = QUESTION,
    analysis: str = ANALYSIS,
    columns: str = COLUMNS,
    researchers: str = "[anyone]",
) -> Recipe:
    """The small study, whose data come from hospital-A and hospital-B; hospital-C only votes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(
        STUDY_YAML.format(question=question, columns=columns, researchers=researchers)
    )
    (folder / "analysis.py").write_text(analysis)
    return parse(render(folder))


def make_room(chain: LocalChain, members: Sequence[Owner], *, threshold: int = 2) -> Room:
    """A consortium whose platform is adopted."""
    room = chain.create_consortium(members, threshold=threshold)
    chain.adopt_platform(
        room,
        gate_root=secrets.token_bytes(32),
        gate_signer=account(GATE),
        gate_compose=secrets.token_bytes(32),
        os_images=[secrets.token_bytes(32)],
        devices=[secrets.token_bytes(32)],
    )
    return room


@dataclass
class Lab:
    """One consortium of three with threshold two, its recipe, a reader and a store."""

    chain: LocalChain
    room: Room
    recipe: Recipe
    reader: ChainReader
    store: Store
    datasets: list[Dataset] = field(default_factory=list)

    @classmethod
    @contextmanager
    def start(cls, folder: Path, *, owners: tuple[str, ...] = OWNERS) -> Iterator[Lab]:
        """A fresh chain with one consortium whose platform is adopted."""
        with LocalChain.start() as chain:
            yield cls.on(chain, folder, owners=owners)

    @classmethod
    def on(
        cls,
        chain: LocalChain,
        folder: Path,
        *,
        owners: tuple[str, ...] = OWNERS,
        recipe: Recipe | None = None,
    ) -> Lab:
        """A fresh consortium on a chain that runs, for the small study unless another is given."""
        members = [
            member(account(n), name, country, regimes)
            for n, (name, country, regimes) in enumerate(
                zip(owners, ("US", "DE", "FR"), (("HIPAA",), ("GDPR",), ("GDPR",)), strict=True)
            )
        ]
        return cls(
            chain=chain,
            room=make_room(chain, members),
            recipe=recipe or make_recipe(folder / "study"),
            reader=chain.reader(),
            store=Store(f"sqlite:///{folder / secrets.token_hex(4)}.db"),
        )

    @property
    def compose_hash(self) -> str:
        """The recipe's hash as the store writes it."""
        return "0x" + self.recipe.compose_hash.hex()

    def register(self, *, runs: int = 1) -> None:
        """The owners of the recipe's datasets register them, with δ for so many runs."""
        for n, spec in enumerate(self.recipe.datasets):
            dataset = Dataset(
                owner=OWNERS.index(spec.owner),
                rows=1000 + n,
                name=spec.name,
                schema_hash=schema_hash(spec.columns),
            )
            self.datasets.append(dataset)
            self.chain.register(self.room, dataset, cap_micro=CAP_MICRO, cap_pico=runs * CAP_PICO)

    def draft(self, **changes: Any) -> bytes:
        """A study of the recipe, of which the chain knows nothing before the first approval."""
        return self.chain.draft(
            self.room,
            compose_hash=self.recipe.compose_hash,
            output_hash=self.recipe.output_hash,
            privacy_hash=self.recipe.privacy_hash,
            datasets=[dataset.id for dataset in self.datasets],
            **changes,
        )

    def propose(self, *, owner: int = 0, **changes: Any) -> bytes:
        """An owner approves the recipe first, and so proposes it."""
        study = self.draft(**changes)
        self.chain.approve(self.room, study, owner)
        return study

    def live(self, *, runs: int = 1, **changes: Any) -> bytes:
        """Registered, approved by the owners of the data, final; with δ for so many runs."""
        self.register(runs=runs)
        study = self.draft(delta_pico=runs * CAP_PICO, **changes)
        self.chain.approve(self.room, study, 0, 1)
        self.chain.finalize()
        return study

    def open_run(
        self,
        study: bytes,
        run_id: bytes,
        *,
        epsilon_micro: int = 1_500_000,
        delta_pico: int = 0,
        grant_hash: bytes = b"\x07" * 32,
    ) -> None:
        """The gate books a run."""
        run = (run_id, epsilon_micro, delta_pico, account(ENCLAVE), grant_hash, 2**40)
        arguments = self.room.consortium, self.chain.study(study).solidity(), [run], NOTE
        self.chain.send(GATE, self.room.ledger, interface("Ledger").encode("open", *arguments))

    def take(self) -> Run:
        """Claim a run, as a runner does."""
        run = self.store.claim(HOLDER)
        assert run is not None
        return run

    def submit(self, *, waiting: bool = False) -> str:
        """A run in the store, past the console."""
        self.store.add_recipe(self.compose_hash, self.recipe.compose)
        run = self.store.submit(
            "0x" + secrets.token_hex(32),
            compose_hash=self.compose_hash,
            consortium=self.room.consortium,
            missing=[],
            waiting=waiting,
        )
        return run.id
