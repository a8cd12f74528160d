"""index and slice"""

from __future__ import annotations

from kist.cli.gotemplate.errors import CallError
from kist.cli.gotemplate.values import ANY, NILABLE, Value, element, inside, items, key_type, target, underlying


def _place(value: Value, most: int) -> int:
    one = inside(value)
    if one.kind == "invalid":
        raise CallError("cannot index slice/array with nil")
    if one.kind not in ("int", "uint"):
        raise CallError(f"cannot index slice/array with type {one.type}")
    if not 0 <= one.data <= most:
        raise CallError(f"index out of range: {one.data}")
    return int(one.data)


def index(item: Value, *keys: Value) -> Value:
    """Elements of lists, entries of maps, bytes of text, one behind the other."""
    item = inside(item)
    if item.kind == "invalid":
        raise CallError("index of untyped nil")
    for key in keys:
        found = target(item)
        if found.data is None and (found.kind in ("ptr", "interface", "invalid")):
            raise CallError("index of nil pointer")
        item = _entry(found, key)
    return item


def _entry(item: Value, key: Value) -> Value:
    if item.kind in ("slice", "array"):
        found = items(item)
        place = _place(key, len(found))
        if place == len(found):
            raise CallError("reflect: slice index out of range")
        return found[place]
    if item.kind == "string":
        data = item.data.encode()
        place = _place(key, len(data))
        if place == len(data):
            raise CallError("reflect: string index out of range")
        return Value("uint8", data[place])
    if item.kind == "map":
        return Value(element(item.type), (item.data or {}).get(_key(inside(key), key_type(item.type)).data))
    raise CallError(f"can't index item of type {item.type}")


def _key(key: Value, wanted: str) -> Value:
    """A key that fits the map. A constant text is not of a named type, and doesn't."""
    if key.kind == "invalid":
        if wanted not in NILABLE and wanted != ANY:
            raise CallError(f"value is nil; should be of type {wanted}")
        return key
    if key.type != wanted and not (wanted == underlying(wanted) and underlying(key.type) == wanted == key.type):
        raise CallError(f"value has type {key.type}; should be {wanted}")
    return key


def cut(item: Value, *bounds: Value) -> Value:
    """Part of a list or of a text: `slice x 1 3` is x[1:3]."""
    item = inside(item)
    if item.kind == "invalid":
        raise CallError("slice of untyped nil")
    if len(bounds) > 3:
        raise CallError(f"too many slice indexes: {len(bounds)}")
    if item.kind == "string":
        if len(bounds) == 3:
            raise CallError("cannot 3-index slice a string")
        data = item.data.encode()
    elif item.kind in ("slice", "array"):
        data = [one.data for one in items(item)]
    else:
        raise CallError(f"can't slice item of type {item.type}")
    places = [0, len(data)]
    for number, bound in enumerate(bounds):
        place = _place(bound, len(data))
        if number < 2:
            places[number] = place
    if places[0] > places[1]:
        raise CallError(f"invalid slice index: {places[0]} > {places[1]}")
    part = data[places[0]:places[1]]
    return Value(item.type, part.decode(errors="replace") if isinstance(part, bytes) else part)
