"""What the kernel was (or will be) asked for to make a container: the engine's door to `runtime/explain.py`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def explain(spec: dict[str, Any], container_id: str, bundle: str, pid: int = 0) -> dict[str, Any]:
    """``{"plan": …, "now": …}``, see `runtime.explain`; ``now`` is None unless a process ``pid`` runs. ValueError if
    the specification makes no sense."""
    from kist.runtime.cgroup import open_cgroup  # not at the top: the engine needs no runtime but for this
    from kist.runtime.errors import RuntimeFailure
    from kist.runtime.explain import explain_plan, explain_running

    wired = any(entry["type"] == "network" and not entry.get("path") for entry in spec["linux"]["namespaces"])
    try:
        plan = explain_plan(spec, container_id, bundle, netns=wired)
    except RuntimeFailure as error:
        raise ValueError(str(error)) from None
    try:
        now = explain_running(pid, open_cgroup(spec, container_id)) if pid else None
    except (OSError, RuntimeFailure):  # it has just ended
        now = None
    return {"plan": plan, "now": now}
