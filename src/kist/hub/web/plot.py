"""Pulls over time as a small inline SVG (pure): one bar per day, with words for those who can't see it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from markupsafe import Markup

WIDTH, HEIGHT, GAP = 600, 96, 1.0


def days_until(last: date, count: int) -> list[str]:
    """The last ``count`` days up to ``last``, as YYYY-MM-DD."""
    return [(last - timedelta(days=back)).isoformat() for back in range(count - 1, -1, -1)]


def bars(counts: Mapping[str, int], last: date, count: int = 60) -> Markup:
    """An SVG of the pulls per day in ``counts``."""
    days = days_until(last, count)
    values = [max(counts.get(day, 0), 0) for day in days]
    top, total = max(values, default=0), sum(values)
    words = f"{total} pull{'' if total == 1 else 's'} in {count} days" + (f", at most {top} a day" if top else "")
    step = WIDTH / count
    shapes = [
        f'<rect x="{number * step:.2f}" y="{HEIGHT - height:.2f}" width="{step - GAP:.2f}" height="{height:.2f}" '
        f'rx="1"><title>{day}: {value}</title></rect>'
        for number, (day, value) in enumerate(zip(days, values, strict=True))
        if (height := value / top * (HEIGHT - 4) if top else 0.0)
    ]
    return Markup(
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" preserveAspectRatio="none">'
        f"<title>{words}</title><path class=\"base\" d=\"M0 {HEIGHT - 0.5}H{WIDTH}\"/>{''.join(shapes)}</svg>")
