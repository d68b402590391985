# SPDX-License-Identifier: Apache-2.0
"""A declared file is read strictly: a word that says nothing where it stands is refused by its name.

Each refused file differs by one thing from a twin that is taken.
"""

from __future__ import annotations

from datetime import date

import pytest

from sealroom.schema import parse_type
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.prepare.declared import MAX_BYTES, Declared, Pseudonym, parse

WORDS = "abandon ability able about above absent absorb abstract absurd abuse access accident"
WHOLE = f"""\
version = 1

[input]
form = "csv"
delimiter = ";"

[pseudonyms]
study = "cardio-renal"
key = "{WORDS}"

[columns.person_id]
from = "Patienten-Nr"
type = "int64"
pseudonym = {{ of = "person", spelling = ["trim", "strip-zeros"] }}

[columns.sex]
from = "Geschlecht"
type = "string"
missing = ["u"]
values = {{ m = "male", w = "female" }}
other = "diverse"

[columns.born]
from = "Geburtsdatum"
type = "date"
keep = "month"

[columns."Größe (m)"]
from = "Größe (cm)"
type = "float64"
reads = "int32"
factor = 0.01

[columns.hospital]
value = "A"
type = {{ type = "string", nullable = false }}
"""


def read(text: str) -> Declared:
    return parse(text.encode(), name="a.toml")


def refused(text: str) -> ToolError:
    with pytest.raises(ToolError) as error:
        read(text)
    return error.value


def test_all_that_a_file_can_say_is_read() -> None:
    found = read(WHOLE)
    person, sex, born, tall, hospital = found.columns

    assert found.form.name == "csv" and found.study == "cardio-renal" and found.key_words == WORDS
    assert found.needs_key and [name for name, _ in found.result][3] == "Größe (m)"
    assert person.pseudonym == Pseudonym("person", ("trim", "strip-zeros"))
    assert (sex.values, sex.missing, sex.other) == ({"m": "male", "w": "female"}, ("u",), "diverse")
    assert (born.source, born.keep) == ("Geburtsdatum", "month")
    assert (tall.factor, tall.reads) == (0.01, parse_type("int32", column="x"))
    assert (hospital.source, hospital.constant, hospital.type.nullable) == (None, "A", False)


def test_values_are_of_the_columns_type() -> None:
    text = '[columns.{name}]\ntype = "{type}"\nfrom = "x"\nvalues = {{ a = {value} }}\n'
    said = {"int16": "-3", "float64": "2", "bool": "true", "date": "2026-01-31"}
    found = read(
        "version = 1\n"
        + "".join(text.format(name=f"c_{kind}", type=kind, value=value) for kind, value in said.items())
    )
    assert [(each.values or {})["a"] for each in found.columns] == [-3, 2.0, True, date(2026, 1, 31)]
    for kind, value in {"int16": "40000", "uint8": "-1", "bool": "1", "string": "3", "date": "'x'"}.items():
        error = refused("version = 1\n" + text.format(name="c", type=kind, value=value))
        assert f"values.a that is no {kind}" in error.message


