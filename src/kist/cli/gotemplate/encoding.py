"""Package encoding/json: values as JSON, structs in the order of their fields, maps by key."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.gotemplate.values import Value


# Structs that Docker's client writes as maps.
BY_NAME = ("registry.ServiceConfig", "*registry.ServiceConfig")


def encode(value: Value) -> str:
    """One line of JSON; what a line of a list has is kept safe inside HTML, as Go's own encoder does it."""
    import json

    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))
    text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    if value.type.endswith("Context"):
        text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return text


def _plain(value: Value) -> Any:
    """What `json.dumps` takes."""
    from kist.cli.gotemplate.values import ANY, Value, element, entries, items

    if value.type == ANY:
        return _sorted(value.data)
    if value.kind == "row":
        return value.data.plain() if value.data is not None else None
    if value.type == "json.Number":
        return float(value.data) if set(value.data) & set(".eE") else int(value.data)
    if value.type == "time.Time":
        return value.data or "0001-01-01T00:00:00Z"
    if value.type in BY_NAME:
        return _sorted(value.data)
    if value.data is None and value.kind not in ("struct", "array"):
        return None
    if value.kind == "ptr":
        return _plain(Value(element(value.type), value.data))
    if value.kind == "struct":
        return _struct(value)
    if value.kind == "map":
        return {key.data: _plain(one) for key, one in entries(value)}
    if value.kind in ("slice", "array"):
        return [_plain(one) for one in items(value)]
    return value.data


def _struct(value: Value) -> dict[str, Any]:
    """The fields by their JSON names, and last what only Kist's servers say."""
    made: dict[str, Any] = {}
    known: set[str] = set()
    _add_fields(value, made, known)
    data = value.data or {}
    return {**made, **{key: _sorted(data[key]) for key in data if key not in known}}


def _add_fields(value: Value, made: dict[str, Any], known: set[str]) -> None:
    from kist.cli.gotemplate.values import Value, fields

    data = value.data or {}
    for field in fields(value.type):
        if field.embedded:
            _add_fields(Value(field.type.lstrip("*"), data), made, known)
            continue
        known.add(field.key)
        one = Value(field.type, data.get(field.key))
        if not (field.brief and one.kind != "struct" and one.type != "time.Time" and one.data in _EMPTY):
            made[field.key] = _plain(one)


_EMPTY: tuple[Any, ...] = (None, "", 0, False, [], {})


def _sorted(data: Any) -> Any:
    """Data without a type: its maps by key."""
    if isinstance(data, dict):
        return {key: _sorted(data[key]) for key in sorted(data)}
    return [_sorted(one) for one in data] if isinstance(data, list) else data
