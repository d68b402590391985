# SPDX-License-Identifier: Apache-2.0
"""The chain as one database knows it: a follower that reads all of it once, and what pages ask instead.

`Follower` reads the events of a factory, its ledger and its consortia from the block of the factory on, and
after each event the state of the consortia that it concerns. `Indexed` answers from what it wrote. Events are
hints, for people to follow; votes, budgets and what is live come from state at one block (CH-29).
"""

from sealroom_agents.index.facts import Facts, newest_of_each, waiting
from sealroom_agents.index.follower import Follower, following, rebuild
from sealroom_agents.index.indexed import Indexed, Portrait, Progress, with_proposal
from sealroom_agents.store.index_records import Line, Wanted

__all__ = [
    "Facts",
    "Follower",
    "Indexed",
    "Line",
    "Portrait",
    "Progress",
    "Wanted",
    "following",
    "newest_of_each",
    "rebuild",
    "waiting",
    "with_proposal",
]
