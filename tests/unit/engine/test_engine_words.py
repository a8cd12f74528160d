"""The engine's small pure parts: users, merged configurations, mounts, signals, policies, times, health, top."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from kist.api import bodies
from kist.engine import changes, detachkeys, filepaths, files, health, merge, restarts, signals, times, top
from kist.engine.mountpoints import mount_points, parse_bind, parse_volumes_from
from kist.engine.records import Health, HealthResult, Mount
from kist.engine.users import Account, Group, parse_group, parse_passwd, resolve
from kist.errors import InvalidParameter, KistError
from kist.oci.image import RunConfig

PASSWD = "root:x:0:0:root:/root:/bin/sh\n# note:x:9:9\nbad line\nredis:x:100:101:r:/data:/bin/false\nodd:x:y:z:::\n"
GROUP = "root:x:0:\nwheel:x:10:root,other\nredis:x:101:\nextra:x:102:redis\n"


# Users


@pytest.mark.parametrize(("spec", "expected"), [
    ("", (0, 0, (0, 10), "/root")),
    ("root", (0, 0, (0, 10), "/root")),
    ("redis", (100, 101, (101, 102), "/data")),
    ("100", (100, 101, (101, 102), "/data")),
    ("redis:wheel", (100, 10, (10,), "/data")),
    ("redis:55", (100, 55, (55,), "/data")),
    ("1234", (1234, 0, (0,), "/")),
    ("1234:5678", (1234, 5678, (5678,), "/")),
    (":10", (0, 10, (10,), "/root")),
])
def test_who_a_user_is(spec: str, expected: tuple[Any, ...]) -> None:
    found = resolve(spec, parse_passwd(PASSWD), parse_group(GROUP))
    assert (found.uid, found.gid, found.additional, found.home) == expected


def test_files_with_nonsense_are_read_as_far_as_they_make_sense() -> None:
    assert parse_passwd(PASSWD) == [Account("root", 0, 0, "/root"), Account("redis", 100, 101, "/data")]
    assert parse_group("x\na:b\ng:x:5:a,,b\n") == [Group("g", 5, ("a", "b"))]


def test_groups_are_added() -> None:
    assert resolve("1", [], parse_group(GROUP), ["wheel", "7"]).additional == (0, 10, 7)


@pytest.mark.parametrize(("spec", "words"), [
    ("nobody", "unable to find user nobody: no matching entries in passwd file"),
    ("root:nogroup", "unable to find group nogroup: no matching entries in group file"),
])
def test_unknown_names_are_refused(spec: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        resolve(spec, parse_passwd(PASSWD), parse_group(GROUP))


NAMED_BY_NUMBER = "{0}:x:0:0::/root:\nroot:x:0:0::/root:\n", "{0}:x:0:\n"  # the image's own files call root so


@pytest.mark.parametrize("number", ["2147483648", "4294967296", "99999999999999999999", "-1", "-5"])
@pytest.mark.parametrize("spec", ["{0}", "{0}:{0}", "root:{0}"])
def test_a_number_out_of_range_is_no_name(number: str, spec: str) -> None:
    """CVE-2026-46680."""
    passwd, group = (text.format(number) for text in NAMED_BY_NUMBER)
    with pytest.raises(InvalidParameter, match="uids and gids must be in range 0-2147483647"):
        resolve(spec.format(number), parse_passwd(passwd), parse_group(group))


@pytest.mark.parametrize("number", ["1000", "+1000"])
def test_a_number_is_no_name(number: str) -> None:
    passwd, group = (text.format(number) for text in NAMED_BY_NUMBER)
    found = resolve(f"{number}:{number}", parse_passwd(passwd), parse_group(group))
    assert (found.uid, found.gid) == (1000, 1000)


def test_ids_out_of_range_are_refused_wherever_they_come_from() -> None:
    for passwd, group in (("big:x:4294967296:0::/:", ""), ("big:x:1:4294967295::/:", ""),
                          ("big:x:1:1::/:", "g:x:-1:big")):
        with pytest.raises(InvalidParameter, match="range 0-2147483647"):
            resolve("big", parse_passwd(passwd), parse_group(group))


# Configuration


def merged(image: dict[str, Any] | None = None, **mine: Any) -> dict[str, Any]:
    return merge.merge(bodies.ContainerConfig(**mine), RunConfig(**(image or {})))


@pytest.mark.parametrize(("mine", "image", "command"), [
    ({}, {"cmd": ["a"]}, ("a", [])),
    ({"Cmd": ["b"]}, {"cmd": ["a"]}, ("b", [])),
    ({"Cmd": ["b"]}, {"cmd": ["a"], "entrypoint": ["e", "f"]}, ("e", ["f", "b"])),
    ({}, {"cmd": ["a"], "entrypoint": ["e"]}, ("e", ["a"])),
    ({"Entrypoint": ["x"]}, {"cmd": ["a"], "entrypoint": ["e"]}, ("x", [])),
    ({"Entrypoint": [""], "Cmd": ["y"]}, {"cmd": ["a"], "entrypoint": ["e"]}, ("y", [])),
])
def test_the_command(mine: dict[str, Any], image: dict[str, Any], command: tuple[str, list[str]]) -> None:
    assert merge.command(merged(image, **mine)) == command


def test_no_command_at_all() -> None:
    with pytest.raises(InvalidParameter, match="no command specified"):
        merge.command(merged())


def test_the_users_words_win_over_the_images() -> None:
    config = merged({"env": ["A=image", "B=image"], "labels": {"a": "1", "b": "1"}, "working_dir": "/w",
                     "volumes": {"/v": {}}, "exposed_ports": {"80/tcp": {}}},
                    Env=["A=mine"], Labels={"b": "2"}, ExposedPorts={"81/tcp": {}})
    assert config["Env"] == ["A=mine", "B=image"]
    assert config["Labels"] == {"a": "1", "b": "2"}
    assert config["WorkingDir"] == "/w"
    assert config["Volumes"] == {"/v": {}}
    assert set(config["ExposedPorts"]) == {"80/tcp", "81/tcp"}


@pytest.mark.parametrize("mine", [{"Env": ["=x"]}, {"WorkingDir": "rel"}, {"Hostname": "h" * 65}, {"Cmd": ["a\0b"]}])
def test_impossible_configurations_are_refused(mine: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        merged(**mine)


# Mounts


def names() -> Any:
    return map("v{}".format, itertools.count()).__next__


def test_binds() -> None:
    assert parse_bind("/a/../b:/c:ro", names()) == Mount(type="bind", target="/c", source="/b", rw=False, mode="ro",
                                                         create_source=True)
    assert parse_bind("vol:/c", names()) == Mount(type="volume", target="/c", name="vol", driver="local", mode="z")
    assert parse_bind("/c", names()).anonymous
    assert parse_bind("/a:/b:rslave", names()).propagation == "rslave"


def test_the_propagation_of_a_bind() -> None:
    """What holds the server's own files, or lies among them, follows what is mounted and unmounted there."""
    def found(source: str, word: str = "rw") -> str:
        return mount_points({"Binds": [f"{source}:/x:{word}"]}, (), (), names(), data="/var/lib/kist")[0].propagation

    assert found("/srv") == found("/var/lib/kist2") == "rprivate"
    assert found("/") == found("/var/lib/") == found("/var/lib/kist/volumes/v/_data") == "rslave"
    assert found("/", "rprivate") == "rprivate"


