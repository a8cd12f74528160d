"""Log drivers' options: Docker's words for what is wrong, and what the monitor is told."""

from __future__ import annotations

from typing import Any

import pytest

from kist.engine import logdrivers
from kist.engine.config import Config
from kist.engine.records import ContainerRecord
from kist.errors import KistError


def record(driver: str, **options: str) -> ContainerRecord:
    return ContainerRecord(
        id="0123456789abcdef" * 4, name="web", created=0, image="busybox:1", image_id="sha256:" + "f" * 64,
        config={"Env": ["STAGE=test", "PATH=/bin"], "Labels": {"team": "blue", "app.kind": "x"}},
        host={"LogConfig": {"Type": driver, "Config": {name.replace("_", "-"): v for name, v in options.items()}}})


def words(driver: str, **options: str) -> dict[str, Any]:
    made = record(driver, **options)
    logdrivers.check(made.host["LogConfig"])
    return logdrivers.request(made, Config(), "/path", "box", 7)


@pytest.mark.parametrize(("driver", "options", "text"), [
    ("splunk", {}, 'plugin "splunk" not found'),
    ("json-file", {"syslog-address": "udp://x"}, "unknown log opt 'syslog-address' for json-file log driver"),
    ("journald", {"max-size": "1m"}, "unknown log opt 'max-size' for journald log driver"),
    ("local", {"compress": "true"}, "not supported"),
    ("json-file", {"mode": "fast"}, "logger: logging mode not supported: fast"),
    ("json-file", {"max-buffer-size": "1m"}, "only supported with 'mode=non-blocking'"),
    ("json-file", {"tag": "{{.Weather}}"}, "invalid log opt 'tag'"),
    ("json-file", {"labels-regex": "("}, "invalid log opt 'labels-regex'"),
    ("syslog", {"syslog-address": "somewhere"}, "syslog-address should be in form proto://address"),
    ("syslog", {"syslog-address": "tcp+tls://x:1"}, "no syslog over TLS"),
    ("syslog", {"syslog-facility": "kitchen"}, "invalid syslog facility"),
    ("syslog", {"syslog-format": "rfc1"}, "Invalid syslog format"),
])
def test_what_is_wrong_is_said(driver: str, options: dict[str, str], text: str) -> None:
    with pytest.raises(KistError) as caught:
        logdrivers.check({"Type": driver, "Config": options})
    assert text in caught.value.message


def test_files_get_their_limits_and_attributes() -> None:
    assert words("json-file", max_size="1m", max_file="3", labels="team", env="STAGE", tag="{{.Name}}/{{.ID}}") == {
        "driver": "json-file", "path": "/path", "max_size": 1 << 20, "max_file": 3,
        "attrs": {"team": "blue", "STAGE": "test", "tag": "web/0123456789ab"}}
    assert words("local", labels_regex="^app", env_regex="AT")["attrs"] == {"app.kind": "x", "PATH": "/bin"}


def test_syslog_gets_its_address() -> None:
    found = words("syslog", syslog_address="udp://[::1]:5514", syslog_facility="local3", mode="non-blocking",
                  max_buffer_size="64k")
    assert found["address"] == ["udp", "::1", 5514]
    assert (found["facility"], found["tag"], found["max_buffer"]) == (19, "0123456789ab", 64 << 10)
    assert words("syslog")["address"] == ["unix", "/dev/log"]
    assert words("syslog", syslog_address="tcp://logs")["address"] == ["tcp", "logs", 514]


def test_journald_gets_its_fields() -> None:
    fields = words("journald", labels="app.kind", tag="{{.ImageName}}")["fields"]
    assert fields["CONTAINER_NAME"] == "web"
    assert fields["SYSLOG_IDENTIFIER"] == "busybox:1"
    assert fields["APP_KIND"] == "x"
