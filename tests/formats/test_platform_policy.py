# SPDX-License-Identifier: Apache-2.0
"""The platform policy: one document, one hash, and a root of trust that is exactly what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sealroom.encoding import canonical, sha256
from sealroom.errors import FormatError
from sealroom.platform_policy import MAX_POLICY_BYTES, PlatformPolicy
from sealroom_agents.attestation import INTEL, trust_under
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.simulator import SimulatedPlatform
from tests.vectors.make_policy import PAGE, example
from tests.vectors.vector import cases, read


@pytest.mark.parametrize("path", cases("policy"), ids=lambda path: path.name)
def test_each_vector_is_read_or_refused_as_it_says(path: Path) -> None:
    vector = read(path)
    if vector.fields["expect"] == "success":
        policy = PlatformPolicy.parse(vector.body)
        assert policy.hash == vector.hex("hash") == sha256(canonical(json.loads(vector.body)))
        assert PlatformPolicy.parse(policy.encode()) == policy
        return
    with pytest.raises(FormatError) as caught:
        PlatformPolicy.parse(vector.body)
    assert caught.value.code == vector.fields["expect"]


def test_the_page_names_the_hash_of_its_example() -> None:
    found = re.search(r"Its hash is `0x([0-9a-f]{64})`", PAGE.read_text())
    assert found is not None
    assert PlatformPolicy.parse(example().encode()).hash.hex() == found[1]


def test_a_document_is_bounded() -> None:
    padded = example().encode().ljust(MAX_POLICY_BYTES)
    assert PlatformPolicy.parse(padded)
    with pytest.raises(FormatError) as caught:
        PlatformPolicy.parse(padded + b" ")
    assert caught.value.code == "too-large"


def test_the_root_of_trust_has_the_rules_of_the_policy_and_no_others() -> None:
    """AT-06, AT-07, AT-20, AT-29: each grant that an operator could once give is the owners'."""
    policy = PlatformPolicy.parse(example().encode())
    trust = trust_under(policy, INTEL)
    rules = policy.tcb
    granted = trust.allow_dynamic_platform, trust.allow_cached_keys, trust.allow_smt, trust.allow_v5_quotes
    assert granted == (True, False, False, False)
    assert (trust.min_tcb_evaluation, trust.rejected_advisories) == (17, ("INTEL-SA-00837",))
    assert (trust.tdx_modules, trust.os_images) == (frozenset(rules.tdx_modules), policy.os_images)


def test_a_policy_for_another_root_is_refused() -> None:
    """AT-14: also a simulated one's for Intel, and the other way round."""
    one, other = SimulatedPlatform(b"\x01" * 32), SimulatedPlatform(b"\x02" * 32)
    assert trust_under(one.policy(), one.trust()).root_der == one.root_der
    intel = PlatformPolicy.parse(example().encode())
    for policy, root in ((one.policy(), other.trust()), (one.policy(), INTEL), (intel, one.trust())):
        with pytest.raises(ConfigurationError) as caught:
            trust_under(policy, root)
        assert caught.value.code == "platform-policy"
