"""Go templates: what docker's own answers don't show (test_template_words.py has those), and hostile templates."""

from __future__ import annotations

import pytest

from kist.cli.gotemplate.errors import TemplateError
from kist.cli.gotemplate.execute import Template
from kist.cli.gotemplate.functions import HEADER_FUNCTIONS
from kist.cli.gotemplate.values import ANY, Row, Value, of

TYPE = "*formatter.Context"


def rendered(text: str, data: object = None) -> str:
    return Template(text).render(Value(ANY, data))


def failure(text: str, data: object = None) -> str:
    with pytest.raises(TemplateError) as caught:
        rendered(text, data)
    return str(caught.value)


def test_rows_make_their_fields_when_asked() -> None:
    def never(_data: object) -> str:
        raise AssertionError

    row = Row({"ID": lambda data: data["id"], "Label": lambda data, name: data["labels"].get(name, "")},
              {"id": "x&", "labels": {"a": "b"}})
    assert Template('{{.ID}} {{.Label "a"}} {{"a" | .Label}} {{json .}}').render(Value(TYPE, row)) == \
        'x& b b {"ID":"x\\u0026"}'
    assert Template("{{.ID}}").render(Value(TYPE, Row({"ID": str, "No": never}, "x"))) == "x"


def test_functions_leave_the_head_of_a_table_alone() -> None:
    head = Value(TYPE, Row({"Names": lambda _data: "NAMES"}, None))
    text = '{{lower .Names}} {{truncate .Names 1}} {{join (split .Names ",") "-"}} {{json .Names}} {{upper "x"}}'
    assert Template(text, functions=HEADER_FUNCTIONS).render(head) == "NAMES NAMES NAMES NAMES x"


@pytest.mark.parametrize(("value", "shown"), [
    (0, "0s"), (1, "1ns"), (1_500, "1.5µs"), (30_000_000, "30ms"), (1_000_000_000, "1s"), (90_500_000_000, "1m30.5s"),
    (3_600_000_000_000, "1h0m0s"), (-2_000_000, "-2ms"),
])
def test_durations_are_shown_as_go_shows_them(value: int, shown: str) -> None:
    assert Template("{{.}}").render(Value("time.Duration", value)) == shown


@pytest.mark.parametrize(("text", "shown"), [
    ("", "0001-01-01 00:00:00 +0000 UTC"), ("2026-11-30T19:17:20.6Z", "2026-11-30 19:17:20.6 +0000 UTC"),
    ("2026-11-30T19:17:20+02:00", "2026-11-30 19:17:20 +0200 +0200"),
])
def test_moments_are_shown_as_go_shows_them(text: str, shown: str) -> None:
    assert Template("{{.}}").render(Value("time.Time", text)) == shown


@pytest.mark.parametrize(("number", "shown"), [
    (0.0, "0"), (1.5, "1.5"), (100000.0, "100000"), (1e6, "1e+06"), (1234567.5, "1.2345675e+06"), (0.0001, "0.0001"),
    (0.00001, "1e-05"), (-2.25, "-2.25"), (1e300, "1e+300"), (0.1 + 0.2, "0.30000000000000004"),
])
def test_numbers_are_shown_with_the_fewest_digits(number: float, shown: str) -> None:
    assert Template("{{.}}").render(of(number)) == shown


def test_ulimits_are_shown_as_they_are_written() -> None:
    host = Value("container.HostConfig", {"Ulimits": [{"Name": "nofile", "Hard": 20, "Soft": 10}]})
    text = "{{.Ulimits}} {{range .Ulimits}}{{.}} {{.Hard}}{{end}}"
    assert Template(text).render(host) == "[nofile=10:20] nofile=10:20 20"
    assert Template('{{range .Ulimits}}{{printf "%#v" .}}{{end}}').render(host) == \
        '&units.Ulimit{Name:"nofile", Hard:20, Soft:10}'


def test_what_only_our_server_says_is_there_too() -> None:
    host = Value("container.HostConfig", {"Memory": 5, "NetworkRate": {"Egress": 1}})
    assert Template("{{.Memory}} {{.NetworkRate.Egress}}").render(host) == "5 1"
    assert Template("{{json .}}").render(host).endswith(',"NetworkRate":{"Egress":1}}')


def test_hostile_templates_end() -> None:
    assert "exceeded maximum template depth" in failure('{{define "a"}}{{template "a" .}}{{end}}{{template "a"}}')
    assert "the output is too long" in failure('{{range 100000}}{{pad "x" 500000 500000}}{{end}}')
    assert "Repeat output length overflow" in failure('{{pad "x" 99999999999 0}}')
    assert "unclosed left paren" in failure("{{" + "(" * 100 + "}}")
    assert len(rendered('{{printf "%999999999d" 1}}')) == 1_000_000
    with pytest.raises(TemplateError):
        Template("{{" + "(" * 100_000 + "1" + ")" * 100_000 + "}}").render(Value(ANY, None))
    with pytest.raises(TemplateError):
        Template("{{if 1}}" * 50_000 + "{{end}}" * 50_000).render(Value(ANY, None))
