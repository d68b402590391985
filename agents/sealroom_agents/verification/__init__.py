# SPDX-License-Identifier: Apache-2.0
"""Walk a result's envelope link by link, and name the first that is broken.

Offline, against pinned roots: `result` `statement` `receipt` `grant` `recipe` `output` `quote` `report-data`
`event-log` `kms-chain` `gate-quote`. With a node of the chain also `gate-registered` `approved` `opened`
`anchored` `revocation`. Each link rests on the ones before it, so the walk stops at the first that doesn't
hold.

What a whole walk proves: exactly this recipe, in an enclave of an attested machine, made exactly this
result; a gate that the owners adopted let it have the keys; and, with the chain, k owners and every owner of
a used dataset had approved it, the budget was booked, and the receipt is anchored. What it does not prove:
that the data were true, or that the noise was drawn well; those rest on the owners and on the recipe that
they read.
"""

from sealroom_agents.verification.walk import OFFLINE, ON_CHAIN, Link, first_broken, verify, walk

__all__ = ["OFFLINE", "ON_CHAIN", "Link", "first_broken", "verify", "walk"]
