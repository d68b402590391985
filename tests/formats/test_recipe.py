# SPDX-License-Identifier: Apache-2.0
"""Recipes: rendered once, judged from their bytes, refused by name."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from dstack_sdk import get_compose_hash
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroom.encoding import canonical
from sealroom.errors import FormatError, RecipeError
from sealroom.gpu_demand import GpuDemand
from sealroom.privacy.parts import Cost
from sealroom.recipe import compose_hash, parse, render, yamltext
from sealroom.recipe.appcompose import CHANNEL, GUEST_SOCKET, HINTS
from sealroom.schema import Real
from tests.formats.worked import COMPOSE, HINTED, STUDY, flip

Change = Callable[[dict[str, Any]], object]


def in_frame(change: Change) -> bytes:
    """The recipe's bytes with one setting of app-compose changed."""
    frame = json.loads(COMPOSE)
    change(frame)
    return canonical(frame)


def in_compose(change: Change) -> bytes:
    """The recipe's bytes with one value of its docker-compose part changed."""
    frame = json.loads(COMPOSE)
    compose = yamltext.load(frame["docker_compose_file"])
    change(compose)
    return canonical({**frame, "docker_compose_file": yamltext.dump(compose)})


def in_service(change: Change, *, name: str = "enclave") -> bytes:
    return in_compose(lambda compose: change(compose["services"][name]))


def in_section(change: Change) -> bytes:
    return in_compose(lambda compose: change(compose["x-sealroom"]))


def in_field(number: int, change: Change) -> bytes:
    return in_section(lambda section: change(section["output"]["fields"][number]))


def in_text(old: str, new: str) -> bytes:
    """The recipe's bytes with its YAML text changed, value or not."""
    frame = json.loads(COMPOSE)
    assert old in frame["docker_compose_file"]
    return canonical({**frame, "docker_compose_file": frame["docker_compose_file"].replace(old, new, 1)})


def put(name: str, value: Any) -> Change:
    return lambda target: target.update({name: value})


def test_the_study_renders_to_a_recipe_that_reads_back() -> None:
    recipe = parse(COMPOSE)

    assert recipe.name == "small-study"
    assert recipe.compose == COMPOSE
    assert [spec.path for spec in recipe.datasets] == ["hospital-A/cohort-A.tar", "hospital-B/cohort-B.tar"]
    assert dict(recipe.datasets[0].columns)["age"] == Real(64)
    assert recipe.analysis == (STUDY / "analysis.py").read_text()
    assert recipe.privacy.epsilon == Decimal("1.5") and recipe.epsilon_micro == 1_500_000
    assert recipe.privacy.delta == Decimal("1e-6") and recipe.delta_pico == 1_000_000
    count, mean, model = recipe.output.fields
    assert (count.kind.name, count.spec.by, count.cost) == (
        "count",
        ("sex",),
        Cost(law="laplace", amount=500_000),
    )
    assert (mean.kind.name, mean.spec.upper, mean.cost) == ("mean", 120, Cost(law="laplace", amount=400_000))
    assert (model.kind.name, model.spec.learning_rate, model.cost.law) == (
        "logistic",
        Decimal("0.5"),
        "gaussian",
    )
    assert recipe.output.groups == {"sex": ("F", "M")}


def test_rendering_gives_the_same_bytes_each_time() -> None:
    assert render(STUDY) == COMPOSE


def test_the_compose_hash_is_that_of_the_bytes_and_of_the_sdk() -> None:
    assert compose_hash(COMPOSE) == hashlib.sha256(COMPOSE).digest() == parse(COMPOSE).compose_hash
    assert get_compose_hash(json.loads(COMPOSE)) == compose_hash(COMPOSE).hex()


def test_a_changed_byte_is_another_recipe_or_none() -> None:
    """AT-23."""
    for position in range(0, len(COMPOSE), 41):
        changed = flip(COMPOSE, position)
        assert compose_hash(changed) != compose_hash(COMPOSE)
        try:
            parse(changed)
        except RecipeError:
            continue


def test_the_compose_part_reads_the_same_in_another_yaml_reader() -> None:
    text = json.loads(COMPOSE)["docker_compose_file"]

    assert yaml.safe_load(text) == yamltext.load(text)


