"""Hypothesis without its own watches: on a machine with other work, an example may take any time."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("busy machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")