def test_the_options_of_a_tmpfs_by_mount() -> None:
    def found(*pairs: list[str]) -> list[str]:
        entry = {"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"Options": list(pairs), "SizeBytes": 1}}
        return mount_points({"Mounts": [entry]}, (), (), names())[0].options

    assert found(["exec"], ["nr_inodes", "5"]) == ["size=1", "exec", "nr_inodes=5"]
    for bad in (["foo"], ["size", "x"], [], ["a", "b", "c"]):
        with pytest.raises(InvalidParameter, match="invalid option"):
            found(bad)


@pytest.mark.parametrize("text", ["", "/a:/b:rx", "/a:b", "a b:/c", "::", "/a:/", "/a:/b:ro,rw", "../x:/y",
                                  "/a:/b:ro:x", "a:/b"])
def test_bad_binds_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_bind(text, names())


def test_who_wins_at_one_place() -> None:
    inherited = [Mount(type="volume", target="/data", name="theirs"), Mount(type="volume", target="/keep", name="k")]
    host = {"Binds": ["/host:/data"], "Mounts": [], "Tmpfs": {"/t": "size=1m,exec"}}
    found = {mount.target: mount for mount in mount_points(host, ["/image", "/data"], inherited, names())}
    assert found["/data"].type == "bind"
    assert found["/keep"].name == "k"
    assert found["/image"].anonymous
    assert found["/t"].options == ["size=1m", "exec"]


def test_one_place_twice_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="Duplicate mount point: /x"):
        mount_points({"Binds": ["/a:/x", "/b:/x/"]}, [], [], names())


