# SPDX-License-Identifier: Apache-2.0
"""Makes the vectors anew: `python -m tests.vectors.make`.

Nothing is drawn at random: a second run makes the same files, byte for byte.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

from sealroom import typed
from sealroom.encoding import canonical, lp
from sealroom.keys import address_of
from sealroom.model import (
    Challenge,
    Finalized,
    Lease,
    Record,
    Renewal,
)
from sealroom.recipe import parse
from sealroom.recipe.appcompose import CHANNEL, GUEST_SOCKET, HINTS
from tests.formats import test_recipe_blocks as of_blocks
from tests.formats.test_recipe import (
    GPUS,
    column_types,
    found_bounds,
    in_field,
    in_frame,
    in_section,
    in_service,
    in_text,
    pure,
    put,
)
from tests.formats.test_recipe_relation import WRONG, by_construction, changed, for_people
from tests.formats.test_typed import MACHINES, PLATFORM, ROSTER, STUDY, VALIDITY, votes
from tests.formats.worked import (
    CHAIN_ID,
    COMPOSE,
    CONSORTIUM,
    ENCLAVE_SIGNER,
    GATE_SIGNER,
    GRANT,
    HINTED,
    LEDGER,
    envelope,
    secret,
)
from tests.vectors.make_envelopes import make_envelopes
from tests.vectors.make_failures import make_failures
from tests.vectors.make_ledger import make_ledger
from tests.vectors.make_policy import make_policies
from tests.vectors.make_pseudonyms import make_pseudonyms
from tests.vectors.make_sealed import make_sealed
from tests.vectors.vector import FOLDER, Vector

PHALA = {
    "allowed_envs": ["SEALROOM_HINTS"], "secure_time": False, "storage_fs": "zfs", "tproxy_enabled": False,
}  # fmt: skip
"""What Phala Cloud's form of a recipe has otherwise."""


