# SPDX-License-Identifier: Apache-2.0
"""What owners read of a relation before they approve it."""

from __future__ import annotations

from tests.formats.test_recipe_relation import by_construction, changed, for_people

from sealroom.recipe import parse
from sealroom_agents.cli.relation import lines
from sealroom_agents.governance.drafting import _computing
from sealroom_agents.recipe_words import people_words, relation_facts


def test_for_how_many_people_a_run_has_memory_is_told_where_a_recipe_says_it() -> None:
    """DP-06: who knows of more people refuses the recipe."""
    said, unsaid = parse(changed(for_people)), parse(by_construction())
    words = people_words(2_000_000)
    assert "2,000,000 people of all owners" in words
    for recipe, people in ((said, 2_000_000), (unsaid, None)):
        facts = relation_facts(recipe)
        assert facts is not None and facts["people"] == people
        assert (words in "\n".join(lines(recipe))) is (people is not None)
        assert (("people", words) in _computing(recipe)) is (people is not None)
