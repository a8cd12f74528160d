"""Progress of a pull, push or load on a terminal: one line per layer, with a bar (rich)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from collections.abc import Iterable


def show_bars(steps: Iterable[dict[str, Any]], target: TextIO, *, color: bool = True) -> None:
    """Show the steps until they end; lines that belong to no layer are printed above the bars."""
    console = Console(file=target, no_color=not color, highlight=False)
    bars: dict[str, TaskID] = {}
    with Progress(TextColumn("{task.fields[layer]}: {task.description}"), BarColumn(30), DownloadColumn(),
                  TransferSpeedColumn(), console=console) as progress:
        for step in steps:
            _show(step, progress, bars)


def _show(step: dict[str, Any], progress: Progress, bars: dict[str, TaskID]) -> None:
    status, layer = step.get("status", ""), step.get("id", "")
    if "stream" in step:
        progress.console.print(step["stream"], end="", markup=False)
    elif not status:
        return
    elif not layer or status.startswith("Pulling from"):
        progress.console.print(f"{layer}: {status}" if layer else status, markup=False)
    else:
        if layer not in bars:
            bars[layer] = progress.add_task(status, total=None, layer=layer)
        detail = step.get("progressDetail") or {}
        if detail.get("total"):
            progress.update(bars[layer], description=status, total=detail["total"],
                            completed=detail.get("current", 0))
        else:
            progress.update(bars[layer], description=status)
            if status.endswith(("complete", "exists", "Pushed", "Already exists")):
                task = next(task for task in progress.tasks if task.id == bars[layer])
                progress.update(bars[layer], total=task.total or 1, completed=task.total or 1)
