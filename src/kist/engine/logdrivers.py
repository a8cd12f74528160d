"""LogConfig: what each log driver takes, checked at create, and what the monitor is told at start (launcher/log.py).

    json-file, local   max-size, max-file, compress                read back by `docker logs`
    syslog             syslog-address, syslog-facility, syslog-format, syslog-tls-{ca-cert,cert,key,skip-verify}
    journald           (to the socket of this machine's journal)
    none
    but none, local    labels, labels-regex, env, env-regex, tag
    all                mode, max-buffer-size, cache-disabled, cache-max-size, cache-max-file, cache-compress

What goes to another program is also kept here, as `local` keeps it, so that `docker logs` has it (Docker's dual
logging), unless `cache-disabled`. Files never hold a container's output up, so `mode` makes a difference for syslog
and journald only. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from kist.engine.config import Config, parse_size
from kist.errors import InvalidParameter

if TYPE_CHECKING:
    from kist.engine.records import ContainerRecord

Json = dict[str, Any]
JOURNAL = "/run/systemd/journal/socket"
REMOTE = ("syslog", "journald")
BUFFER = 1 << 20

_MODE = frozenset({"mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"})
_ATTRIBUTES = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
_FILES = frozenset({"max-size", "max-file", "compress"})
_TLS = {"syslog-tls-ca-cert": "ca", "syslog-tls-cert": "cert", "syslog-tls-key": "key"}
_SKIP = "syslog-tls-skip-verify"
_OPTIONS: dict[str, frozenset[str]] = {
    "json-file": _MODE | _ATTRIBUTES | _FILES,
    "local": _MODE | _FILES,
    "syslog": _MODE | _ATTRIBUTES | {"syslog-address", "syslog-facility", "syslog-format", *_TLS, _SKIP},
    "journald": _MODE | _ATTRIBUTES,
    "none": _MODE,
}
DRIVERS = _OPTIONS.keys()
# RFC 5424, table 1
_FACILITIES = {name: number for number, name in enumerate((
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"))}
_FACILITIES |= {f"local{n}": 16 + n for n in range(8)}
_NETWORK = {"tcp": "tcp", "tcp+tls": "tcp", "udp": "udp"}
_FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_TAG = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


def check(log: Json) -> None:
    """Raises InvalidParameter in Docker's words."""
    driver, given = log["Type"], log["Config"]
    if driver not in _OPTIONS:
        raise InvalidParameter(f"error looking up logging plugin {driver}: plugin \"{driver}\" not found")
    for name in given:
        if name not in _OPTIONS[driver]:
            what = "log driver local" if driver == "local" else f"{driver} log driver"
            raise InvalidParameter(f"unknown log opt '{name}' for {what}")
    _check_files(driver, given)
    if driver in REMOTE:
        _flag(given, "cache-disabled")
        _check_files("local", _cache(given))
    _check_mode(given)
    _rendered(given.get("tag", ""), _Names("", "", "", "").table)
    for name in ("labels-regex", "env-regex"):
        try:
            re.compile(given.get(name, ""))
        except re.error as error:
            raise InvalidParameter(f"invalid log opt '{name}': {error}") from None
    if driver == "syslog":
        _address(given)
        _flag(given, _SKIP)
        _facility(given.get("syslog-facility", ""))
        if given.get("syslog-format", "") not in _FORMATS:
            raise InvalidParameter("Invalid syslog format")


def _check_files(driver: str, given: Json) -> None:
    if given.get("max-size", "-1") != "-1" and parse_size(given["max-size"]) < 1:
        raise InvalidParameter("max-size must be a positive number")
    if "max-file" in given:
        try:
            files = int(given["max-file"])
        except ValueError:
            raise InvalidParameter(f"invalid value for max-file: {given['max-file']!r}") from None
        if files < 1:
            raise InvalidParameter("max-file cannot be less than 1")
        if files == 1 and _truth(given.get("compress", "false")):
            raise InvalidParameter("compression cannot be enabled when max file count is 1" if driver == "local" else
                                   "compress cannot be true when max-file is less than 2 or max-size is not set")
    _truth(given.get("compress", "false"))


def _truth(text: str) -> bool:
    """As Go's strconv.ParseBool."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise InvalidParameter(f'error reading compress log option: strconv.ParseBool: parsing "{text}": invalid syntax')


def _check_mode(given: Json) -> None:
    mode = given.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidParameter(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in given:
        if mode != "non-blocking":
            raise InvalidParameter("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        parse_size(given["max-buffer-size"])


def _flag(given: Json, name: str) -> bool:
    try:
        return _truth(given.get(name, "false"))
    except InvalidParameter:
        raise InvalidParameter(f"invalid value for option {name}: {given[name]}") from None


def _cache(given: Json) -> Json:
    """The options of what is kept here beside another program's log, as those of `local`."""
    return {name.removeprefix("cache-"): value for name, value in given.items()
            if name.startswith("cache-") and name != "cache-disabled"}


def kept(log: Json) -> Json | None:
    """How a container's log is kept in files, as a LogConfig of json-file or local; None if it isn't."""
    driver, given = log["Type"], log["Config"] or {}
    if driver in ("json-file", "local"):
        return log
    if driver in REMOTE and not _flag(given, "cache-disabled"):
        return {"Type": "local", "Config": _cache(given)}
    return None


