# SPDX-License-Identifier: Apache-2.0
"""`sealroom decide`: one signed file, and every kind of alteration of it. WE-01: what is shown follows from
facts and release; who signed is told, and a page of another maker is never taken for an owner's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.agents.disk_page import decide, made
from tests.local_chain import LocalChain, account, private_key
from tests.outside import ANALYSIS, Lab, make_recipe

from sealroom import typed
from sealroom.encoding import to_base64, to_hex
from sealroom_agents.chain import History
from sealroom_agents.console.disk.checking import against_history, check
from sealroom_agents.console.disk.matter import Matter
from sealroom_agents.console.disk.page import message, parted, shell
from sealroom_agents.console.disk.page import page as drawn
from sealroom_agents.errors import ToolError
from sealroom_agents.twelve_words import twelve_words

pytestmark = pytest.mark.anvil

STRANGER = 7


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with LocalChain.start() as chain:
        yield Lab.on(chain, tmp_path_factory.mktemp("lab"))


@pytest.fixture(autouse=True)
def head_of_now(lab: Lab) -> None:
    """The command takes no chain whose newest block is old."""
    lab.chain.mine()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Another recipe's bytes."""
    return make_recipe(tmp_path_factory.mktemp("other"), analysis=ANALYSIS + "# more\n").compose


@pytest.fixture(scope="module")
def study(lab: Lab) -> bytes:
    lab.register()
    return lab.propose()


