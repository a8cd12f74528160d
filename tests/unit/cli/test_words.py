"""The table of words: every command can be loaded, and is offered only when the server does its work."""

from __future__ import annotations

import pytest

from kist.api.routes import ROUTES
from kist.cli.__main__ import load, resolve
from kist.cli.container_body import COPIED, MADE, OWN, THEMES, WINDOWS
from kist.cli.container_options import CONTAINER_OPTIONS, RUN_OPTIONS
from kist.cli.words import ALSO, MODULES, NOT_YET, NOUNS

PATHS = {**MODULES, **{f"{noun} {verb}": place for noun, (_, verbs) in NOUNS.items() for verb, place in verbs.items()}}
REFUSED_ROUTES = {route.operation for route in ROUTES if route.refusal}
SERVED_ROUTES = {route.operation for route in ROUTES} - REFUSED_ROUTES


@pytest.mark.parametrize("path", PATHS)
def test_commands_live_on_requests_that_the_server_answers(path: str) -> None:
    requests = set(load(PATHS[path]).requests)
    assert requests <= SERVED_ROUTES | REFUSED_ROUTES, "no such operation in the table of routes"
    assert (path in NOT_YET) == bool(requests & REFUSED_ROUTES)


@pytest.mark.parametrize("path", PATHS)
def test_every_option_is_a_row_that_makes_sense(path: str) -> None:
    rows = load(PATHS[path]).options
    names, shorts = [row[0] for row in rows], [row[1] for row in rows if row[1]]
    assert len(names) == len(set(names))
    assert len(shorts) == len(set(shorts))
    for row in rows:
        assert row[2][:1] != "=" or row[2][1:] in names


def test_other_words_lead_to_the_same_commands() -> None:
    for (noun, word), verb in ALSO.items():
        assert resolve([noun, word])[1] is load(NOUNS[noun][1][verb])


def test_every_option_of_run_is_sent_or_refused() -> None:
    told = [set(COPIED), set(MADE), set(THEMES), set(OWN), set(WINDOWS)]
    options = {row[0] for row in CONTAINER_OPTIONS + RUN_OPTIONS if row[2][:1] != "="}
    assert set().union(*told) == options
    assert sum(map(len, told)) == len(options), "an option is in two tables"
