"""HostConfig.NetworkRate: how many bytes per second a container may send and receive. Kist's own. Pure.

Recorded and shown only while there is a limit: ``{"Egress": 1250000}``. Clients that don't know the field (docker,
compose) ask by an annotation, `kist.network-rate`, in the words of `kist run --network-rate`.
"""

from __future__ import annotations

from typing import Any

from kist.api import rates
from kist.errors import InvalidParameter

Json = dict[str, Any]


def normalize(host: Json) -> None:
    """At create: the annotation's words become the field, what asks for nothing is left out."""
    words = (host["Annotations"] or {}).get(rates.ANNOTATION)
    given = host["NetworkRate"] or (_parse(words) if words is not None else {})
    host["NetworkRate"] = _checked(given)
    _needs_network(host)


def updated(host: Json, given: Json | None) -> Json | None:
    """The field after an update; a direction that isn't given stays as it was."""
    if given is None:
        return host.get("NetworkRate")
    after = _checked({**(host.get("NetworkRate") or {}), **_given(given)})
    _needs_network({**host, "NetworkRate": after})
    return after


def to_set(host: Json) -> dict[str, int]:
    """The limits there are, in `linux.bandwidth`'s words."""
    return {name.lower(): rate for name, rate in (host.get("NetworkRate") or {}).items()}


def exact(host: Json) -> dict[str, int]:
    """The same with 0 for no limit: what makes the kernel's state just that."""
    return {name.lower(): 0 for name in rates.DIRECTIONS} | to_set(host)


def _given(asked: Json) -> dict[str, int]:
    return {name: rate for name, rate in asked.items() if rate is not None}


def _checked(asked: Json) -> Json | None:
    for name, rate in asked.items():
        if rate and rate < rates.LEAST:
            raise InvalidParameter(f"NetworkRate.{name}: {rate} is less than {rates.LEAST} bytes per second")
    return {name: rate for name, rate in asked.items() if rate} or None


def _parse(words: str) -> Json:
    try:
        return dict(rates.network_rate(words))
    except ValueError as error:
        raise InvalidParameter(f"annotation {rates.ANNOTATION}: {error}") from None


def _needs_network(host: Json) -> None:
    mode = host["NetworkMode"].partition(":")[0]
    if host["NetworkRate"] and mode in ("host", "none", "container"):
        raise InvalidParameter("conflicting options: a network rate needs a network of the container's own, and its "
                               f"network mode is {host['NetworkMode']}")
