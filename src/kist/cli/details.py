"""One object by a template or as JSON (`version`, `info`)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.session import Session


def show_details(session: Session, told: dict[str, Any], form: str) -> None:
    from kist.cli.listing import bad_template
    from kist.cli.template import Template
    from kist.cli.template_functions import TemplateError

    try:
        session.out(Template("{{json .}}" if form == "json" else form).render(told))
    except TemplateError as error:
        raise bad_template(error) from None
