# SPDX-License-Identifier: Apache-2.0
"""What wallets are told to show (ERC-7730): valid, complete, and of the types that the code signs."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from eth_utils.crypto import keccak

from sealroom.model import VOTES, Limits, Opening, Receipt, Record, Run, Study, Validity

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "contracts" / "clear-signing"
ABI = ROOT / "agents" / "sealroom_agents" / "chain" / "abi"
SCHEMA = json.loads((Path(__file__).parent / "clear_signing" / "erc7730-v2.schema.json").read_text())
SIGNED = {
    "eip712-consortium": VOTES,
    "eip712-ledger": (Receipt,),
}
DOMAINS = {"eip712-consortium": "Sealroom Consortium", "eip712-ledger": "Sealroom Ledger"}
CALLED = {"calldata-consortium": "Consortium", "calldata-ledger": "Ledger"}
FILES = (*SIGNED, *CALLED)
CONTAINER = {"@.to"}
"""Paths to the transaction rather than to its arguments: which consortium is called."""
SHOWN = (Study, Run, Receipt, Limits, Validity, Opening)
MEANT = {part.name: part.kind.unit for record in SHOWN for part in record.parts()}
"""The unit of each field of the model."""
UNITS = {"micro": ("ε", 6), "pico": ("δ", 12)}
"""Letter and decimals of a unit."""

Descriptor = dict[str, Any]
Leaves = dict[str, str]
"""Solidity type of each elementary field, by its ERC-7730 path."""


def load(name: str) -> Descriptor:
    return json.loads((FOLDER / f"{name}.json").read_text())


def typed_leaves(record: type[Record]) -> Leaves:
    types = record.types()

    def of(struct: str, prefix: str) -> Leaves:
        leaves: Leaves = {}
        for name, kind in types[struct]:
            base, array = kind.removesuffix("[]"), ".[]" if kind.endswith("[]") else ""
            path = f"{prefix}{name}{array}"
            leaves |= of(base, path + ".") if base in types else {path: base}
        return leaves

    return of(record.struct, "")


def call_leaves(inputs: Any, prefix: str = "") -> Leaves:
    leaves: Leaves = {}
    for entry in inputs:
        base, array = entry["type"].removesuffix("[]"), ".[]" if entry["type"].endswith("[]") else ""
        path = f"{prefix}{entry['name']}{array}"
        leaves |= call_leaves(entry["components"], path + ".") if base == "tuple" else {path: base}
    return leaves


def spelled(entry: Any, names: bool) -> str:
    """A parameter's type, with the names of everything or with none, as a selector wants it."""
    kind = entry["type"]
    if kind.startswith("tuple"):
        inner = ",".join(spelled(part, names) for part in entry["components"])
        kind = f"({inner}){kind.removeprefix('tuple')}"
    return f"{kind} {entry['name']}" if names else kind


def signature(entry: Any, names: bool = True) -> str:
    return f"{entry['name']}({','.join(spelled(part, names) for part in entry['inputs'])})"


def transactions(contract: str) -> list[Any]:
    abi = json.loads((ABI / f"{contract}.json").read_text())
    return [e for e in abi if e["type"] == "function" and e["stateMutability"] not in ("view", "pure")]


def expected(name: str) -> dict[str, Leaves]:
    """What a file has to describe: the keys of its formats, and the fields of each."""
    if name in SIGNED:
        return {record.encode_type(): typed_leaves(record) for record in SIGNED[name]}
    return {signature(entry): call_leaves(entry["inputs"]) for entry in transactions(CALLED[name])}


