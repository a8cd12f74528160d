"""kist system check: is everything in the store what it was when it was stored, and can it be mended?"""

from __future__ import annotations

import sys

from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session

    JSON = dict[str, Any]


def run(args: Arguments, session: Session) -> int:
    """0 if all is well or was mended, 1 otherwise."""
    found: JSON = {}
    live = sys.stderr.isatty() and not args.flag("quiet")
    for step in session.client.system.check(repair=args.flag("repair")):
        if live and step.get("id"):
            sys.stderr.write(f"\r\x1b[K{step['status'][:70]}")
            sys.stderr.flush()
        found = step.get("aux") or found
    if live:
        sys.stderr.write("\r\x1b[K")
    rows: list[JSON] = found.get("Findings") or []
    for row in rows:
        session.out(f"{row['What']}: {row['Problem']}{' (mended)' if row['Repaired'] else ''}")
    left = [row for row in rows if not row["Repaired"]]
    if not args.flag("quiet"):
        session.out(f"{found.get('Checked', 0)} things checked, {len(rows)} damaged, {len(rows) - len(left)} mended")
        session.out(f"fs-verity: {found.get('Verity', 'unknown')}")
        if left and not args.flag("repair"):
            session.out("`kist system check --repair` mends what can be mended")
    return 1 if left else 0


COMMAND = Command(
    "Check every image and layer in the store against its digests", "[OPTIONS]", run,
    options=(
        ("quiet", "q", "", "Show nothing but what is damaged"),
        ("repair", "", "", "Mend it: unpack layers again, remove contents and images that can't be saved"),
    ),
    requests=("KistCheck",))