def test_with_hints_the_enclave_alone_reads_one_more_file() -> None:
    """AT-24: by a mount that it cannot write; all else of the two recipes is the same."""
    recipe, hinted = parse(COMPOSE), parse(HINTED)
    assert (recipe.hints, hinted.hints) == (False, True)
    assert hinted.compose_hash != recipe.compose_hash and hinted.output_hash == recipe.output_hash
    frame, other = json.loads(HINTED), json.loads(COMPOSE)
    inside = yaml.safe_load(frame.pop("docker_compose_file"))
    services = inside["services"]
    assert services["enclave"]["volumes"].pop(1) == HINTS and services["job"]["volumes"] == [CHANNEL]
    assert inside == yaml.safe_load(other.pop("docker_compose_file")) and frame == other


def test_output_and_privacy_hash_name_their_sections_only() -> None:
    recipe = parse(COMPOSE)

    other = parse(in_section(put("question", "Another question?")))
    cohort = parse(in_section(lambda section: section["privacy"].update(minimum_cohort=21)))

    assert (other.output_hash, other.privacy_hash) == (recipe.output_hash, recipe.privacy_hash)
    assert cohort.privacy_hash != recipe.privacy_hash and cohort.output_hash == recipe.output_hash


IMAGE = "ghcr.io/sealroom/enclave"
GPUS = {"kind": "h100", "count": 2, "mode": "protected-pcie"}
NVIDIA = {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}

SOCKET = f"{GUEST_SOCKET}:{GUEST_SOCKET}"

FRAME = [
    ("recipe-script", put("init_script", "true")),
    ("recipe-script", put("pre_launch_script", "")),
    ("recipe-script", put("bash_script", "true")),
    ("recipe-allowed-envs", put("allowed_envs", ["LD_PRELOAD"])),
    ("recipe-public-logs", put("public_logs", True)),
    ("recipe-public-sysinfo", put("public_sysinfo", True)),
    ("recipe-public-tcbinfo", put("public_tcbinfo", True)),
    ("recipe-public-tcbinfo", lambda frame: frame.pop("public_tcbinfo")),
    ("recipe-key-provider", put("kms_enabled", False)),
    ("recipe-key-provider", put("kms_enabled", 1)),
    ("recipe-key-provider", put("key_provider", "local")),
    ("recipe-key-provider", put("local_key_provider_enabled", True)),
    ("recipe-gateway", put("gateway_enabled", True)),
    ("recipe-secure-time", put("secure_time", False)),
    ("recipe-instance-id", put("no_instance_id", True)),
    ("recipe-runner", put("runner", "bash")),
    ("recipe-manifest-version", put("manifest_version", "2")),
    ("recipe-unknown-field", put("swap_size", 1)),
    ("recipe-unknown-field", put("whatever", None)),
    ("recipe-malformed", put("name", "another-study")),
    ("recipe-malformed", lambda frame: frame.pop("docker_compose_file")),
]


@pytest.mark.parametrize("code, change", FRAME)
def test_another_app_compose_setting_is_refused_by_name(code: str, change: Change) -> None:
    """AT-23, AT-25."""
    assert parse(in_frame(lambda frame: None)).compose == COMPOSE
    with pytest.raises(RecipeError) as caught:
        parse(in_frame(change))
    assert caught.value.code == code


SERVICE = [
    ("recipe-mutable-image", put("image", f"{IMAGE}:latest")),
    ("recipe-mutable-image", put("image", IMAGE)),
    ("recipe-mutable-image", put("image", f"{IMAGE}:1.0@sha256:" + "0" * 64)),
    ("recipe-mutable-image", put("image", f"{IMAGE}@sha256:" + "0" * 63)),
    ("recipe-mutable-image", put("build", ".")),
    ("recipe-privileged", put("privileged", True)),
    ("recipe-privileged", put("cap_add", ["SYS_ADMIN"])),
    ("recipe-privileged", put("cap_drop", ["CHOWN"])),
    ("recipe-privileged", put("devices", ["/dev/mem"])),
    ("recipe-privileged", put("pid", "host")),
    ("recipe-privileged", put("security_opt", ["seccomp:unconfined"])),
    ("recipe-privileged", put("read_only", False)),
    ("recipe-network", put("network_mode", "host")),
    ("recipe-ports", put("ports", ["80:80"])),
    ("recipe-host-mount", put("volumes", ["/:/host"])),
    ("recipe-host-mount", put("volumes", ["/var/run/docker.sock:/var/run/docker.sock"])),
    ("recipe-host-mount", put("volumes", [SOCKET, HINTS.removesuffix(":ro"), CHANNEL])),
    ("recipe-host-mount", put("volumes", [SOCKET, HINTS, HINTS, CHANNEL])),
    ("recipe-host-mount", put("volumes", [HINTS, SOCKET, CHANNEL])),
    ("recipe-host-mount", put("volumes", [SOCKET, HINTS.replace("/run/", "/etc/"), CHANNEL])),
    ("recipe-environment", put("environment", {"A": "b"})),
    ("recipe-environment", put("env_file", ".env")),
    ("recipe-command", put("command", "sh")),
    ("recipe-logs", put("logging", {"driver": "json-file"})),
    ("recipe-gpu", put("deploy", {"replicas": 2})),
    ("recipe-gpu", put("deploy", {"resources": {"reservations": {"devices": [NVIDIA]}}})),
    ("recipe-unknown-field", put("stop_signal", "SIGINT")),
    ("recipe-not-canonical", put("tmpfs", ["/tmp", "/run"])),
]