def described(fields: list[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each field with its whole path; groups are entered, and hide what is in them if they are hidden."""
    for field in fields:
        if "fields" in field:
            hidden = {"visible": field["visible"]} if "visible" in field else {}
            for path, inner in described(field["fields"], f"{prefix}{field['path']}."):
                yield path, inner | hidden
        else:
            yield prefix + field["path"], field


def excluded() -> set[tuple[str, str]]:
    """Function and field of each row under "Excluded" in the README, where a reason is given."""
    text = (FOLDER / "README.md").read_text().split("## Excluded")[1]
    found = set()
    for calls, fields, reason in re.findall(r"^\| (`.*?) \| (`.*?) \| (.+?) \|$", text, re.MULTILINE):
        assert len(reason) > 20
        found |= {(c, f) for c in re.findall(r"`(\w+)`", calls) for f in re.findall(r"`([\w.]+)`", fields)}
    return found


# Each check answers with what is wrong.


def against_schema(name: str, descriptor: Descriptor) -> list[str]:
    # Late: whoever collects the tests would wait for it.
    from jsonschema import Draft202012Validator

    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(descriptor)]


def wrong_keys(name: str, descriptor: Descriptor) -> list[str]:
    return sorted(expected(name).keys() ^ descriptor["display"]["formats"].keys())


def unknown_paths(name: str, descriptor: Descriptor) -> list[str]:
    problems = []
    for key, leaves in expected(name).items():
        for path, _ in described(descriptor["display"]["formats"].get(key, {"fields": []})["fields"]):
            if path not in leaves and not (name in CALLED and path in CONTAINER):
                problems.append(f"{key}: {path}")
    return problems


def uncovered(name: str, descriptor: Descriptor) -> list[str]:
    """Fields that are not described exactly once."""
    problems = []
    for key, leaves in expected(name).items():
        fields = descriptor["display"]["formats"].get(key, {"fields": []})["fields"]
        paths = [path for path, _ in described(fields)]
        wanted = {*leaves, *(CONTAINER if name == "calldata-consortium" else ())}
        problems += [f"{key}: {path}" for path in sorted(wanted) if paths.count(path) != 1]
    return problems


def hidden_silently(name: str, descriptor: Descriptor) -> list[str]:
    """Fields that are not always shown, and that the README does not list."""
    listed = excluded()
    return [
        f"{key}: {path}"
        for key, entry in descriptor["display"]["formats"].items()
        for path, field in described(entry["fields"])
        if field.get("visible", "always") != "always"
        and (name in SIGNED or (key.split("(")[0], path.replace(".[]", "")) not in listed)
    ]


def in_bad_form(name: str, descriptor: Descriptor) -> list[str]:
    """Fields without a label, or not in the format of their meaning."""
    problems = []
    for key, leaves in expected(name).items():
        entry = descriptor["display"]["formats"].get(key, {"fields": []})
        problems += [] if entry.get("intent") else [f"{key}: no intent"]
        for path, field in described(entry["fields"]):
            last, kind = path.split(".")[-1], leaves.get(path, "address")
            if (unit := MEANT.get(last)) in UNITS:
                base, decimals = UNITS[unit]
                right = field["format"] == "unit" and field["params"] == {"base": base, "decimals": decimals}
            elif unit == "seconds":
                right = field["format"] == "date" and field["params"] == {"encoding": "timestamp"}
            elif kind == "address":
                right = field["format"] == "addressName" and field["params"]["sources"] == ["local"]
            else:
                right = field["format"] == "raw" and "params" not in field
            if not right or not field.get("label"):
                problems.append(f"{key}: {path}")
    return problems


CHECKS = (against_schema, wrong_keys, unknown_paths, uncovered, hidden_silently, in_bad_form)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", FILES)
def test_the_descriptor_passes_each_check(name: str, check: Callable[[str, Descriptor], list[str]]) -> None:
    assert check(name, load(name)) == []


def first(descriptor: Descriptor) -> list[Any]:
    """The fields of the first format in the file."""
    return next(iter(descriptor["display"]["formats"].values()))["fields"]


def drop_context(d: Descriptor) -> None:
    del d["context"]


def add_unknown_format(d: Descriptor) -> None:
    first(d)[-1]["format"] = "epsilon"


def retype(d: Descriptor) -> None:
    formats = d["display"]["formats"]
    key = next(iter(formats))
    formats[key.replace("bytes32", "bytes31", 1)] = formats.pop(key)


def drop_format(d: Descriptor) -> None:
    formats = d["display"]["formats"]
    del formats[next(iter(formats))]


def misspell(d: Descriptor) -> None:
    first(d)[-1]["path"] += "x"


def drop_field(d: Descriptor) -> None:
    first(d).pop()


def repeat_field(d: Descriptor) -> None:
    first(d).append(copy.deepcopy(first(d)[-1]))


def hide(d: Descriptor) -> None:
    first(d)[-1]["visible"] = "never"


def hide_sometimes(d: Descriptor) -> None:
    first(d)[-1]["visible"] = "optional"


def scale(d: Descriptor) -> None:
    next(f for f in first(d) if f["path"].endswith("epsilonMicro"))["params"]["decimals"] = 3


def show_delta_raw(d: Descriptor) -> None:
    next(f for f in first(d) if f["path"].endswith("deltaPico"))["format"] = "raw"


def trust_any_name(d: Descriptor) -> None:
    next(f for f in first(d) if f["format"] == "addressName")["params"]["sources"] = ["ens"]


def drop_first_field(d: Descriptor) -> None:
    first(d).pop(0)


def unlabel(d: Descriptor) -> None:
    first(d)[-1]["label"] = ""


@pytest.mark.parametrize(
    ("check", "change"),
    [
        (against_schema, drop_context),
        (against_schema, add_unknown_format),
        (wrong_keys, retype),
        (wrong_keys, drop_format),
        (unknown_paths, misspell),
        (uncovered, drop_field),
        (uncovered, drop_first_field),
        (uncovered, repeat_field),
        (uncovered, drop_format),
        (hidden_silently, hide),
        (hidden_silently, hide_sometimes),
        (in_bad_form, scale),
        (in_bad_form, show_delta_raw),
        (in_bad_form, trust_any_name),
        (in_bad_form, unlabel),
    ],
)
@pytest.mark.parametrize("name", FILES)
def test_each_check_refuses_a_changed_descriptor(
    name: str, check: Callable[[str, Descriptor], list[str]], change: Callable[[Descriptor], None]
) -> None:
    descriptor = load(name)
    assert check(name, descriptor) == []
    change(descriptor)
    assert check(name, descriptor) != []


def test_the_type_strings_are_those_that_the_contracts_hash() -> None:
    types = (ROOT / "contracts" / "libraries" / "ConsortiumTypes.sol").read_text()
    ledger = (ROOT / "contracts" / "Ledger.sol").read_text()
    in_source = set(re.findall(r'"(\w+\([^"]+\))"', types)) | set(re.findall(r'"(Receipt\([^"]+\))"', ledger))
    for name in SIGNED:
        keys = set(load(name)["display"]["formats"])
        assert keys <= in_source
        assert not {key.replace("(", "(uint8 more,", 1) for key in keys} & in_source


@pytest.mark.parametrize("name", CALLED)
def test_the_calls_have_the_selectors_of_the_abi(name: str) -> None:
    of_abi = {keccak(text=signature(e, names=False))[:4] for e in transactions(CALLED[name])}

    def selectors(descriptor: Descriptor) -> set[bytes]:
        bare = (re.sub(r" \w+(?=[,)])", "", key) for key in descriptor["display"]["formats"])
        return {keccak(text=key)[:4] for key in bare}

    changed = load(name)
    retype(changed)
    assert selectors(load(name)) == of_abi
    assert selectors(changed) != of_abi


@pytest.mark.parametrize("name", SIGNED)
def test_the_domain_is_the_one_that_is_signed(name: str) -> None:
    source = "Quorum" if name == "eip712-consortium" else "Ledger"
    domain = load(name)["context"]["eip712"]["domain"]
    assert domain == {"name": DOMAINS[name], "version": "2"}
    assert (
        f'EIP712("{domain["name"]}", "{domain["version"]}")'
        in (ROOT / "contracts" / f"{source}.sol").read_text()
    )


def test_every_field_that_the_readme_excludes_is_one_that_is_not_shown() -> None:
    hidden = {
        (key.split("(")[0], path.replace(".[]", ""))
        for name in CALLED
        for key, entry in load(name)["display"]["formats"].items()
        for path, field in described(entry["fields"])
        if field.get("visible") == "never"
    }
    assert hidden == excluded()
    assert len(hidden) == 14


def test_ape_is_told_to_leave_the_descriptors_alone() -> None:
    """Ape would take them for ABIs, and a script could not load the project."""
    patterns = yaml.safe_load((ROOT / "ape-config.yaml").read_text())["compile"]["exclude"]
    taken = ["Ledger.sol", *(f"clear-signing/{name}.json" for name in FILES)]
    left = [path for path in taken if not any(fnmatch(path, pattern) for pattern in patterns)]
    assert left == ["Ledger.sol"]


@pytest.fixture(scope="module")
def fill() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fill", FOLDER / "fill.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DEPLOYMENT = {"chainId": 1, "consortium": "0x" + "11" * 20, "ledger": "0x" + "22" * 20}


@pytest.mark.parametrize("name", FILES)
def test_fill_binds_the_descriptor_to_the_deployment_and_changes_nothing_else(
    fill: ModuleType, name: str
) -> None:
    descriptor = load(name)
    made = fill.filled(descriptor, DEPLOYMENT)
    kind = name.split("-")[0].replace("calldata", "contract")
    contract = DEPLOYMENT[name.split("-")[1]]
    assert made["context"][kind]["deployments"] == [{"chainId": 1, "address": contract}]
    assert against_schema(name, made) == []
    made["context"][kind]["deployments"] = descriptor["context"][kind]["deployments"]
    assert made == descriptor


@pytest.mark.parametrize(
    "change", [{"chainId": "1"}, {"chainId": 0}, {"ledger": None}, {"ledger": "0x" + "00" * 20}]
)
def test_fill_refuses_a_deployment_without_chain_or_address(fill: ModuleType, change: dict[str, Any]) -> None:
    descriptor = load("calldata-ledger")
    assert fill.filled(descriptor, DEPLOYMENT)
    with pytest.raises(ValueError, match="the deployment has no"):
        fill.filled(descriptor, {**DEPLOYMENT, **change})


def test_fill_writes_a_file_for_each_descriptor_and_never_over_the_placeholders(tmp_path: Path) -> None:
    source = tmp_path / "deployment.json"
    source.write_text(json.dumps(DEPLOYMENT))
    command = [sys.executable, str(FOLDER / "fill.py"), str(source)]
    assert subprocess.run([*command, str(tmp_path / "out")], check=False).returncode == 0
    assert {path.stem for path in (tmp_path / "out").iterdir()} == set(FILES)
    refused = subprocess.run([*command, str(FOLDER)], check=False, capture_output=True, text=True)
    assert (refused.returncode, "another folder" in refused.stderr) == (2, True)
    source.write_text("{")
    broken = subprocess.run([*command, str(tmp_path / "none")], check=False, capture_output=True, text=True)
    assert (broken.returncode, "Traceback" in broken.stderr, (tmp_path / "none").exists()) == (
        1,
        False,
        False,
    )