@pytest.mark.parametrize("mount", [
    {"Type": "bind", "Source": "", "Target": "/x"},
    {"Type": "bind", "Source": "rel", "Target": "/x"},
    {"Type": "tmpfs", "Source": "/y", "Target": "/x"},
    {"Type": "what", "Target": "/x"},
    {"Type": "image", "Source": "", "Target": "/x"},
    {"Type": "image", "Source": "i", "Target": "/x", "ImageOptions": {"Subpath": "../up"}},
    {"Type": "volume", "Source": "vv", "Target": "/x", "TmpfsOptions": {"SizeBytes": 1}},
    {"Type": "bind", "Source": "/a", "Target": "/x", "IDMap": "uids=0-1-0;gids=0-1-1"},
    {"Type": "bind", "Source": "/a", "Target": "/x", "IDMap": "uids=0-1-1"},
    {"Type": "bind", "Source": "/a", "Target": "/x", "IDMap": "uids=0-1-5#4-9-1;gids=0-1-1"},
    {"Type": "volume", "Target": ""},
    {"Type": "bind", "Source": "/a", "Target": "/x", "BindOptions": {"Propagation": "up"}},
])
def test_bad_mounts_are_refused(mount: dict[str, Any]) -> None:
    with pytest.raises(KistError) as caught:
        mount_points({"Mounts": [mount]}, [], [], names())
    assert caught.value.status in (400, 501)


def test_volumes_from() -> None:
    assert parse_volumes_from("c") == ("c", None)
    assert parse_volumes_from("c:ro") == ("c", False)
    with pytest.raises(InvalidParameter):
        parse_volumes_from("c:what")


# Signals, keys, policies


@pytest.mark.parametrize(("text", "number"), [("SIGTERM", 15), ("term", 15), ("9", 9), ("RTMIN+3", 37),
                                              ("SIGRTMAX-1", 63), ("RTMIN", 34)])
def test_signals(text: str, number: int) -> None:
    assert signals.parse_signal(text) == number


def test_a_stop_signal_may_be_any_number() -> None:
    assert [signals.parse_signal(text) for text in ("65", "-1", "999")] == [65, -1, 999]
    assert [signals.is_known(number) for number in (-1, 0, 1, 64, 65)] == [False, False, True, True, False]


