"""`run`, `start -a`, `exec` and their like in a process of their own, against an engine on a real socket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.fake_engine import FakeEngine, wait_until

Done = subprocess.CompletedProcess[str]
Kist = Callable[..., Done]


def said(done: Done) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


def test_output_and_errors_stay_apart(kist: Kist) -> None:
    assert said(kist("run", "--rm", "busybox", "both")) == (0, "out\n", "err\n")


def test_requests_and_connections_of_a_run(kist: Kist, engine: FakeEngine) -> None:
    kist("run", "--rm", "busybox", "true")
    cid = next(iter(engine.containers))
    assert engine.lines() == [
        "POST /containers/create",
        f"POST /containers/{cid}/attach?stream=1&stdout=1&stderr=1",
        f"POST /containers/{cid}/wait?condition=removed",
        f"POST /containers/{cid}/start",
    ] or sorted(engine.lines()[1:3]) + engine.lines()[3:] == [
        f"POST /containers/{cid}/attach?stream=1&stdout=1&stderr=1",
        f"POST /containers/{cid}/wait?condition=removed", f"POST /containers/{cid}/start"]
    assert engine.connections == 3


def test_stdin_and_its_end(kist: Kist) -> None:
    assert said(kist("run", "-i", "busybox", "cat", stdin="hi\n")) == (0, "hi\n", "")


def test_a_large_stdin_comes_back_byte_for_byte(environment: dict[str, str]) -> None:
    data = os.urandom(3 << 20)
    done = subprocess.run([sys.executable, "-m", "kist.cli", "run", "-i", "busybox", "cat"], input=data,
                          capture_output=True, env=environment, timeout=60, check=True)
    assert done.stdout == data


def test_only_the_streams_that_were_asked_for(kist: Kist, engine: FakeEngine) -> None:
    assert said(kist("run", "-a", "stderr", "busybox", "both")) == (0, "", "err\n")
    body = engine.body_of("POST /containers/create")
    assert (body.get("AttachStdout"), body.get("AttachStderr")) == (None, True)


@pytest.mark.parametrize(("words", "status"), [(["exit", "7"], 7), (["false"], 1), (["nosuch"], 127), (["noexec"], 126),
                                               (["broken"], 125)])
def test_exit_statuses(kist: Kist, words: list[str], status: int) -> None:
    assert kist("run", "--rm", "busybox", *words).returncode == status


def test_errors_of_the_server_end_with_a_hint(kist: Kist) -> None:
    assert said(kist("run", "busybox", "broken")) == (
        125, "", "kist: Error response from daemon: it is broken\n\nRun 'kist run --help' for more information\n")


def test_a_missing_image_is_pulled_and_nothing_of_it_is_on_stdout(kist: Kist, engine: FakeEngine) -> None:
    done = kist("run", "foo:1", "echo", "hi")
    assert (done.returncode, done.stdout) == (0, "hi\n")
    lines = done.stderr.splitlines()
    assert lines[0] == "Unable to find image 'foo:1' locally"
    assert lines[-1] == "Status: Downloaded newer image for foo:1"
    assert "aaaaaaaaaaaa: Pull complete" in lines
    assert engine.pulled == ["foo:1"]


def test_a_quiet_pull(kist: Kist) -> None:
    assert said(kist("run", "-q", "foo", "echo", "hi")) == (0, "hi\n", "")


def test_an_image_that_can_t_be_pulled(kist: Kist) -> None:
    done = kist("run", "missing", "true")
    assert done.returncode == 125
    assert "kist: Error response from daemon: pull access denied for missing" in done.stderr


def test_pull_never_and_always(kist: Kist, engine: FakeEngine) -> None:
    assert "No such image: foo:latest" in kist("run", "--pull", "never", "foo", "true").stderr
    assert engine.pulled == []
    assert kist("run", "--pull=always", "busybox", "true").returncode == 0
    assert engine.pulled == ["busybox:latest"]


def test_in_the_background_the_id_is_printed(kist: Kist, engine: FakeEngine, tmp_path: Path) -> None:
    done = kist("run", "-d", "--cidfile", str(tmp_path / "cid"), "busybox", "sleep")
    cid = next(iter(engine.containers))
    assert said(done) == (0, f"{cid}\n", "")
    assert (tmp_path / "cid").read_text() == cid
    assert engine.connections == 1
    again = kist("run", "--cidfile", str(tmp_path / "cid"), "busybox", "true")
    assert again.returncode == 125
    assert "container ID file found" in again.stderr


def start(environment: dict[str, str], *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "kist.cli", *words], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


@pytest.mark.parametrize("name", ["TERM", "INT", "USR1"])
def test_signals_go_to_the_container(environment: dict[str, str], engine: FakeEngine, name: str) -> None:
    process = start(environment, "run", "busybox", "sleep")
    wait_until(lambda: any(c.status == "running" for c in engine.containers.values()))
    process.send_signal(getattr(signal, f"SIG{name}"))
    process.communicate(timeout=20)
    container = next(iter(engine.containers.values()))
    assert container.signals == [name]
    assert process.returncode == 128 + getattr(signal, f"SIG{name}")


def test_signals_end_the_client_alone_without_the_proxy(environment: dict[str, str], engine: FakeEngine) -> None:
    process = start(environment, "run", "--sig-proxy=false", "busybox", "sleep")
    wait_until(lambda: any(c.status == "running" for c in engine.containers.values()))
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert next(iter(engine.containers.values())).signals == []


def test_start_attached_runs_it_again(kist: Kist) -> None:
    cid = kist("create", "busybox", "echo", "again").stdout.strip()
    assert said(kist("start", "-a", cid)) == (0, "again\n", "")
    assert said(kist("start", cid)) == (0, f"{cid}\n", "")


def test_several_at_once_are_asked_at_once(kist: Kist, engine: FakeEngine) -> None:
    names = [kist("run", "-d", "busybox", "sleep").stdout.strip() for _ in range(3)]
    before = engine.connections
    done = kist("rm", names[0], "nope", names[1], "none")
    assert said(done) == (1, f"{names[0]}\n{names[1]}\n", "Error response from daemon: No such container: nope\n"
                                                            "Error response from daemon: No such container: none\n")
    assert engine.connections == before + 4


def test_the_device_must_be_a_terminal(kist: Kist) -> None:
    assert said(kist("run", "-it", "busybox", "sh")) == (1, "", "the input device is not a TTY\n")


def test_logs_keep_outputs_apart(kist: Kist) -> None:
    kist("run", "--name", "x", "busybox", "both")
    assert said(kist("logs", "x")) == (0, "out\n", "err\n")


def test_inspect_by_template_and_what_is_missing(kist: Kist) -> None:
    kist("create", "--name", "x", "busybox", "true")
    assert said(kist("inspect", "-f", "{{.Name}} {{json .Config.Cmd}}", "x")) == (0, '/x ["true"]\n', "")
    done = kist("inspect", "nope")
    assert (done.returncode, done.stdout, done.stderr) == (1, "[]\n", "Error: No such object: nope\n")
    assert "template parsing error" in kist("inspect", "-f", "{{.Nope}}", "x").stderr


@pytest.mark.parametrize(("words", "status", "message"), [
    (["frob"], 1, "kist: unknown command: kist frob\n\nRun 'kist --help' for more information\n"),
    (["container", "frob"], 1, "kist: unknown command: kist container frob\n\nUsage:  kist container\n\n"
                               "Run 'kist container --help' for more information\n"),
    (["rnu", "busybox"], 1, "kist: unknown command: kist rnu\n\nDid you mean 'run'?\n\n"
                            "Run 'kist --help' for more information\n"),
    (["volume", "creat"], 1, "kist: unknown command: kist volume creat\n\nUsage:  kist volume\n\n"
                             "Did you mean 'create'?\n\n"
                             "Run 'kist volume --help' for more information\n"),
    (["swarm", "init"], 1, "kist: unknown command: kist swarm\n\n"
                           "Kist runs containers on one machine: nothing of Docker's "
                           "swarm is here.\n\nRun 'kist --help' for more information\n"),
    (["--frob"], 125, "unknown flag: --frob\n\nUsage:  kist [OPTIONS] COMMAND [ARG...]\n\n"
                      "Run 'kist --help' for more information\n"),
    (["help", "frob"], 1, "unknown help topic: frob\n"),
    (["-H", "a", "-H", "b", "ps"], 1, "Specify only one -H\n"),
    (["-H", "foo://x", "ps"], 1, "unable to parse server host `foo://x`\n"),
])
def test_words_that_make_no_sense(kist: Kist, words: list[str], status: int, message: str) -> None:
    assert said(kist(*words)) == (status, "", message)


def test_a_named_server_that_is_not_there_is_not_started(kist: Kist, tmp_path: Path) -> None:
    done = kist("ps", KIST_HOST=f"unix://{tmp_path}/none.sock")
    assert said(done) == (1, "", f"Cannot connect to the Kist server at unix://{tmp_path}/none.sock. Is it running? "
                                 "(kist server)\n")


def test_who_is_not_root_starts_no_server(kist: Kist, tmp_path: Path) -> None:
    from kist.cli.__main__ import run
    from kist.cli.settings import Settings

    settings = Settings({"KIST_RUN": str(tmp_path / "run")}, uid=1000)
    assert run(["ps"], settings) == 1


def test_version_and_help(kist: Kist) -> None:
    assert kist("--version").stdout.startswith("Kist version ")
    assert kist("run", "--help").stdout.startswith("Usage:  kist run [OPTIONS] IMAGE [COMMAND] [ARG...]\n")
    assert kist("container", "--help").stdout.startswith("Usage:  kist container COMMAND\n")
    assert kist("help", "ps").stdout == kist("ps", "--help").stdout
    assert kist().stdout == kist("--help").stdout


def test_a_reader_that_goes_away_ends_it_silently(environment: dict[str, str]) -> None:
    process = start(environment, "--help")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.wait(20)
    process.stderr.close()


def test_the_columns_of_ps(kist: Kist, engine: FakeEngine) -> None:
    engine.answers["GET", "/containers/json"] = (200, [{
        "Id": "a" * 64, "Names": ["/web"], "Image": "busybox", "ImageID": "sha256:b", "Command": "sh -c 'sleep 1000'",
        "Created": 0, "State": "running", "Status": "Up 3 seconds", "Labels": {"a": "b", "c": "d"}, "Mounts": [],
        "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                  {"IP": "0.0.0.0", "PrivatePort": 81, "PublicPort": 8081, "Type": "tcp"},
                  {"PrivatePort": 90, "Type": "udp"}],
        "NetworkSettings": {"Networks": {"bridge": {}}}}])
    head, line = kist("ps").stdout.splitlines()
    assert head.split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert line.startswith('aaaaaaaaaaaa   busybox   "sh -c \'sleep 1000\'"   ')
    assert line.endswith(" years ago   Up 3 seconds   90/udp, 0.0.0.0:8080->80/tcp, 0.0.0.0:8081->81/tcp   web")
    form = 'table {{.Names}}\\t{{.Labels}}\\t{{.Label "a"}}'
    assert kist("ps", "--format", form).stdout == "NAMES     LABELS    a\nweb       a=b,c=d   b\n"
    assert kist("ps", "-q").stdout == "aaaaaaaaaaaa\n"
    assert kist("ps", "--no-trunc", "--format", "{{.ID}}").stdout == "a" * 64 + "\n"


@pytest.mark.parametrize("name", ["a.b", "x-y", "1A", "é"])
def test_a_variable_that_a_shell_drops(kist: Kist, engine: FakeEngine, name: str) -> None:
    """`kist` is a shell script: what isn't there may have been lost on the way (dash), and nobody is told."""
    done = kist("run", "-e", name, "busybox", "true")
    assert done.returncode == 125
    assert f'invalid argument "{name}" for "-e, --env" flag: no variable of such a name gets here' in done.stderr
    kist("run", "-d", "-e", name, "busybox", "true", **{name: "1"})  # bash hands it on
    assert engine.body_of("POST /containers/create")["Env"] == [f"{name}=1"]
    kist("run", "-d", "-e", f"{name}=2", "-e", "UNSET", "busybox", "true")
    assert engine.body_of("POST /containers/create")["Env"] == [f"{name}=2", "UNSET"]


@pytest.mark.parametrize(("words", "aliases"), [
    (["container", "list"], "kist container ls, kist container list, kist container ps, kist ps"),
    (["rm"], "kist container rm, kist container remove, kist rm"),
    (["volume", "remove"], "kist volume rm, kist volume remove"),
])
def test_other_words_for_a_verb_have_help_and_are_told(kist: Kist, words: list[str], aliases: str) -> None:
    done = kist(*words, "--help")
    assert done.returncode == 0 and f"\nAliases:\n  {aliases}\n" in done.stdout


def test_what_is_done_otherwise_here_is_no_command() -> None:
    """Else the advice would never be seen."""
    from kist.cli.missing import INSTEAD
    from kist.cli.words import MODULES, NOUNS

    assert not set(INSTEAD) & {*MODULES, *NOUNS}
