"""One object by a template or as JSON (`version`, `info`)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.gotemplate.execute import Template
    from kist.cli.session import Session


def details_template(form: str, name: str = "") -> Template:
    """The template, before the server is asked: what makes no sense ends with the status 64."""
    from kist.cli.gotemplate.errors import TemplateError
    from kist.cli.gotemplate.execute import Template
    from kist.cli.listing import bad_template

    try:
        return Template("{{json .}}" if form == "json" else form, name=name)
    except TemplateError as error:
        raise bad_template(error, 64) from None


def show_details(session: Session, told: dict[str, Any], template: Template, type_: str) -> None:
    """`type_`: what Go calls what is told (gotemplate/structs.py)."""
    from kist.cli.gotemplate.errors import TemplateError
    from kist.cli.gotemplate.values import Value
    from kist.cli.parser import CliError

    try:
        session.out(template.render(Value(type_, told)))
    except TemplateError as error:
        session.out(error.partial)
        raise CliError(str(error)) from None
