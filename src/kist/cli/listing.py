"""Lists (`ps`, `images`, `network ls`…): as a table, as JSON, or by a template (`--format`).

A list's fields are a table: name → (head of the column, function of one row's data). `table` without a
template shows the list's usual columns and needs no template engine.
"""

from __future__ import annotations

from kist.cli.output import table
from kist.cli.parser import CliError, see, usage_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from kist.cli.parser import Arguments, Option
    from kist.cli.session import Session

    Fields = dict[str, tuple[str, Callable[..., Any]]]

FORMAT_HELP = ("Show it by a template: 'table' (columns), 'table TEMPLATE' (columns by a Go template), 'json', or "
               "a Go template")
FORMAT: Option = ("format", "", "string", FORMAT_HELP)
NO_TRUNC: Option = ("no-trunc", "", "", "Don't shorten anything")
FILTER: Option = ("filter", "f", "filter", "Show only what fits (key=value)")


def show(session: Session, fields: Fields, columns: Sequence[str], rows: Iterable[Any], *, form: str = "",
         quiet: str = "", raw: str = "", type_: str = "*formatter.Context") -> None:
    """Print the rows; `quiet` names the only field to show, unless a template is given; `raw`: the template that
    `--format raw` stands for; `type_`: what Go calls a row, for errors."""
    if quiet and form in ("", "table"):
        getter = fields[quiet][1]
        session.write("".join(f"{getter(row)}\n" for row in rows))
    elif form in ("", "table"):
        getters = [fields[column][1] for column in columns]
        lines = ["\t".join(fields[column][0] for column in columns)]
        lines += ["\t".join([str(getter(row)) for getter in getters]) for row in rows]
        session.write(table(lines))
    else:
        form = raw if form == "raw" and raw else form
        _by_template(session, fields, rows, form.replace("\\t", "\t").replace("\\n", "\n"), type_)


def _by_template(session: Session, fields: Fields, rows: Iterable[Any], form: str, type_: str) -> None:
    from kist.cli.gotemplate.errors import TemplateError
    from kist.cli.gotemplate.execute import Template
    from kist.cli.gotemplate.functions import HEADER_FUNCTIONS
    from kist.cli.gotemplate.values import Row, Value

    heads = {name: (lambda _data, *arguments, head=head: head or " ".join(map(str, arguments)))
             for name, (head, _) in fields.items()}
    getters = {name: getter for name, (_, getter) in fields.items()}
    with_head = form.startswith("table")
    source = "{{json .}}" if form == "json" else (form.removeprefix("table") if with_head else form).strip(" ")
    try:
        template = Template(source)
        lines = [template.render(Value(type_, Row(getters, row))) for row in rows]
        if with_head:
            head = Template(source, functions=HEADER_FUNCTIONS).render(Value(type_, Row(heads, None)))
    except TemplateError as error:
        raise bad_template(error) from None
    if with_head:
        session.write(table("\n".join([head, *lines]).split("\n")))
    else:
        session.write("".join(line + "\n" for line in lines))


def bad_template(error: Exception, status: int = 1) -> CliError:
    return CliError(f"template parsing error: {error}", status)


def filters(args: Arguments) -> dict[str, list[str]] | None:
    """`--filter status=exited -f label=a=b` → the API's filters."""
    result: dict[str, list[str]] = {}
    shown = next((f"-{row[1]}, --filter" if row[1] else "--filter" for row in args.command.options
                  if row[0] == "filter"), "")
    for word in args.list("filter"):
        key, mark, value = word.partition("=")
        if not mark:
            raise CliError(f'invalid argument "{word}" for "{shown}" flag: bad format of filter (expected name=value)'
                           f"\n\n{usage_line(args.path, args.command)}\n\n{see(args.path)}", 125)
        result.setdefault(key.strip().lower(), []).append(value.strip())
    return result or None


def label_text(labels: dict[str, str] | None) -> str:
    """`a=b,c=d`"""
    return ",".join(f"{key}={value}" for key, value in (labels or {}).items())