@pytest.mark.parametrize("code, change", SERVICE)
def test_a_service_that_could_reach_out_is_refused_by_name(code: str, change: Change) -> None:
    """AT-23, AT-24, AT-25."""
    assert parse(in_service(lambda settings: None)).compose == COMPOSE
    with pytest.raises(RecipeError) as caught:
        parse(in_service(change))
    assert caught.value.code == code


JOB = [
    ("recipe-host-mount", put("volumes", ["channel:/run/sealroom", f"{GUEST_SOCKET}:{GUEST_SOCKET}"])),
    ("recipe-host-mount", lambda settings: settings.pop("volumes")),
    ("recipe-network", put("network_mode", "bridge")),
    ("recipe-network", lambda settings: settings.pop("network_mode")),
    ("recipe-privileged", put("user", "0:0")),
    ("recipe-privileged", lambda settings: settings.pop("user")),
    ("recipe-privileged", put("pids_limit", -1)),
    ("recipe-privileged", lambda settings: settings.pop("mem_limit")),
    ("recipe-privileged", put("security_opt", ["no-new-privileges:true", "seccomp:unconfined"])),
    ("recipe-privileged", put("runtime", "sysbox-runc")),
    ("recipe-privileged", put("ipc", "service:enclave")),
    ("recipe-command", put("command", ["job", "--folder", "/"])),
    ("recipe-command", lambda settings: settings.pop("command")),
    ("recipe-logs", put("logging", {"driver": "json-file"})),
    ("recipe-unknown-field", put("tmpfs", ["/tmp"])),
    ("recipe-service", put("image", f"{IMAGE}@sha256:" + "1" * 64)),
    ("recipe-mutable-image", put("image", f"{IMAGE}:latest")),
]


@pytest.mark.parametrize("code, change", JOB)
def test_a_second_service_with_more_than_it_needs_is_refused_by_name(code: str, change: Change) -> None:
    """AT-23, AT-24, OU-05: the guest agent, the network and privileges are not for the job."""
    with pytest.raises(RecipeError) as caught:
        parse(in_service(change, name="job"))
    assert caught.value.code == code


COMPOSED = [
    ("recipe-service", lambda compose: compose["services"].update(third={"image": IMAGE})),
    ("recipe-service", lambda compose: compose["services"].pop("job")),
    ("recipe-service", lambda compose: compose.pop("services")),
    ("recipe-host-mount", put("volumes", {"v": {}})),
    ("recipe-host-mount", lambda compose: compose.pop("volumes")),
    ("recipe-host-mount", lambda compose: compose["volumes"]["channel"]["driver_opts"].update(device="/")),
    ("recipe-network", put("networks", {"n": {}})),
    ("recipe-unknown-field", put("include", "other.yaml")),
    ("recipe-malformed", lambda compose: compose.pop("x-sealroom")),
]


@pytest.mark.parametrize("code, change", COMPOSED)
def test_a_compose_part_with_more_in_it_is_refused_by_name(code: str, change: Change) -> None:
    """AT-23."""
    assert parse(in_compose(lambda compose: None)).compose == COMPOSE
    with pytest.raises(RecipeError) as caught:
        parse(in_compose(change))
    assert caught.value.code == code