CHANGES = {
    "no version": ("version = 1", "", "lacks version"),
    "another word at the top": ("version = 1", "version = 1\nowner = 'A'", "'owner'"),
    "a misspelt table": ("[pseudonyms]", "[pseudonym]", "'pseudonym'"),
    "no such form": ('form = "csv"', 'form = "cvs"', "form 'cvs'"),
    "a word of another form": ('form = "csv"', 'form = "parquet"', "'delimiter'"),
    "a misspelt word of a column": ("missing =", "mising =", "'mising'"),
    "a word of a pseudonym": ("of =", "off =", "'off'"),
    "no such spelling": ('"trim"', '"trimmed"', "'trimmed'"),
    "a spelling twice": ('"strip-zeros"', '"trim"', "stands twice"),
    "no type": ('type = "int64"\n', "", "lacks type"),
    "no such type": ('type = "int64"', 'type = "int65"', "there is no type"),
    "a type that holds no pseudonym": ('type = "int64"', 'type = "int32"', "has pseudonym, and type int32"),
    "neither from nor value": ('from = "Geburtsdatum"\n', "", "needs either from"),
    "what the first file leaves open": ('from = "Geburtsdatum"', 'from = ""', "has an empty from"),
    "both from and value": ('value = "A"', 'value = "A"\nfrom = "Haus"', "needs either from"),
    "two changes": ('keep = "month"', 'keep = "month"\npseudonym = true', "of which a column may have one"),
    "other without values": ('values = { m = "male", w = "female" }\n', "", "without values"),
    "two others": ('other = "diverse"', 'other = "d"\nother-is-missing = true', "leave out one"),
    "a factor of whole numbers": ('type = "float64"', 'type = "int32"', "has factor, and type int32"),
    "a factor of nothing": ("0.01", "0.0", "factor that is no number"),
    "a month as a number": ('type = "date"', 'type = "int16"', "has keep, and type int16"),
    "a category": ('type = "date"', 'type = { type = "category", values = ["a"] }', "category, of which"),
    "missing, and without nulls": (
        'type = "string"\nmissing',
        'type = { type = "string", nullable = false }\nmissing',
        "declared without nulls",
    ),
    "an id beside its pseudonym": (
        "[columns.sex]",
        '[columns.plain]\nfrom = "Patienten-Nr"\ntype = "string"\n[columns.sex]',
        "as it is, of which [columns.person_id] makes pseudonyms",
    ),
    "one text that is missing and a value": ('w = "female"', 'w = "female", u = "x"', "name one text"),
    "no study": ('study = "cardio-renal"\n', "", "lacks study"),
    "no pseudonyms": ('[pseudonyms]\nstudy = "cardio-renal"\n', "[pseudonyms]\nstudy = 7\n", "study that"),
    "eleven words": (" accident", "", "not twelve words"),
    "two names that SQL takes for one": ("[columns.sex]", "[columns.PERSON_ID]", "PERSON_ID"),
    "a name that no column has": ("[columns.sex]", '[columns." sex"]', "cannot be"),
    "a key twice": ('delimiter = ";"', 'delimiter = ";"\ndelimiter = ";"', "is no TOML"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_word_that_cannot_stand_there_is_refused_by_its_name(what: str) -> None:
    old, new, said = CHANGES[what]
    assert WHOLE.count(old) >= 1
    read(WHOLE)
    error = refused(WHOLE.replace(old, new, 1))
    assert error.code == "prepare-malformed" and said in error.message


def test_pseudonyms_and_their_study_come_together() -> None:
    assert not read('version = 1\n[columns.a]\nfrom = "a"\ntype = "int64"\n').needs_key
    with_study = 'version = 1\n[pseudonyms]\nstudy = "s"\n[columns.a]\nfrom = "a"\ntype = "int64"\n'
    assert "makes no pseudonyms, and has" in refused(with_study).message
    assert read(with_study + "pseudonym = true\n").study == "s"
    assert "lacks [pseudonyms]" in refused(with_study.replace('[pseudonyms]\nstudy = "s"\n', "") +
                                           "pseudonym = true\n").message  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "version = " + "9" * 5000,
        "a" + ".a" * 500_000 + " = 1",
        '"\\""' + '."\\""' * 150_000 + " = 1",
        "[" + "a . " * 200_000 + "a]",
        '"' + '\\"' * 500_000,
    ],
    ids=["a long number", "a deep key", "a deep key in quotes", "a deep table", "a text without its end"],
)
def test_a_file_that_would_keep_its_parser_for_ever_is_refused(text: str) -> None:
    with pytest.raises(ToolError) as error:
        read(text)
    assert error.value.code == "prepare-malformed"
    assert read(WHOLE + "# " + "1.2.840.10008." * 4)


def test_what_is_no_text_or_too_much_is_refused() -> None:
    good = b'version = 1\n[columns.a]\nfrom = "a"\ntype = "int64"\n'
    parse(good, name="a")
    deep = b"version = 1\nx = " + b"[" * 5000 + b"]" * 5000
    for bad in (good + b"# \xff\n", good + b"#" * MAX_BYTES, deep, b"version = 1\n", b""):
        with pytest.raises(ToolError) as error:
            parse(bad, name="a")
        assert error.value.code == "prepare-malformed"
    with pytest.raises(ToolError) as error:
        parse(good.replace(b"1", b"2", 1), name="a")
    assert error.value.code == "unsupported-version"