@pytest.fixture(scope="module")
def file(lab: Lab, study: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(lab, tmp_path_factory.mktemp("page"), study)


def signed_by(unsigned: bytes, matter: object, number: int) -> bytes:
    """Signed by one of anvil's accounts, whoever the page says that its maker is."""
    signature = typed.sign(typed.personal(message(unsigned, matter)), private_key(number))  # type: ignore[arg-type]
    return unsigned + f"<!-- sealroom: signed by {account(number)} {to_hex(signature)} -->\n".encode()


def refused(tmp_path: Path, data: bytes, *more: str) -> tuple[str, str]:
    altered = tmp_path / "altered.html"
    altered.write_bytes(data)
    result = decide("--check", altered, "--json", *more)
    assert result.exit_code == 1, result.output
    told = json.loads(result.stdout)
    return told["code"], told["error"]


def test_a_page_says_who_made_it_and_that_its_code_is_the_releases(
    lab: Lab, study: bytes, file: Path
) -> None:
    result = decide("--check", file, "--json")
    assert result.exit_code == 4  # nobody vouches for the account
    told = json.loads(result.stdout)
    assert told["vouched"] is False and told["maker"] == account(0)
    assert told["code"] == to_hex(shell().digest)
    assert told["study"] == to_hex(study) and told["words"] == " ".join(twelve_words(study))
    assert told["composeHash"] == lab.compose_hash
    ours = ("--consortium", lab.room.consortium)
    by = decide("--check", file, "--by", account(0), *ours)
    assert by.exit_code == 0, by.output
    asked = decide("--check", file, "--rpc", lab.chain.url, *ours)
    assert asked.exit_code == 0 and f"{account(0)}, hospital-A" in asked.output
    # a stranger may be an owner of a consortium that he set up: its address must be the officer's
    unnamed = decide("--check", file, "--rpc", lab.chain.url)
    assert unnamed.exit_code == 4 and "is your consortium" in unnamed.stderr


Alter = Callable[[bytes], bytes]


def swapped(old: bytes, new: bytes) -> Alter:
    def alter(page: bytes) -> bytes:
        assert old in page
        return page.replace(old, new, 1)

    return alter


KINDS: dict[str, tuple[Alter, str, str]] = {
    "facts": (swapped(b'"threshold":2', b'"threshold":1'), "page-differs", "it shows something else"),
    "script": (
        swapped(b"Do not sign; tell ", b"Please sign; tell "),
        "page-of-another-release",
        "another release made it",
    ),
    "policy": (
        swapped(b"connect-src 'none'", b"connect-src https:"),
        "page-of-another-release",
        "another release made it",
    ),
    "what is drawn": (
        swapped("the file’s word".encode(), b"a true word"),
        "page-differs",
        "it shows something else",
    ),
    "markup": (
        swapped(b'<main id="main">', b'<main id="main"><!--'),
        "page-differs",
        "it shows something else",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_altered_page_is_caught_whoever_signed_it(file: Path, tmp_path: Path, kind: str) -> None:
    alter, which, says = KINDS[kind]
    data = file.read_bytes()
    unsigned, _, _ = parted(data)
    matter = check(data).matter
    # on the way: the maker's signature is over other bytes
    assert refused(tmp_path, alter(data))[0] == "signature-of-another"
    # by the maker itself, whose key may be stolen: the release makes another page of these facts
    code, error = refused(tmp_path, signed_by(alter(unsigned), matter, 0))
    assert code == which and says in error
    # by somebody else in the maker's name
    assert refused(tmp_path, signed_by(alter(unsigned), matter, STRANGER))[0] == "signature-of-another"


def test_other_recipe_bytes_are_caught(file: Path, lab: Lab, other: bytes, tmp_path: Path) -> None:
    data = file.read_bytes()
    unsigned, _, _ = parted(data)
    matter = check(data).matter
    mine = to_base64(lab.recipe.compose).encode()
    swap = swapped(mine, to_base64(other).encode())
    assert refused(tmp_path, swap(data))[0] == "page-malformed"  # under the hash of another
    with_hash = replace(matter, composes=(other,)).encode()
    forged = unsigned.replace(matter.encode(), with_hash)
    assert forged != unsigned
    assert refused(tmp_path, signed_by(forged, matter, 0))[0] == "proposal-differs"


def test_a_page_of_another_maker_is_not_an_owners(lab: Lab, study: bytes, file: Path, tmp_path: Path) -> None:
    data = made(lab, tmp_path / "stranger", study, by=STRANGER).read_bytes()
    assert check(data).matter.maker == account(STRANGER)
    assert refused(tmp_path, data, "--rpc", lab.chain.url)[0] == "signer-not-owner"
    assert refused(tmp_path, data, "--by", account(0))[0] == "signer-not-owner"
    # its signature does not pass under another's name
    text = data.decode().replace(f"signed by {account(STRANGER)}", f"signed by {account(0)}")
    assert refused(tmp_path, text.encode())[0] == "signature-of-another"
    # nor does a genuine page take a stranger's signature
    unsigned, _, _ = parted(file.read_bytes())
    matter = check(file.read_bytes()).matter
    assert refused(tmp_path, signed_by(unsigned, matter, STRANGER))[0] == "signature-of-another"


@pytest.mark.parametrize(
    "data",
    [b"", b"<html></html>", b"<!-- sealroom: signed by 0x", b"\xff" * 100],
    ids=["empty", "page", "cut", "junk"],
)
def test_what_is_no_page_is_refused(tmp_path: Path, data: bytes) -> None:
    assert refused(tmp_path, data)[0] == "page-malformed"


@pytest.mark.parametrize(
    "facts", [b"{}", b"[]", b"[" * 100_000, b'{"version":2}', b'{"version":1,"recipes":7}']
)
def test_facts_of_another_form_are_refused(file: Path, tmp_path: Path, facts: bytes) -> None:
    data = file.read_bytes()
    unsigned, _, _ = parted(data)
    matter = check(data).matter
    assert (
        refused(tmp_path, signed_by(unsigned.replace(matter.encode(), facts), matter, 0))[0]
        == "page-malformed"
    )


def test_a_wallet_elsewhere_signs(lab: Lab, study: bytes, tmp_path: Path) -> None:
    page, recipe = tmp_path / "decide.html", tmp_path / "app-compose.json"
    recipe.write_bytes(lab.recipe.compose)
    where = ("--consortium", lab.room.consortium, "--rpc", lab.chain.url, "--recipe", recipe)
    named = ("--study", to_hex(study), "--account", account(1))
    told = decide("--page", page, *where, *named, "--json")
    assert told.exit_code == 0, told.output
    asked = json.loads(told.stdout)["personalMessage"]
    assert asked.startswith("Sealroom: the page of a study") and to_hex(study) in asked
    assert refused(tmp_path, page.read_bytes())[0] == "page-malformed"  # nobody has signed it
    wrong = to_hex(typed.sign(typed.personal(asked.encode()), private_key(2)))
    assert decide("--sign", page, "--signature", wrong).exit_code == 1
    signature = to_hex(typed.sign(typed.personal(asked.encode()), private_key(1)))
    result = decide("--sign", page, "--signature", signature)
    assert result.exit_code == 0, result.output
    assert "hospital-B" in decide("--check", page, "--rpc", lab.chain.url).output
    assert decide("--sign", page, "--signature", signature).exit_code == 1  # it has one


def test_a_contract_makes_no_page(lab: Lab, study: bytes, tmp_path: Path) -> None:
    """EIP-1271: its signature is its code's word at a block, and a page is checked without a node."""
    page, recipe = tmp_path / "decide.html", tmp_path / "app-compose.json"
    recipe.write_bytes(lab.recipe.compose)
    where = ("--consortium", lab.room.consortium, "--rpc", lab.chain.url, "--recipe", recipe)
    named = ("--study", to_hex(study), "--json", "--account")
    assert decide("--page", page, *where, *named, account(1)).exit_code == 0
    page.unlink()
    result = decide("--page", page, *where, *named, lab.room.ledger)
    told = json.loads(result.stdout)
    assert result.exit_code == 1 and told["code"] == "maker-is-contract"
    assert "one of its signers" in told["hint"]
    assert not page.exists()


def test_what_cannot_be_made_is_refused(lab: Lab, other: bytes, tmp_path: Path) -> None:
    recipe = tmp_path / "other.json"
    recipe.write_bytes(other)
    where = ("--consortium", lab.room.consortium, "--rpc", lab.chain.url, "--account", account(0))
    result = decide("--page", tmp_path / "x.html", *where, "--recipe", recipe, "--json")
    assert json.loads(result.stdout)["code"] == "proposal-unknown"
    mine = tmp_path / "mine.json"
    mine.write_bytes(lab.recipe.compose)
    result = decide(
        "--page", tmp_path / "x.html", *where, "--recipe", mine, "--study", "0x" + "77" * 32, "--json"
    )
    assert json.loads(result.stdout)["code"] == "proposal-unknown"
    assert not (tmp_path / "x.html").exists()
    for wrong in ((), ("--page", "a", "--check", "b"), ("--sign", "a"), ("--page", "a", "--rpc", "http://x")):
        assert decide(*wrong).exit_code == 2


def test_facts_such_as_no_chain_has_are_refused(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    unsigned, _, _ = parted(data)
    matter = check(data).matter
    (candidate,) = matter.facts.candidates
    short = replace(candidate, study=replace(candidate.study, versions=()))
    forged = replace(
        matter,
        study=short.study.id,
        facts=replace(
            matter.facts,
            candidates=(short,),
            datasets=(replace(matter.facts.datasets[0], study=short.study.id),),
        ),
    )
    text = unsigned.replace(matter.encode(), forged.encode())
    assert refused(tmp_path, signed_by(text, forged, 0))[0] in ("page-malformed", "proposal-unknown")


@pytest.mark.usefixtures("study")
def test_several_wait_and_text_of_others_is_no_markup(lab: Lab, tmp_path: Path) -> None:
    """WE-06, WE-12: each is named, none is taken by itself; what a researcher wrote ends no element."""
    recipe = make_recipe(tmp_path / "hostile", question="Is </script><img src=x onerror=alert(1)> counted?")
    hostile = replace(lab, recipe=recipe)
    first, second = hostile.propose(owner=1), hostile.propose(owner=2, max_runs=1)
    compose = tmp_path / "app-compose.json"
    compose.write_bytes(recipe.compose)
    where = ("--consortium", lab.room.consortium, "--rpc", lab.chain.url, "--recipe", compose)
    result = decide("--page", tmp_path / "x.html", *where, "--account", account(0), "--json")
    told = json.loads(result.stdout)
    assert (
        told["code"] == "proposal-unknown"
        and to_hex(first) in told["error"]
        and to_hex(second) in told["error"]
    )
    page = made(hostile, tmp_path / "page", first).read_text()
    around = shell()
    assert page.count("</script") == sum(
        part.count("</script") for part in (around.before, around.between, around.after)
    )
    assert "<img" not in page
    drawn = page.removeprefix(around.before).partition(around.between)[0]
    assert f'data-proposal="{to_hex(second)}"' in drawn
    assert 'href="/' not in drawn and "server" not in drawn


def test_the_facts_are_read_back_whole(file: Path) -> None:
    matter = check(file.read_bytes()).matter
    assert type(matter).parse(matter.encode()) == matter
    with pytest.raises(ToolError, match="not written as a release writes them"):
        type(matter).parse(b" " + matter.encode())


def test_a_page_that_a_node_contradicts_is_told(lab: Lab, study: bytes, tmp_path: Path) -> None:
    """WE-01: an owner signs what the chain does not say."""
    data = made(lab, tmp_path / "now", study).read_bytes()
    unsigned, _, _ = parted(data)
    matter = check(data).matter
    view = matter.facts.view

    def told(found: Matter) -> list[str]:
        page = tmp_path / "told.html"
        page.write_bytes(signed_by(drawn(found), found, 0))
        lab.chain.mine()  # a head of now
        given = ("--rpc", lab.chain.url, "--consortium", lab.room.consortium, "--json")
        result = decide("--check", page, *given)
        answer = json.loads(result.stdout)
        assert answer["vouched"] is (result.exit_code == 0)
        assert result.exit_code in (0, 4), result.output
        return list(answer["nodeSaysOtherwise"])

    assert drawn(matter) == unsigned and told(matter) == []
    renamed = tuple(replace(one, id=f"{one.id}-x") for one in view.owners)
    for change, says in (
        ({"view": replace(view, owners=renamed)}, "owners"),
        ({"view": replace(view, threshold=1)}, "threshold"),
        ({"view": replace(view, block_number=view.block_number + 10**6)}, "tells of block"),
        ({"view": replace(view, block_number=1)}, "what owners did up to block 1"),
    ):
        (reason,) = told(replace(matter, facts=replace(matter.facts, **change)))  # type: ignore[arg-type]
        assert says in reason
    # without the proposal of another owner, say
    (reason,) = told(replace(matter, history=History(matter.history.events[:-1], matter.history.unread)))
    assert "what owners did" in reason
    # and what it says not to have read, the node has
    for unread in (1, view.block_number, 2**53 - 1):
        (reason,) = told(replace(matter, history=History(matter.history.events[:-1], unread)))
        assert f"it read nothing up to block {unread}" in reason


def test_of_a_history_that_is_cut_the_rest_is_compared(lab: Lab, study: bytes, tmp_path: Path) -> None:
    """WE-01: what neither read, nobody vouches for; what both read, the node's word is compared with."""
    matter = check(made(lab, tmp_path / "cut", study).read_bytes()).matter
    events, block = matter.history.events, matter.facts.view.block_number
    cut = events[-1].at.block - 1
    later = History(tuple(one for one in events if one.at.block > cut), cut)
    earlier = replace(later, unread=cut - 1)
    assert against_history(later, later, block) == against_history(earlier, later, block) == ()
    assert against_history(matter.history, later, block) == (), "somebody who read more, earlier"
    (reason,) = against_history(later, earlier, block)
    assert f"up to block {cut}" in reason
    for page in (History((), cut), replace(later, events=events[:-1])):
        (reason,) = against_history(page, later, block)
        assert "what owners did" in reason