SECTION = [
    ("unsupported-version", put("version", 1)),
    ("unsupported-version", put("version", 3)),
    ("recipe-unknown-field", put("more", 1)),
    ("recipe-malformed", put("datasets", [])),
    ("recipe-malformed", lambda section: section["datasets"].append(section["datasets"][0])),
    ("recipe-malformed", lambda section: section["datasets"][0].update(schema="other")),
    ("recipe-malformed", lambda section: section["schemas"].update(other=section["schemas"]["cohort"])),
    ("recipe-malformed", put("schemas", {})),
    ("recipe-malformed", put("guarantee", "by-hope")),
    ("recipe-malformed", lambda section: section.pop("guarantee")),
    ("recipe-malformed", lambda section: section["schemas"]["cohort"]["columns"].update(age="int33")),
    (
        "recipe-not-canonical",
        lambda section: section["schemas"]["cohort"]["columns"].update(x="decimal(6,2)"),
    ),
    ("recipe-unknown-field", lambda section: section["schemas"]["cohort"].update(rows=1)),
    ("recipe-malformed", lambda section: section["datasets"][0].update(name="../cohort")),
    ("recipe-unit", lambda section: section["schemas"]["cohort"]["columns"].pop("person")),
    ("recipe-gpu", put("gpu", "a100")),
    ("recipe-gpu", put("gpu", {})),
    ("recipe-gpu", put("gpu", {**GPUS, "kind": "a100"})),
    ("recipe-gpu", put("gpu", {**GPUS, "count": 0})),
    ("recipe-gpu", put("gpu", {**GPUS, "count": 9})),
    ("recipe-gpu", put("gpu", {**GPUS, "count": "1"})),
    ("recipe-gpu", put("gpu", {**GPUS, "count": True})),
    ("recipe-gpu", put("gpu", {**GPUS, "mode": "devtools"})),
    ("recipe-gpu", put("gpu", {**GPUS, "driver": "570.172.08"})),
    ("recipe-gpu", put("gpu", {name: value for name, value in GPUS.items() if name != "mode"})),
    ("recipe-not-canonical", put("gpu", dict(reversed(GPUS.items())))),
    ("recipe-budget", lambda section: section["privacy"].update(epsilon="1.4999")),
    ("recipe-budget", lambda section: section["privacy"].update(delta="9.99e-7")),
    ("recipe-budget", lambda section: section["privacy"].update(delta="0")),
    ("recipe-budget", lambda section: section["privacy"].update(epsilon="21")),
    ("recipe-malformed", lambda section: section["privacy"].update(epsilon="1.50")),
    ("recipe-malformed", lambda section: section["privacy"].update(adjacency="change-one")),
    ("recipe-malformed", lambda section: section["output"].update(limit_bytes=2**20 + 1)),
    ("recipe-malformed", lambda section: section["output"].update(fields=[])),
    ("recipe-malformed", lambda section: section["output"]["groups"].update(sex=[])),
    ("recipe-malformed", lambda section: section["output"]["groups"].update(sex=["F", "F"])),
    ("recipe-interpolation", put("analysis", "print('$HOME')\n")),
]


@pytest.mark.parametrize("code, change", SECTION)
def test_a_study_that_breaks_a_rule_is_refused_by_name(code: str, change: Change) -> None:
    assert parse(in_section(lambda section: None)).compose == COMPOSE
    with pytest.raises(RecipeError) as caught:
        parse(in_section(change))
    assert caught.value.code == code


def column_types(column: str, *kinds: str) -> Change:
    """The study with a column of these types, one an owner."""

    def change(section: dict[str, Any]) -> None:
        two_schemas(section)
        for schema, kind in zip(section["schemas"].values(), kinds, strict=True):
            schema["columns"][column] = kind

    return change


def two_schemas(section: dict[str, Any]) -> None:
    """The second owner's dataset as one of a schema of its own."""
    section["schemas"]["other"] = copy.deepcopy(section["schemas"]["cohort"])
    section["datasets"][1]["schema"] = "other"


def keyed(kind: str, *keys: str) -> Change:
    """The study with groups of a column of this type."""

    def change(section: dict[str, Any]) -> None:
        column_types("sex", kind, kind)(section)
        section["output"]["groups"]["sex"] = list(keys)

    return change


FIT = {
    "ids as text": column_types("person", "string", "string"),
    "a number that is whole": column_types("age", "int64", "int64"),
    "a number that is a truth value": column_types("age", "bool", "bool"),
    "a label that is a number": column_types("outcome", "float64", "float64"),
    "two types that no field reads": column_types("note", "int64", "string"),
    "whole keys": keyed("int64", "0", "-1", str(2**63 - 1)),
    "truth values as in JSON": keyed("bool", "true", "false"),
    "truth values as in Python": keyed("bool", "True", "False"),
    "one truth value": keyed("bool", "true"),
    "a column that the analysis makes": lambda section: section["output"]["fields"][1].update(
        column="age_at_entry"
    ),
}