def make_recipes() -> None:
    """Recipes: the worked one, and one broken rule each."""
    for name, comment, body in [
        ("small_study", "the worked study", COMPOSE),
        ("pure_study", "Laplace noise alone: it costs no δ", in_section(pure)),
        ("by_construction", "a relation computes the people", by_construction()),
        ("by_construction_people", "how many people its memory is for", changed(for_people)),
        ("by_blocks", "a script sees one block of people at a time", of_blocks.by_blocks()),
        ("gpus", "its enclave shows evidence of two GPUs", in_section(put("gpu", GPUS))),
        ("hints", "its enclave reads what its host tells it", HINTED),
        ("private_bounds", "a mean whose bounds are found with noise", in_field(1, found_bounds)),
    ]:
        recipe = parse(body)
        fields = {
            "expect": "success",
            "comment": comment,
            "compose-hash": recipe.compose_hash.hex(),
            "output-hash": recipe.output_hash.hex(),
            "privacy-hash": recipe.privacy_hash.hex(),
            "epsilon-micro": str(recipe.epsilon_micro),
            "delta-pico": str(recipe.delta_pico),
        }
        Vector(fields, body).write(FOLDER / "recipe" / name)
    image = "ghcr.io/sealroom/enclave"
    broken = {
        "image_by_tag": ("recipe-mutable-image", "AT-24", in_service(put("image", f"{image}:latest"))),
        "privileged": ("recipe-privileged", "AT-24", in_service(put("privileged", True))),
        "docker_socket": (
            "recipe-host-mount",
            "AT-24",
            in_service(put("volumes", ["/var/run/docker.sock:/s"])),
        ),
        "hints_to_write": (
            "recipe-host-mount",
            "AT-24",
            in_service(put("volumes", [f"{GUEST_SOCKET}:{GUEST_SOCKET}", HINTS[:-3], CHANNEL])),
        ),
        "ports": ("recipe-ports", "AT-25", in_service(put("ports", ["80:80"]))),
        "init_script": ("recipe-script", "AT-23", in_frame(put("init_script", "true"))),
        "script_of_a_cloud": (
            "recipe-script",
            "AT-23: Phala's form, with a script that nobody has read",
            in_frame(lambda frame: frame.update(PHALA, pre_launch_script="#!/bin/bash\n")),
        ),
        "hints_of_a_cloud": (
            "recipe-allowed-envs",
            "AT-21: the variable of Phala's form in ours",
            in_frame(put("allowed_envs", ["SEALROOM_HINTS"])),
        ),
        "public_logs": ("recipe-public-logs", "AT-25", in_frame(put("public_logs", True))),
        "allowed_envs": ("recipe-allowed-envs", "AT-21", in_frame(put("allowed_envs", ["LD_PRELOAD"]))),
        "unknown_setting": ("recipe-unknown-field", "AT-23", in_frame(put("swap_size", 1))),
        "second_spelling": ("recipe-not-canonical", "AT-23", in_text("gpu: none", 'gpu: "none"')),
        "gpu_kind": (
            "recipe-gpu",
            "a GPU that nothing verifies",
            in_section(put("gpu", {**GPUS, "kind": "a100"})),
        ),
        "gpu_count": ("recipe-gpu", "no GPU at all", in_section(put("gpu", {**GPUS, "count": 0}))),
        "gpu_order": (
            "recipe-not-canonical",
            "the members of the demand in another order",
            in_section(put("gpu", dict(reversed(GPUS.items())))),
        ),
        "budget": (
            "recipe-budget",
            "fields cost a little more together than the policy says",
            in_field(0, put("epsilon_micro", 500_010)),
        ),
        "delta": (
            "recipe-budget",
            "the policy says a δ that is a little less than what the fields need",
            in_section(lambda s: s["privacy"].update(delta="9.9999e-7")),
        ),
        "bounds": ("recipe-bounds", "a mean without a range", in_field(1, put("lower", "120"))),
        "limits_of_private_bounds": (
            "recipe-bounds",
            "a limit with more decimals than what is released",
            in_field(1, lambda field: (found_bounds(field), field.update(upper="120.25"))),
        ),
        "member": ("recipe-field", "a member that its kind has not", in_field(1, put("clip", "1"))),
        "order": (
            "recipe-not-canonical",
            "the members of a kind in another order",
            in_field(1, lambda field: field.update(column=field.pop("column"))),
        ),
        "unit": (
            "recipe-unit",
            "the unit is no column",
            in_section(lambda s: s["schemas"]["cohort"].update(unit="who")),
        ),
        "unit_of_two_types": (
            "recipe-unit",
            "one owner's ids are numbers, another's are text",
            in_section(column_types("person", "int64", "string")),
        ),
        "group_of_real_numbers": (
            "recipe-column",
            "which real numbers are equal is a matter of rounding",
            in_section(column_types("sex", "float64", "float64")),
        ),
        "limit_bytes": (
            "recipe-bounds",
            "a result could be longer",
            in_section(lambda s: s["output"].update(limit_bytes=200)),
        ),
        "indented": (
            "recipe-not-canonical",
            "other white space",
            json.dumps(json.loads(COMPOSE), indent=1).encode(),
        ),
    }
    for name, (code, comment, body) in broken.items():
        fields = {"expect": code, "stage": "RecipeError", "comment": comment}
        Vector(fields, body).write(FOLDER / "recipe" / name)
    for name, (code, change) in WRONG.items():
        fields = {"expect": code, "stage": "RecipeError", "comment": "OU-08"}
        Vector(fields, changed(change)).write(FOLDER / "recipe" / f"relation_{name}")
    for name, (code, change) in of_blocks.WRONG.items():
        fields = {"expect": code, "stage": "RecipeError", "comment": "DP-23"}
        Vector(fields, of_blocks.changed(change)).write(FOLDER / "recipe" / f"blocks_{name}")


