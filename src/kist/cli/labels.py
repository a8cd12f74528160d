"""`--label KEY[=VALUE]` of everything that can have labels."""

from __future__ import annotations

from kist.cli.container_body import bad_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments


def labels(args: Arguments) -> list[str]:
    """As they were given; CliError for one without a name."""
    found = args.list("label")
    for value in found:
        if value.startswith("=") or not value:
            raise bad_value(args, "label", value, f"invalid label '{value}': empty name")
    return found