@pytest.mark.parametrize("case", FIT)
def test_columns_that_are_fit_for_their_use_are_taken(case: str) -> None:
    assert parse(in_section(FIT[case])).compose != COMPOSE


UNFIT = {
    "ids that are real numbers": ("recipe-unit", "person", column_types("person", "float64", "float64")),
    "ids that are truth values": ("recipe-unit", "person", column_types("person", "bool", "bool")),
    "ids of two types": ("recipe-unit", "person", column_types("person", "int64", "string")),
    "a number that is text": ("recipe-column", "age", column_types("age", "string", "string")),
    "a number of two types": ("recipe-column", "age", column_types("age", "int64", "float64")),
    "a label that is text": ("recipe-column", "outcome", column_types("outcome", "string", "string")),
    "a label of two types": ("recipe-column", "outcome", column_types("outcome", "bool", "int64")),
    "a group of real numbers": ("recipe-column", "sex", column_types("sex", "float64", "float64")),
    "a group of two types": ("recipe-column", "sex", column_types("sex", "string", "int64")),
    "a key that is no whole number": ("recipe-column", "sex", keyed("int64", "1", "F")),
    "a key with a zero before it": ("recipe-column", "sex", keyed("int64", "01")),
    "a key beyond 64 bits": ("recipe-column", "sex", keyed("int64", str(2**63))),
    "a key in other digits": ("recipe-column", "sex", keyed("int64", "\u0661")),
    "a key that is no truth value": ("recipe-column", "sex", keyed("bool", "yes", "no")),
    "keys that mix spellings": ("recipe-column", "sex", keyed("bool", "true", "False")),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_column_that_is_unfit_for_its_use_is_refused_with_what_to_do(case: str) -> None:
    """DP-12: left to a run, it would be somebody's value that decides."""
    code, column, change = UNFIT[case]
    with pytest.raises(RecipeError) as caught:
        parse(in_section(change))
    assert caught.value.code == code
    assert column in caught.value.message and caught.value.hint


def test_a_limit_that_a_result_could_pass_is_refused() -> None:
    """OU-02: whether a result fits must not depend on the numbers in it."""
    least = 921
    assert parse(in_section(lambda section: section["output"].update(limit_bytes=least)))
    with pytest.raises(RecipeError) as caught:
        parse(in_section(lambda section: section["output"].update(limit_bytes=least - 1)))
    assert caught.value.code == "recipe-bounds" and str(least) in str(caught.value.hint)


def test_more_groups_than_any_result_holds_are_refused_before_they_are_spelt_out() -> None:
    def change(section: dict[str, Any]) -> None:
        section["output"]["groups"] = {name: [f"{n}" for n in range(64)] for name in ("sex", "other")}
        section["output"]["fields"][0]["by"] = ["sex", "other"]

    with pytest.raises(RecipeError) as caught:
        parse(in_section(change))
    assert caught.value.code == "recipe-bounds"


def pure(section: dict[str, Any]) -> None:
    """Without the model, which alone needs δ."""
    section["output"]["fields"].pop()
    section["privacy"].update(epsilon="0.9", delta="0")


def found_bounds(field: dict[str, Any]) -> None:
    """A mean without bounds that anybody knows."""
    cost = {name: field.pop(name) for name in ("lower", "upper", "law", "epsilon_micro")}
    found = {"bounds": "private", **field, **cost}
    head = {name: found.pop(name) for name in ("name", "kind")}
    field.clear()
    field.update(head | found)


def test_bounds_that_are_found_cost_a_fifth_of_their_field() -> None:
    field = parse(in_field(1, found_bounds)).output.fields[1]

    assert field.plain()["bounds"] == "private"
    assert {name: str(part.share) for name, part in field.parts(1).items()} == {
        "magnitudes": "1/5",
        "pair": "4/5",
    }
    assert "found within 0 and 120" in field.sentence()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"bounds": "declared"}, "recipe-field"),
        ({"bounds": True}, "recipe-field"),
        ({"upper": "120.25"}, "recipe-bounds"),
        (
            {"upper": "999999999999.999999999999", "lower": "999999999999.99999999", "decimals": 12},
            "recipe-bounds",
        ),
    ],
)
def test_private_bounds_that_break_a_rule_are_refused(change: dict[str, Any], code: str) -> None:
    def both(field: dict[str, Any]) -> None:
        found_bounds(field)
        field.update(change)

    with pytest.raises(RecipeError) as caught:
        parse(in_field(1, both))
    assert caught.value.code == code