@pytest.mark.parametrize("text", ["", "0", "FOO", "RTMIN+99", "SIG", "1" * 20])
def test_no_signals(text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid signal"):
        signals.parse_signal(text)


def test_detach_keys() -> None:
    assert detachkeys.parse(None) == b"\x10\x11"
    assert detachkeys.parse("ctrl-a,b,ctrl-\\") == b"\x01b\x1c"
    with pytest.raises(InvalidParameter):
        detachkeys.parse("ctrl-1")


def decided(name: str, code: int, *, count: int = 0, retries: int = 0, by_user: bool = False, ran: float = 0.0,
            last: float = 0.0) -> float | None:
    found = restarts.decide({"Name": name, "MaximumRetryCount": retries}, exit_code=code, restart_count=count,
                            stopped_by_user=by_user, ran_seconds=ran, last_delay=last)
    return found.delay if found else None


def test_restart_policies() -> None:
    assert decided("no", 1) is None
    assert decided("always", 0) == pytest.approx(0.1)
    assert decided("unless-stopped", 0, by_user=True) is None
    assert decided("on-failure", 0) is None
    assert decided("on-failure", 1) == pytest.approx(0.1)
    assert decided("on-failure", 1, count=3, retries=3) is None
    assert decided("always", 1, last=0.4) == pytest.approx(0.8)
    assert decided("always", 1, last=50.0) == pytest.approx(60.0)
    assert decided("always", 1, last=50.0, ran=11.0) == pytest.approx(0.1)


@pytest.mark.parametrize(("policy", "by_user", "running", "code", "starts"), [
    ("always", True, False, 0, True),
    ("unless-stopped", True, True, 0, False),
    ("unless-stopped", False, True, 0, True),
    ("on-failure", False, True, 255, True),
    ("on-failure", False, False, 1, False),
    ("no", False, True, 1, False),
])
def test_what_starts_with_the_server(policy: str, by_user: bool, running: bool, code: int,
                                     starts: bool) -> None:
    assert restarts.at_server_start({"Name": policy}, exit_code=code, restart_count=0, stopped_by_user=by_user,
                                    was_running=running) is starts


# Times


def test_times_are_gos() -> None:
    assert times.rfc3339(0) == "0001-01-01T00:00:00Z"
    assert times.rfc3339(1_700_000_000_500_000_000) == "2023-11-14T22:13:20.5Z"
    assert times.rfc3339_fixed(1_700_000_000_500_000_000) == "2023-11-14T22:13:20.500000000Z"
    assert times.parse_rfc3339("2023-11-14T22:13:20.5Z") == 1_700_000_000_500_000_000
    assert times.parse_rfc3339("2023-11-15T00:13:20+02:00") == 1_700_000_000_000_000_000
    assert times.parse_timestamp("1700000000.000000001") == 1_700_000_000_000_000_001


@pytest.mark.parametrize(("text", "ns"), [("1h30m", 5400 * 10**9), ("1.5s", 1_500_000_000), ("10ms", 10_000_000)])
def test_durations(text: str, ns: int) -> None:
    assert times.parse_duration(text) == ns


@pytest.mark.parametrize("text", ["", "5", "1x", "h1"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError):
        times.parse_duration(text)


@pytest.mark.parametrize(("seconds", "words"), [
    (0.4, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (61, "About a minute"), (150, "2 minutes"),
    (3600, "About an hour"), (7200, "2 hours"), (86400 * 3, "3 days"), (86400 * 20, "2 weeks"),
    (86400 * 70, "2 months"), (86400 * 800, "2 years"),
])
def test_rough_durations(seconds: float, words: str) -> None:
    assert times.human_duration(seconds) == words


# Health


def test_health_goes_by_failures_in_a_row() -> None:
    def result(code: int) -> HealthResult:
        return HealthResult(1, 2, code, "")

    state = Health()
    for expected in ("starting", "starting", "unhealthy", "unhealthy"):
        state = health.judge(state, result(1), retries=3, in_start_period=False)
        assert state.status == expected
    assert state.failing_streak == 4
    state = health.judge(state, result(0), retries=3, in_start_period=False)
    assert (state.status, state.failing_streak) == ("healthy", 0)
    assert len(health.judge(state, result(0), retries=3, in_start_period=False).log) == 5


def test_failures_while_starting_do_not_count() -> None:
    state = health.judge(Health(), HealthResult(1, 2, 1, ""), retries=1, in_start_period=True)
    assert (state.status, state.failing_streak) == ("starting", 0)


@pytest.mark.parametrize(("test", "words"), [
    (["CMD", "a", "b"], ["a", "b"]), (["CMD-SHELL", "x y"], ["/bin/sh", "-c", "x y"]), (["NONE"], None), ([], None)])
def test_the_probes_words(test: list[str], words: list[str] | None) -> None:
    assert health.command({"Healthcheck": {"Test": test}}) == words


# commit --change, top, diff, cp


def test_changes_alter_the_configuration() -> None:
    config = changes.apply({"Env": ["A=1"]}, ["ENV A=2 B='x y'", "CMD [\"a\", \"b\"]", "ENTRYPOINT run it",
                                              "EXPOSE 80 53/udp", "LABEL a=b", "USER u", "WORKDIR /w", "VOLUME /v"])
    assert config["Env"] == ["A=2", "B=x y"]
    assert config["Cmd"] == ["a", "b"]
    assert config["Entrypoint"] == ["/bin/sh", "-c", "run it"]
    assert set(config["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert (config["User"], config["WorkingDir"], config["Labels"]) == ("u", "/w", {"a": "b"})


@pytest.mark.parametrize("line", ["RUN x", "ENV", "LABEL 'a", "HEALTHCHECK what"])
def test_bad_changes_are_refused(line: str) -> None:
    with pytest.raises(InvalidParameter):
        changes.apply({}, [line])


def test_top_shows_the_containers_processes_only() -> None:
    output = "UID PID CMD\nroot 1 init\nroot 22 sleep 100 s\n"
    assert top.parse(output, {22}) == {"Titles": ["UID", "PID", "CMD"], "Processes": [["root", "22", "sleep 100 s"]]}
    with pytest.raises(InvalidParameter):
        top.parse("UID CMD\n", set())


def test_mount_points_of_ours_are_no_changes() -> None:
    found = [("A", "/dev"), ("C", "/etc"), ("A", "/etc/hosts"), ("A", "/proc"), ("A", "/data")]
    assert files.without_mount_points(found) == [("A", "/data")]
    more = files.without_mount_points([*found, ("A", "/etc/mine")])
    assert more == [("C", "/etc"), ("A", "/data"), ("A", "/etc/mine")]


@pytest.mark.parametrize(("path", "name"), [("/a/b", "b"), ("/a/b/", "b"), ("/a/.", "."), ("/", "/"), ("/a/../b", "b")])
def test_names_in_archives(path: str, name: str) -> None:
    assert filepaths.base_name(path) == name


def test_modes_are_gos() -> None:
    assert filepaths.go_mode(0o040755) == 1 << 31 | 0o755
    assert filepaths.go_mode(0o120777) == 1 << 27 | 0o777
    assert filepaths.go_mode(0o104755) == 1 << 23 | 0o755
