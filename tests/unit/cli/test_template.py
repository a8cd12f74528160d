"""Go templates: what people write behind --format."""

from __future__ import annotations

import pytest

from kist.cli.template import Template
from kist.cli.template_functions import Row, TemplateError

DATA = {
    "ID": "abc", "N": 3, "Zero": 0, "Yes": True, "None": None, "Empty": [], "F": 1.5,
    "Names": ["/a", "/b"], "State": {"Status": "running", "Pid": 42},
    "Config": {"Labels": {"a.b": "c", "x": "y"}, "Env": ["A=1", "B=2"]},
    "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "90/udp": None},
}


@pytest.mark.parametrize(("text", "shown"), [
    ("plain", "plain"),
    ("{{.ID}}", "abc"),
    ("{{ .State.Status }}:{{.State.Pid}}", "running:42"),
    ("{{.Yes}} {{.F}} {{.N}}", "true 1.5 3"),
    ("{{.None}}", "<no value>"),
    ("{{.Names}} {{.Config.Labels}}", "[/a /b] map[a.b:c x:y]"),
    ("{{json .State}}", '{"Status":"running","Pid":42}'),
    ("{{.State | json}}", '{"Status":"running","Pid":42}'),
    ("{{json .None}}{{json .Empty}}", "null[]"),
    ('{{index .Config.Labels "a.b"}}', "c"),
    ('{{index .Config.Labels "none"}}', ""),
    ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
    ('{{(index .Ports "80/tcp" 0).HostPort}}', "8080"),
    ("{{range .Names}}[{{.}}]{{end}}", "[/a][/b]"),
    ("{{range $i, $n := .Names}}{{if $i}},{{end}}{{$n}}{{end}}", "/a,/b"),
    ("{{range $n := .Names}}{{$n}};{{end}}", "/a;/b;"),
    ("{{range $p, $c := .Ports}}{{$p}}->{{with $c}}{{(index . 0).HostPort}}{{else}}-{{end}} {{end}}",
     "80/tcp->8080 90/udp->- "),
    ("{{range .Empty}}x{{else}}none{{end}}", "none"),
    ("{{range .Names}}{{println .}}{{end}}", "/a\n/b\n"),
    ("{{range .Names}}{{$.ID}}{{.}}{{end}}", "abc/aabc/b"),
    ("{{range .Names}}{{.}}{{break}}{{end}}", "/a"),
    ('{{range .Names}}{{if eq . "/a"}}{{continue}}{{end}}{{.}}{{end}}', "/b"),
    ("{{if .Zero}}a{{else if .None}}b{{else}}c{{end}}", "c"),
    ('{{if eq .State.Status "running" "paused"}}up{{end}}', "up"),
    ('{{if and .Yes (gt .N 2)}}yes{{end}}{{if or .Zero .None}}no{{end}}{{if not .Zero}}!{{end}}', "yes!"),
    ("{{with .State}}{{.Pid}}{{end}}", "42"),
    ("{{$x := .State}}{{$x.Pid}}", "42"),
    ("{{$x := 1}}{{range .Names}}{{$x = 2}}{{end}}{{$x}}", "2"),
    ('{{join .Config.Env " "}}', "A=1 B=2"),
    ('{{range split "a,b" ","}}<{{.}}>{{end}}', "<a><b>"),
    ("{{upper .ID}} {{.ID | upper | lower}} {{title .ID}}", "ABC abc Abc"),
    ("{{truncate .ID 2}} {{slice .ID 1}} {{slice .ID 0 1}} {{len .Names}}", "ab bc a 2"),
    ("{{pad .ID 1 2}}|", " abc  |"),
    ('{{printf "%-5s|%3d|%q|%v|%%|%.2f" .ID .N .ID .Yes .F}}', 'abc  |  3|"abc"|true|%|1.50'),
    ("{{print 1 2}}{{print .ID .ID}}", "1 2abcabc"),
    ("a {{- .ID -}} b", "aabcb"),
    ("a {{- /* no */ -}} b{{/* no */}}", "ab"),
    ("{{`raw\\n`}}{{\"a\\tb\"}}", "raw\\na\tb"),
    ("{{ne .N 3}}{{lt .N 4}}{{le .N 3}}{{ge .N 4}}", "falsetruetruefalse"),
    ("{{ if .Zero }}a{{ else with .State }}{{ .Pid }}{{ else }}c{{ end }}", "42"),
])
def test_what_people_write(text: str, shown: str) -> None:
    assert Template(text).render(DATA) == shown


@pytest.mark.parametrize("text", [
    "{{", "{{.ID", "{{end}}", "{{if .ID}}", "{{else}}", "{{nope .ID}}", "{{.Nope}}", "{{.ID.Nope}}", "{{.None.X}}",
    '{{"open}}', "{{index .Names 5}}", "{{.ID | }}", "{{(.ID}}", "{{)}}", "{{$y}}", "{{range .ID}}{{end}}", "{{}}",
    '{{template "x"}}', "{{join .N}}", "{{&}}", "{{1x}}", "{{lt .ID 1}}",
])
def test_what_makes_no_sense_is_a_template_error(text: str) -> None:
    with pytest.raises(TemplateError):
        Template(text).render(DATA)


def test_rows_make_their_fields_when_asked() -> None:
    row = Row({"ID": lambda data: data["id"], "Label": lambda data, name: data["labels"].get(name, "")},
              {"id": "x", "labels": {"a": "b"}})
    assert Template('{{.ID}} {{.Label "a"}} {{json .}}').render(row) == 'x b {"ID":"x"}'
    with pytest.raises(TemplateError, match="can't evaluate field Nope"):
        Template("{{.Nope}}").render(row)