def test_a_recipe_of_laplace_noise_alone_costs_no_delta() -> None:
    recipe = parse(in_section(pure))

    assert (recipe.epsilon_micro, recipe.delta_pico) == (900_000, 0)


@pytest.mark.parametrize(
    "delta, pico", [("1e-6", 1_000_000), ("3.3e-6", 3_300_000), ("1.0000001e-6", 1_000_001)]
)
def test_what_is_booked_is_the_policy_rounded_up_once(delta: str, pico: int) -> None:
    assert parse(in_section(lambda section: section["privacy"].update(delta=delta))).delta_pico == pico


@pytest.mark.parametrize("place, member", [(0, "epsilon_micro"), (1, "epsilon_micro"), (2, "mu_nano")])
def test_a_field_that_costs_a_little_more_than_the_plan_is_refused(place: int, member: str) -> None:
    """DP-07: the plan uses what the policy allows, to the last micro-ε."""

    def dearer(field: dict[str, Any]) -> None:
        field[member] += 10 if member == "epsilon_micro" else 10_000

    with pytest.raises(RecipeError) as caught:
        parse(in_field(place, dearer))
    assert caught.value.code == "recipe-budget"


FIELD = [
    (0, "recipe-field", put("kind", "median")),
    (0, "recipe-field", put("by", ["age_band"])),
    (0, "recipe-field", put("by", ["sex", "sex"])),
    (0, "recipe-field", put("epsilon_micro", 0)),
    (0, "recipe-field", put("epsilon_micro", -1)),
    (0, "recipe-field", put("epsilon_micro", "1")),
    (0, "recipe-field", put("law", "gaussian")),
    (0, "recipe-field", put("law", "none")),
    (0, "recipe-field", put("mu_nano", 1)),
    (0, "recipe-field", put("share", "1")),
    (0, "recipe-field", put("epsilon", "0.5")),
    (0, "recipe-field", put("upper", "1")),
    (1, "recipe-bounds", put("lower", "120")),
    (1, "recipe-field", put("decimals", 13)),
    (1, "recipe-field", put("upper", 120)),
    (1, "recipe-field", put("upper", "1.20e2")),
    (1, "recipe-malformed", put("name", "people")),
    (1, "recipe-bounds", put("upper", "1000000000000")),
    (1, "recipe-bounds", lambda field: field.update(lower="0.11", upper="0.19")),
    (2, "recipe-bounds", put("clip", "0")),
    (2, "recipe-bounds", put("clip", "1025")),
    (
        2,
        "recipe-bounds",
        lambda field: field["features"][0].update(lower="99999999999", upper="99999999999.0000000001"),
    ),
    (2, "recipe-bounds", lambda field: field.update(lower="0.1111", upper="0.1119")),
    (2, "recipe-field", put("steps", 0)),
    (2, "recipe-field", put("features", [])),
    (2, "recipe-field", lambda field: (field.pop("mu_nano"), field.update(law="laplace", epsilon_micro=1))),
    (2, "recipe-field", lambda field: field.pop("label")),
]


@pytest.mark.parametrize("number, code, change", FIELD)
def test_a_field_that_breaks_a_rule_is_refused_by_name(number: int, code: str, change: Change) -> None:
    assert parse(in_field(number, lambda field: None)).compose == COMPOSE
    with pytest.raises(RecipeError) as caught:
        parse(in_field(number, change))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "old, new, code",
    [
        ("gpu: none", 'gpu: "none"', "recipe-not-canonical"),
        ("gpu: none", "gpu:  none", "recipe-not-canonical"),
        ("gpu: none", "gpu: none # as it is", "recipe-not-canonical"),
        ("gpu: none", "gpu: none\n  gpu: h100", "recipe-malformed"),
        ("gpu: none", "gpu: &anchor none", "recipe-malformed"),
        ("gpu: none", "gpu: !!str none", "recipe-malformed"),
        ("gpu: none", "gpu: *none", "recipe-malformed"),
        ("gpu: none", "<<: {gpu: none}", "recipe-malformed"),
        ("gpu: none", "gpu: no", "recipe-gpu"),
        ("gpu: none", "gpu: h100", "recipe-gpu"),
        ("x-sealroom:", "---\nx-sealroom:", "recipe-malformed"),
        ("import pandas", "import\tpandas", "recipe-analysis"),
        ("as pd", "as pd ", "recipe-analysis"),
        ("as pd", "as pd  # \u202e", "recipe-analysis"),
        ("How many", "How\u200bmany", "recipe-malformed"),
    ],
)
def test_a_second_spelling_of_one_recipe_is_refused(old: str, new: str, code: str) -> None:
    """AT-23: what docker reads and what owners read must be one text."""
    assert parse(in_text("gpu: none", "gpu: none")).compose == COMPOSE
    with pytest.raises(RecipeError) as caught:
        parse(in_text(old, new))
    assert caught.value.code == code


