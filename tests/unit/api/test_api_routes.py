"""The route table: every path of the API is there, each row is served or refused."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from kist.api.routes import ROUTES, Route

# The published description of the API, where the machine has it beside the checkout.
SPEC = Path(__file__).parents[4] / "shared" / "specs" / "engine-api-v1.51.yaml"


def test_no_row_is_there_twice() -> None:
    assert len({(r.method, re.sub(r"\{\w+", "{", r.pattern)) for r in ROUTES}) == len(ROUTES)
    assert len({r.operation for r in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: r.operation)
def test_a_row_has_a_handler_or_a_refusal(route: Route) -> None:
    assert route.handler or route.refusal
    if route.handler:
        module, _, function = route.handler.partition(".")
        found = getattr(importlib.import_module(f"kist.server.routes.{module}"), function)
        assert inspect.iscoroutinefunction(found)


@pytest.mark.skipif(not SPEC.exists(), reason="the API's description is not beside this checkout")
def test_the_table_holds_every_operation_of_the_api() -> None:
    described, path, method = set(), "", ""
    for line in SPEC.read_text().split("\npaths:\n")[1].splitlines():
        if match := re.fullmatch(r"  (/\S+):", line):
            path = re.sub(r"\{\w+\}", "{}", match[1])
        elif match := re.fullmatch(r"    (get|post|put|delete|head):", line):
            method = match[1].upper()
        elif match := re.fullmatch(r'      operationId: "(\w+)"', line):
            described.add((method, path, match[1]))
    assert len(described) > 100
    ours = {(r.method, re.sub(r"\{\w+\*?\}", "{}", r.pattern), r.operation) for r in ROUTES}
    assert described <= ours
