# SPDX-License-Identifier: Apache-2.0
"""Recipes: what they promise, read and compute."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sealroom_agents.console.models.base import Hash, Strict


class RecipeKept(Strict):
    """A recipe was handed in, now or before."""

    compose_hash: Hash
    name: str = Field(description="Name of the study.")
    size: int = Field(description="Bytes.")


class Guarantee(Strict):
    """Why one person's data stays apart from another's."""

    name: str = Field(examples=["by-construction"])
    sentence: str = Field(description="What it promises, and on what the promise rests.")
    by_script: bool = Field(description="Whether a script computes; else a relation does.")
    must_read: bool = Field(description="Whether the promise rests on reading that script.")
    rows: int = Field(description="Most rows of one person that count.")
    blocks: int | None = Field(description="Blocks of people; null unless a script sees one at a time.")


class Column(Strict):
    """A column of a table that owners seal."""

    name: str
    type: str = Field(examples=["decimal(6, 2)", "category of F, M", "list of date"])


class Schema(Strict):
    """The columns of a table, whoever owns it."""

    name: str
    unit: str = Field(description="The column of the person.")
    columns: list[Column]


class Reads(Strict):
    """A dataset that a recipe reads."""

    owner: str
    name: str
    kind: Literal["table", "files"]
    table: str | None = Field(description="Its schema; null for files.")


class ResultColumn(Strict):
    """A column of a relation's result."""

    name: str
    type: str = Field(examples=["whole number (64 bits)"])
    nullable: bool
    unit: bool = Field(description="Whether it names the person.")
    compiled: str = Field(description="As the compiled SQL names it.")


class Relation(Strict):
    """A researcher's SQL, and what this server compiles from it: `sealroom relation` does so again."""

    sql: str = Field(description="As the recipe's bytes have it.")
    compiled: str = Field(description="What runs in its place.")
    rows: int = Field(description="Most rows of one person in its result.")
    people: int | None = Field(description="For how many people a run has memory; null where none says.")
    unit: str
    columns: list[ResultColumn]
    reads: dict[str, list[str]] = Field(description="The columns that are read, by table.")
    datasets: list[str]


class Inference(Strict):
    """A network whose output is a column that fields read."""

    name: str = Field(description="Of the column.")
    sentence: str
    numbers: int = Field(description="How many numbers come out for a row.")
    weights: str | None = Field(
        description="The dataset that holds them; null where they stand in the recipe.",
        examples=["maker/net"],
    )


class Gpu(Strict):
    """GPUs that a recipe demands."""

    kind: str = Field(examples=["h100"])
    count: int
    mode: str = Field(examples=["passthrough"])


class Script(Strict):
    """What Phala Cloud runs as root before the containers; the recipe's bytes hold it."""

    name: str = Field(examples=["Phala Cloud Pre-Launch Script v0.0.14"])
    bytes: int
    sha256: str


class Recipe(Strict):
    """What a recipe promises, reads and computes."""

    guarantee: Guarantee
    researchers: list[str] = Field(
        description="Accounts that may ask for runs besides the owners; `anyone` alone where all may.",
        examples=[["anyone"]],
    )
    gpu: Gpu | None = Field(description="The GPUs whose evidence the enclave must show; null demands none.")
    hints: bool = Field(description="Whether its host tells the enclave its run; nothing is decided by that.")
    script: Script | None = Field(description="Null where nothing runs as root before the containers.")
    tables: list[Schema]
    reads: list[Reads]
    relation: Relation | None = Field(description="Null where a script computes.")
    inference: list[Inference] = Field(description="The networks whose outputs are columns.")
    analysis: str | None = Field(description="The script; null where a relation computes.")