def test_a_recipe_may_demand_gpus(folder: Path) -> None:
    """GP-04: how many, and how they are connected, is what owners approve."""
    demand = GpuDemand(kind="h100", count=2, mode="protected-pcie")
    assert parse(COMPOSE).gpu is None
    assert parse(in_section(put("gpu", GPUS))).gpu == demand and demand.protected_pcie

    study = folder / "study.yaml"
    text = study.read_text()
    study.write_text(text.replace("gpu: none", "gpu: {mode: passthrough, kind: h100, count: 1}"))
    assert parse(render(folder)).gpu == GpuDemand(kind="h100", count=1, mode="passthrough")


@pytest.mark.parametrize(
    "data, code",
    [
        (json.dumps(json.loads(COMPOSE), indent=1).encode(), "recipe-not-canonical"),
        (COMPOSE + b"\n", "recipe-not-canonical"),
        (COMPOSE[:-1], "recipe-malformed"),
        (b'{"name":"x",' + COMPOSE[1:], "recipe-malformed"),
        (b"", "recipe-malformed"),
        (b"{}", "recipe-malformed"),
        (b" " * (256 * 1024 + 1), "recipe-too-large"),
    ],
    ids=["indented", "line break", "cut", "name twice", "empty", "no fields", "too large"],
)
def test_other_bytes_are_no_recipe(data: bytes, code: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(data)
    assert caught.value.code == code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the study, to change."""
    return Path(shutil.copytree(STUDY, tmp_path / "study"))


@pytest.mark.parametrize(
    "file, old, new, code",
    [
        ("study.yaml", "gpu: none", "gpu: none\nmore: 1", "recipe-unknown-field"),
        ("study.yaml", "gpu: none", "", "recipe-malformed"),
        ("study.yaml", "gpu: none", "gpu: h100", "recipe-gpu"),
        ("study.yaml", "gpu: none", "gpu: none\nhints: phala", "recipe-malformed"),
        ("study.yaml", "gpu: none", "gpu: none\nhints: true", "recipe-malformed"),
        ("study.yaml", "gpu: none", "gpu: none\nresearchers: anyone", "recipe-malformed"),
        ("study.yaml", "gpu: none", "gpu: none\nresearchers: []", "recipe-researchers"),
        ("study.yaml", "gpu: none", "gpu: none\nresearchers: [anyone, anyone]", "recipe-researchers"),
        ("study.yaml", "gpu: none", "gpu: none\nresearchers: [hospital-A]", "recipe-researchers"),
        ("study.yaml", "@sha256:", ":", "recipe-mutable-image"),
        ("study.yaml", "epsilon: 0.5", "epsilon: half", "recipe-field"),
        ("study.yaml", "epsilon: 0.5", "epsilon: 1.2", "recipe-budget"),
        ("study.yaml", "epsilon: 0.5", "epsilon: 0.5, share: 2", "recipe-budget"),
        ("study.yaml", "epsilon: 0.5", "share: 0", "recipe-budget"),
        ("study.yaml", "epsilon: 0.5", "epsilon: 0.5, law: gaussian", "recipe-budget"),
        ("study.yaml", "steps: 10", "steps: 10\n      epsilon: 0.5", "recipe-budget"),
        ("study.yaml", "delta: 1e-6", "delta: 0", "recipe-budget"),
        ("study.yaml", "[F, M]", "[0, 1]", "recipe-malformed"),
        ("analysis.py", "import pandas", "import  = pandas", "recipe-analysis"),
        ("analysis.py", "import pandas", "import\tpandas", "recipe-analysis"),
        ("analysis.py", "as pd", "as pd ", "recipe-analysis"),
        ("analysis.py", "as pd", "as pd  # \u202e", "recipe-analysis"),
        ("analysis.py", "as pd", "as pd\ufe0f", "recipe-analysis"),
        ("analysis.py", "as pd", "as pd\u3164", "recipe-analysis"),
        ("study.yaml", "How many", "How\u200bmany", "recipe-malformed"),
    ],
)
def test_a_folder_with_a_fault_does_not_render(
    folder: Path, file: str, old: str, new: str, code: str
) -> None:
    assert render(folder) == COMPOSE
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(RecipeError) as caught:
        render(folder)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "old, new, message, hint",
    [
        (
            "kind: mean, column: age, by: [sex],",
            "kind: mean, column: age,",
            "output field age lacks by",
            "by: []",
        ),
        (
            "kind: mean, column: age, by: [sex],",
            "kind: mean, column: age, by: [ward],",
            "'ward'",
            "groups are: sex",
        ),
        (
            "kind: mean, column: age, by: [sex],",
            "kind: mean, column: age, by: [sex, sex],",
            "twice by sex",
            None,
        ),
        ("kind: count,", "kind: count, column: age,", "output field people has the unknown field", None),
        ("guarantee: by-reading", "", "lacks guarantee", "by-construction"),
        ("guarantee: by-reading", "", "lacks guarantee", "by-blocks"),
        ("guarantee: by-reading", "guarantee: by-construction", "lacks relation", "rows and sql"),
        ("guarantee: by-reading", "guarantee: by-blocks", "lacks blocks", "blocks: 50"),
        ("  groups:\n    sex: [F, M]\n", "", "lacks groups", "groups: {}"),
        ("guarantee: by-reading", "guarantee: by-blocks\nblocks: 8", "of kind count, which no", "block_mean"),
        (
            "kind: mean, column: age, by: [sex],",
            "kind: block_mean,",
            "block_mean, which no recipe but those by blocks has",
            "guarantee: by-blocks",
        ),
        ("  groups:", "\tgroups:", "not valid YAML in line", "not tabs"),
        ("gpu: none", "gpu: none\ngpu: none", "one name twice, in line 7", None),
        (
            "guarantee: by-reading",
            "guarantee: by-blocks\nrelation: {rows: 1, sql: SELECT 1}",
            "under guarantee: by-blocks",
            "by-construction",
        ),
        (
            "guarantee: by-reading",
            "guarantee: by-reading\nrelation: {rows: 1, sql: SELECT 1}",
            "has a relation",
            "by-construction",
        ),
        (
            "name: cohort-B, schema: cohort",
            "name: cohort-B, schema: cohorts",
            "hospital-B/cohort-B is of the schema 'cohorts'",
            "schemas are: cohort",
        ),
        (
            "{owner: hospital-B, name: cohort-B,",
            "{owner: hospital-A, name: Cohort-A,",
            "hospital-A/Cohort-A twice",
            None,
        ),
    ],
)
def test_a_mistake_of_a_researcher_is_named_with_what_to_write(
    folder: Path, old: str, new: str, message: str, hint: str | None
) -> None:
    text = (folder / "study.yaml").read_text()
    assert old in text
    (folder / "study.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(RecipeError) as caught:
        render(folder)
    assert message in caught.value.message
    assert (hint is None and caught.value.hint is None) or (hint or "") in (caught.value.hint or "")


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "analysis.py").unlink()
    with pytest.raises(RecipeError, match=r"analysis\.py") as caught:
        render(folder)
    assert caught.value.code == "recipe-unreadable"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(COMPOSE) - 1), st.integers(0, 7))
def test_no_flipped_bit_raises_another_error(position: int, bit: int) -> None:
    with suppress(RecipeError):
        parse(flip(COMPOSE, position, bit))


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=20)
LEAF = st.one_of(TEXT, st.integers(-(2**40), 2**40), st.booleans(), st.lists(TEXT, max_size=3))
TREE = st.dictionaries(
    TEXT.filter(lambda text: "\n" not in text),
    st.one_of(LEAF, st.dictionaries(TEXT.filter(lambda t: "\n" not in t), LEAF, max_size=3)),
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(TREE)
def test_what_is_written_as_yaml_reads_back_or_is_refused(value: dict[str, Any]) -> None:
    try:
        text = yamltext.dump(value)
    except FormatError:
        return
    assert yamltext.load(text) == (value or None)
