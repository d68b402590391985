# SPDX-License-Identifier: Apache-2.0
"""Names that a first declared file proposes for the headings of an input, in whatever letters they are."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sealroom.schema import Column, check_columns, parse_type
from sealroom.schema.names import FIELD_NAME
from sealroom_agents.owner.needs import Needs, Wanted
from sealroom_agents.owner.prepare.declared import parse
from sealroom_agents.owner.prepare.first import first_file
from sealroom_agents.owner.prepare.names import names_for, plain_name
from sealroom_agents.owner.prepare.tables import TableForm
from sealroom_agents.owner.tables.csv_dialect import Dialect


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("age", "age"),
        ("Patienten-Nr", "Patienten_Nr"),
        ("Größe (cm)", "Groesse_cm"),
        ("Gro\u0308ße", "Groesse"),
        ("Übergewicht", "Uebergewicht"),
        ("Straße", "Strasse"),
        ("taille élevée", "taille_elevee"),
        ("Yılmaz Şükrü", "Yilmaz_Suekrue"),
        ("Łódź", "Lodz"),
        ("Kreatinin µmol/l", "Kreatinin_umol_l"),
        ("Kreatinin μmol/l", "Kreatinin_umol_l"),
        ("Temperatur °C", "Temperatur_C"),
        ("m²", "m2"),
        ("HbA1c %", "HbA1c"),
        ("2. Besuch", "c_2_Besuch"),
        ("日本", None),
        ("Возраст", None),
        ("%", None),
    ],
)
def test_a_heading_is_written_in_plain_letters_where_it_can_be(heading: str, name: str | None) -> None:
    assert plain_name(heading) == name


def test_names_that_would_be_one_get_numbers_and_a_name_that_is_one_is_kept() -> None:
    headings = ["Größe", "Groesse", "GROESSE", "groesse_2", "größe", "日本", "%", "%%"]
    assert names_for(headings) == [
        "Groesse_3", "Groesse", "GROESSE_4", "groesse_2", "groesse_5", "日本", "column_7", "column_8",
    ]  # fmt: skip


@given(st.lists(st.text(max_size=80), min_size=1, max_size=12))
@example(["x" * 63, "x" * 64, "x" * 63, "X" * 200])
@example(["column_2", "", "%"])
@example(["\u200bid", "id ", " id"])
@example(["ﬁ", "ß", "ẞ", "ŉ", "\u0345"])
def test_every_name_that_is_proposed_is_one_that_a_study_takes(headings: list[str]) -> None:
    names = names_for(headings)
    check_columns([Column(name, parse_type("int8", column=name)) for name in names])
    for heading, name in zip(headings, names, strict=True):
        if FIELD_NAME.fullmatch(heading) and sum(each.lower() == heading.lower() for each in headings) == 1:
            assert name == heading
        plain = plain_name(heading)
        assert plain is None or FIELD_NAME.fullmatch(name)


def test_a_first_file_of_headings_with_umlauts_is_one_that_is_read(tmp_path: Path) -> None:
    headings = ["Größe (cm)", "groesse_cm", "Straße", "年齢"]
    pq.write_table(pa.table({each: [1] for each in headings}), tmp_path / "t.parquet")
    text = first_file(tmp_path / "t.parquet", TableForm("", Dialect()), None)
    declared = parse(text.encode(), name="t.prepare.toml")
    assert [(each.name, each.source) for each in declared.columns] == [
        ("Groesse_cm_2", "Größe (cm)"),
        ("groesse_cm", "groesse_cm"),
        ("Strasse", "Straße"),
        ("年齢", "年齢"),
    ]


def test_a_column_of_a_study_is_found_under_its_heading_with_umlauts(tmp_path: Path) -> None:
    """By likeness alone `groesse_cm` is nearer to the other."""
    headings = ["Gr. cm", "Größe (cm)", "Geschlecht", "Kreatinin µmol/l"]
    pq.write_table(pa.table({each: [1] for each in headings}), tmp_path / "t.parquet")
    columns = tuple(
        Column(name, parse_type("int64", column=name))
        for name in ("groesse_cm", "geschlecht", "kreatinin_umol_l", "zebra")
    )
    wanted = {column.name: Wanted(column.type) for column in columns}
    needs = Needs("s", None, "people", "zebra", columns, wanted)
    lines = first_file(tmp_path / "t.parquet", TableForm("", Dialect()), needs).splitlines()
    assert [line for line in lines if line.startswith("from")] == [
        'from = "Größe (cm)"  # a guess',
        'from = "Geschlecht"  # a guess',
        'from = "Kreatinin µmol/l"  # a guess',
        'from = ""  # which column?',
    ]
