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
    ("local", {"labels": "team"}, "unknown log opt 'labels' for log driver local"),
    ("local", {"compress": "perhaps"}, 'strconv.ParseBool: parsing "perhaps": invalid syntax'),
    ("local", {"compress": "1", "max-file": "1"}, "compression cannot be enabled when max file count is 1"),
    ("json-file", {"compress": "true", "max-file": "1"}, "compress cannot be true when max-file is less than 2"),
    ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
    ("json-file", {"mode": "fast"}, "logger: logging mode not supported: fast"),
    ("json-file", {"max-buffer-size": "1m"}, "only supported with 'mode=non-blocking'"),
    ("json-file", {"tag": "{{.Weather}}"}, "invalid log opt 'tag'"),
    ("json-file", {"labels-regex": "("}, "invalid log opt 'labels-regex'"),
    ("syslog", {"cache-disabled": "x"}, "invalid value for option cache-disabled: x"),
    ("syslog", {"cache-max-file": "0"}, "max-file cannot be less than 1"),
    ("syslog", {"cache-what": "0"}, "unknown log opt 'cache-what' for syslog log driver"),
    ("syslog", {"syslog-address": "somewhere"}, "syslog-address should be in form proto://address"),
    ("syslog", {"syslog-address": "tls://x:1"}, "unsupported scheme: 'tls'"),
    ("syslog", {"syslog-tls-skip-verify": "x"}, "invalid value for option syslog-tls-skip-verify: x"),
    ("syslog", {"syslog-tls-what": "x"}, "unknown log opt 'syslog-tls-what' for syslog log driver"),
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
        "compress": False, "attrs": {"team": "blue", "STAGE": "test", "tag": "web/0123456789ab"}}
    assert words("json-file", labels_regex="^app", env_regex="AT")["attrs"] == {"app.kind": "x", "PATH": "/bin"}


@pytest.mark.parametrize(("driver", "options", "compress"), [
    ("json-file", {}, False), ("json-file", {"compress": "true"}, True), ("local", {}, True),
    ("local", {"compress": "f"}, False), ("local", {"max_file": "1"}, False)])
def test_what_is_rotated_is_compressed_where_docker_would(
        driver: str, options: dict[str, str], compress: bool) -> None:
    found = words(driver, **options)
    assert found["compress"] is compress
    assert found["max_size"] == 20 << 20


def test_syslog_gets_its_address() -> None:
    found = words("syslog", syslog_address="udp://[::1]:5514", syslog_facility="local3", mode="non-blocking",
                  max_buffer_size="64k")
    assert found["address"] == ["udp", "::1", 5514]
    assert (found["facility"], found["tag"], found["max_buffer"]) == (19, "0123456789ab", 64 << 10)
    assert words("syslog")["address"] == ["unix", "/dev/log"]
    assert words("syslog", syslog_address="tcp://logs")["address"] == ["tcp", "logs", 514]


def test_syslog_over_tls() -> None:
    found = words("syslog", syslog_address="tcp+tls://logs", syslog_tls_ca_cert="/ca", syslog_tls_cert="/c",
                  syslog_tls_key="/k")
    assert found["address"] == ["tcp", "logs", 514]
    assert found["tls"] == {"ca": "/ca", "cert": "/c", "key": "/k", "verify": True}
    found = words("syslog", syslog_address="tcp+tls://logs:6514", syslog_tls_skip_verify="true")
    assert found["tls"] == {"ca": "", "cert": "", "key": "", "verify": False}
    assert words("syslog", syslog_address="tcp://logs", syslog_tls_ca_cert="/ca")["tls"] is None


def test_journald_gets_its_fields() -> None:
    fields = words("journald", labels="app.kind", tag="{{.ImageName}}")["fields"]
    assert fields["CONTAINER_NAME"] == "web"
    assert fields["SYSLOG_IDENTIFIER"] == "busybox:1"
    assert fields["APP_KIND"] == "x"


def test_what_goes_elsewhere_is_kept_here_too_unless_that_is_not_wanted() -> None:
    cache = {"driver": "local", "path": "/path", "max_size": 20 << 20, "max_file": 5, "compress": True}
    assert words("journald")["cache"] == words("syslog")["cache"] == cache
    assert words("syslog", cache_max_size="1m", cache_max_file="2", cache_compress="false")["cache"] == {
        **cache, "max_size": 1 << 20, "max_file": 2, "compress": False}
    assert words("syslog", cache_disabled="true")["cache"] is None
    assert words("none", cache_disabled="true") == {"driver": "none"}