class Limits(NamedTuple):
    size: int  # bytes of a file
    files: int
    compress: bool  # the rotated ones


def limits(log: Json, config: Config) -> Limits:
    """Of a log that is kept in files (`log` as of `kept`): bounded by default, as Docker's json-file is not. `local`
    compresses by itself, as Docker's."""
    given = log["Config"] or {}
    size = parse_size(given["max-size"]) if given.get("max-size", "-1") != "-1" else config.log_max_size
    files = int(given.get("max-file", config.log_max_file))
    asked = _truth(given["compress"]) if "compress" in given else config.log_compress or log["Type"] == "local"
    return Limits(size, files, asked and files > 1)


def request(record: ContainerRecord, config: Config, path: str, host: str, pid: int) -> Json:
    """The monitor's words. ``host`` and ``pid`` (the server's, as Docker's) stand in syslog's lines."""
    log = record.host["LogConfig"]
    driver, given = log["Type"], log["Config"] or {}
    names = _Names(record.id, record.name, record.image, record.image_id)
    attrs = _attributes(record, given)
    files = kept(log)
    in_files = _in_files(files, config, path) if files else None
    remote = {"driver": driver, "mode": given.get("mode") or "blocking", "cache": in_files,
              "max_buffer": parse_size(given.get("max-buffer-size", BUFFER))}
    if driver == "syslog":
        return {**remote, "address": _address(given), "tls": _tls(given),
                "facility": _facility(given.get("syslog-facility", "")), "format": given.get("syslog-format", ""),
                "host": host, "pid": pid, "tag": _rendered(given.get("tag") or "{{.ID}}", names.table)}
    if driver == "journald":
        tag = _rendered(given.get("tag") or "{{.ID}}", names.table)
        return {**remote, "address": ["unixgram", JOURNAL], "fields": {
            "CONTAINER_ID": record.id[:12], "CONTAINER_ID_FULL": record.id, "CONTAINER_NAME": record.name,
            "CONTAINER_TAG": tag, "IMAGE_NAME": record.image, "SYSLOG_IDENTIFIER": tag,
            **{re.sub(r"[^A-Z0-9]", "_", key.upper()).lstrip("_0123456789") or "ATTRIBUTE": value
               for key, value in attrs.items()}}}
    if in_files is None:
        return {"driver": "none"}
    if given.get("tag"):
        attrs["tag"] = _rendered(given["tag"], names.table)
    return {**in_files, "attrs": attrs}


def _in_files(log: Json, config: Config, path: str) -> Json:
    size, files, compress = limits(log, config)
    return {"driver": log["Type"], "path": path, "max_size": size, "max_file": files, "compress": compress}


def _attributes(record: ContainerRecord, given: Json) -> dict[str, str]:
    """The labels and variables that were asked for by name or pattern."""
    variables = dict(entry.partition("=")[::2] for entry in record.config.get("Env") or ())
    found = {}
    for option, values in (("labels", record.config.get("Labels") or {}), ("env", variables)):
        names = {name for name in given.get(option, "").split(",") if name}
        pattern = given.get(f"{option}-regex")
        found.update({key: value for key, value in values.items()
                      if key in names or (pattern and re.search(pattern, key))})
    return found


class _Names:
    """What a tag's template may name."""

    def __init__(self, id: str, name: str, image: str, image_id: str) -> None:
        digest = image_id.partition(":")[2] or image_id
        self.table = {"ID": id[:12], "FullID": id, "Name": name, "ImageName": image, "ImageID": digest[:12],
                      "ImageFullID": image_id, "DaemonName": "docker"}


def _rendered(template: str, names: dict[str, str]) -> str:
    if "{{" in _TAG.sub("", template) or any(name not in names for name in _TAG.findall(template)):
        raise InvalidParameter(f"invalid log opt 'tag': {template!r}: known are "
                               + " ".join(f"{{{{.{name}}}}}" for name in names))
    return _TAG.sub(lambda match: names[match[1]], template)


def _address(given: Json) -> list[Any]:
    """As launcher/remote.py takes it."""
    text = given.get("syslog-address") or "unix:///dev/log"
    bad = InvalidParameter(f"syslog-address should be in form proto://address, got {text}")
    try:
        url = urlsplit(text)
        port = url.port or 514
    except ValueError:
        raise bad from None
    if url.scheme in ("unix", "unixgram") and url.path:
        return [url.scheme, url.path]
    if url.scheme in _NETWORK and url.hostname:
        return [_NETWORK[url.scheme], url.hostname, port]
    if url.scheme and "://" in text and url.scheme not in ("unix", "unixgram", *_NETWORK):
        raise InvalidParameter(f"unsupported scheme: '{url.scheme}'")
    raise bad


def _tls(given: Json) -> Json | None:
    """The files, read at each start, and whether the receiver must show a certificate that they vouch for."""
    if not given.get("syslog-address", "").startswith("tcp+tls:"):
        return None
    return {**{word: given.get(name, "") for name, word in _TLS.items()}, "verify": not _flag(given, _SKIP)}


def _facility(text: str) -> int:
    if text.isdecimal() and int(text) <= 23:
        return int(text)
    if (text or "daemon") not in _FACILITIES:
        raise InvalidParameter("invalid syslog facility")
    return _FACILITIES[text or "daemon"]