def make_typed() -> None:
    """EIP-712 structures, each signed by the key whose it is: Solidity, Python and wallets must agree."""
    consortium, ledger = typed.consortium_domain(CHAIN_ID, CONSORTIUM), typed.ledger_domain(CHAIN_ID, LEDGER)
    gate = typed.gate_domain(CHAIN_ID, CONSORTIUM)
    at: dict[str, Any] = {"chain_id": CHAIN_ID, "consortium": CONSORTIUM}
    owner_key = secret("owner")
    cast = [replace(vote, owner=address_of(owner_key)) for vote in votes()]
    ids = {
        "ApproveStudy": STUDY.id,
        "AdoptPlatform": PLATFORM.under(VALIDITY).id,
        "AddMachines": MACHINES.under(VALIDITY).id,
        "ChangeRoster": ROSTER.under(VALIDITY).id,
    }
    said: list[Record] = [
        envelope().receipt,
        GRANT,
        Challenge(transcript=secret("t")),
        Lease(run_id=GRANT.run_id, counter=2),
        Renewal(run_id=GRANT.run_id, counter=2, lease_seconds=30, opening_final=True),
        Finalized(number=GRANT.block_number, hash=GRANT.block_hash),
    ]
    contents = {each.struct: each for each in (*cast, *said)}
    made = {vote.struct: (consortium, owner_key, typed.vote(vote, **at)) for vote in cast} | {
        "Receipt": (
            ledger, ENCLAVE_SIGNER, typed.receipt(envelope().receipt, chain_id=CHAIN_ID, ledger=LEDGER)
        ),
        "Grant": (gate, GATE_SIGNER, typed.grant(GRANT, **at)),
        "Challenge": (gate, GATE_SIGNER, typed.challenge(secret("t"), **at)),
        "Lease": (gate, ENCLAVE_SIGNER, typed.lease(GRANT.run_id, 2, **at)),
        "Renewal": (gate, GATE_SIGNER, typed.renewal(GRANT.run_id, 2, 30, True, **at)),
        "Finalized": (gate, GATE_SIGNER, typed.finalized(GRANT.block_number, GRANT.block_hash, **at)),
    }  # fmt: skip
    for name, (domain, key, signable) in made.items():
        fields = {
            "expect": "success",
            "comment": f"digest and signature of {name}; the body is what a wallet is given",
            "domain-separator": signable.header.hex(),
            "struct-hash": signable.body.hex(),
            "digest": typed.digest(signable).hex(),
            "private-key": key.hex(),
            "signer": address_of(key),
            "signature": typed.sign(signable, key).hex(),
        }
        if name in ids:
            fields["proposal"] = ids[name].hex()
        body = canonical(typed.typed_data(contents[name], domain))
        Vector(fields, body).write(FOLDER / "typed" / name)


def make_tuples() -> None:
    """Length-prefixed tuples: domain and fields as JSON, the encoding as the body."""
    tuples: dict[str, tuple[str, list[str | int]]] = {
        "domain_alone": ("sealroom/v1/test", []),
        "texts": ("sealroom/v1/test", ["ab", "c"]),
        "texts_moved": ("sealroom/v1/test", ["a", "bc"]),
        "empty_field": ("sealroom/v1/test", [""]),
        "integers": ("sealroom/v1/test", [0, 1, 2**53 - 1]),
        "utf_8": ("sealroom/v1/tést", ["ε"]),
    }
    for name, (domain, values) in tuples.items():
        fields = {"expect": "success", "domain": domain, "fields": json.dumps(values, ensure_ascii=False)}
        Vector(fields, lp(domain, *values)).write(FOLDER / "tuple" / name)


if __name__ == "__main__":
    for kind in (
        "sealed",
        "recipe",
        "envelope",
        "ledger",
        "typed",
        "tuple",
        "policy",
        "failure",
        "pseudonym",
    ):
        shutil.rmtree(FOLDER / kind, ignore_errors=True)
    make_sealed()
    make_recipes()
    make_envelopes()
    make_ledger()
    make_typed()
    make_tuples()
    make_policies()
    make_failures()
    make_pseudonyms()
