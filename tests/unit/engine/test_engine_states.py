"""The table of states: what may be done when, and the words for the rest."""

from __future__ import annotations

import pytest

from kist.engine import names, states
from kist.errors import Conflict, InvalidParameter, KistError, NotFound, NotModified


@pytest.mark.parametrize("action", sorted(states.MAY))
@pytest.mark.parametrize("state", states.ALL)
def test_every_action_is_allowed_or_refused_in_every_state(action: str, state: str) -> None:
    if state in states.MAY[action]:
        states.check(action, state, id="i", name="n")
        return
    with pytest.raises(KistError) as caught:
        states.check(action, state, id="i", name="n")
    assert caught.value.status in (304, 409)
    assert "{" not in str(caught.value)


@pytest.mark.parametrize(("action", "state", "kind", "words"), [
    ("start", states.RUNNING, NotModified, ""),
    ("stop", states.EXITED, NotModified, ""),
    ("kill", states.EXITED, Conflict, "container i is not running"),
    ("start", states.PAUSED, Conflict, "cannot start a paused container, try unpause instead"),
    ("exec", states.PAUSED, Conflict, "is paused, unpause the container before exec"),
    ("remove", states.RUNNING, Conflict, "container is running: stop the container before removing or force remove"),
    ("remove", states.PAUSED, Conflict, "container is paused and must be unpaused first"),
    ("pause", states.PAUSED, Conflict, "already paused"),
    ("unpause", states.RUNNING, Conflict, "is not paused"),
])
def test_dockers_words(action: str, state: str, kind: type[KistError], words: str) -> None:
    with pytest.raises(kind) as caught:
        states.check(action, state, id="i", name="n")
    assert words in str(caught.value)


def test_ids_and_names_look_like_dockers() -> None:
    made = names.new_id()
    assert len(made) == 64
    assert not made[:12].isdecimal()
    adjective, surname = names.random_name(lambda name: False).split("_")
    assert adjective in names.ADJECTIVES
    assert surname in names.SURNAMES


def test_a_random_name_gets_a_digit_when_the_plain_ones_are_taken() -> None:
    name = names.random_name(lambda name: not name[-1].isdigit())
    assert name[-1].isdigit()


def test_looking_up_by_id_name_and_prefix() -> None:
    ids = {"ab" * 32: None, "ac" * 32: None}
    by_name = {"web": "ac" * 32}
    assert names.resolve_id("ab" * 32, ids, by_name) == "ab" * 32
    assert names.resolve_id("/web", ids, by_name) == "ac" * 32
    assert names.resolve_id("abab", ids, by_name) == "ab" * 32
    with pytest.raises(InvalidParameter, match="multiple IDs found with provided prefix: a"):
        names.resolve_id("a", ids, by_name)
    with pytest.raises(NotFound, match="No such container: nope"):
        names.resolve_id("nope", ids, by_name)
    with pytest.raises(NotFound):
        names.resolve_id("", ids, by_name)


def test_a_name_wins_over_a_prefix() -> None:
    assert names.resolve_id("ab", {"ab" * 32: None, "cd" * 32: None}, {"ab": "cd" * 32}) == "cd" * 32
