"""Kist's command beside Docker's, on the same engine: the same options, the same requests, the same errors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kist.cli.__main__ import load
from kist.cli.words import MODULES, NOUNS, PROGRAMS
from support import needs
from support.daemon import docker_command
from support.fake_engine import FakeEngine

pytestmark = needs.docker_28

PATHS = [(word, place) for word, place in MODULES.items() if word not in {*PROGRAMS, "explain"}] + [
    (f"{noun} {verb}", place) for noun, (_, verbs) in NOUNS.items() for verb, place in verbs.items()
    if f"{noun} {verb}" not in (
        "image tree", "network map", "system check", "system dial-stdio", "volume export", "volume import",
        "volume restore", "volume snapshot")]
# What Docker's commands don't have.
OURS = {
    "create": {"health-on-failure", "network-rate"}, "network create": {"network-rate"},
    "run": {"health-on-failure", "network-rate"},
    "update": {"device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops", "dry-run",
               "env", "env-file", "env-rm", "health-on-failure", "label", "label-file", "label-rm", "limit-rm", "mount",
               "network-rate", "publish", "publish-rm", "restart-now", "ulimit", "volume", "volume-rm"},
}
OPTION = re.compile(r"\s+(?:-(\w), )?--([\w-]+)(?: (\S+))?(?:  |$)", re.MULTILINE)


def docker_help(path: str) -> str:
    done = subprocess.run([docker_command(), *path.split(), "--help"], capture_output=True, text=True,
                          env={"COLUMNS": "1000", "PATH": "/usr/bin:/bin"}, timeout=30, check=True)
    return done.stdout


@pytest.mark.parametrize(("path", "place"), PATHS)
def test_options_are_docker_s(path: str, place: str) -> None:
    text = docker_help(path)
    theirs = {name: (short, kind) for short, name, kind in OPTION.findall(text) if name != "help"}
    command = load(place)
    ours = {row[0]: (row[1], row[2].removeprefix("swap-")) for row in command.options if row[3]}
    own = OURS.get(path.removeprefix("container "), set())
    assert own <= ours.keys() and not own & theirs.keys()
    assert {name: option for name, option in ours.items() if name not in own} == theirs
    usage = re.search(r"Usage:  docker (.*)", text)
    assert usage is not None
    assert f"{path} {command.usage}".strip().startswith(usage[1].strip())


# What `create` says for a command line: bodies must agree, but for what is empty.
CREATES = """
busybox
busybox a -b --rm
--rm --name n --platform linux/arm64 -it busybox
-a stdin -a stderr busybox
-i -a stdout busybox
-e A=1 -e FROM_OUTSIDE -e NOT_SET -e B= busybox
--env-file {folder}/env -e A=2 busybox
--label a=b -l c --label-file {folder}/labels busybox
--cap-add NET_ADMIN --cap-add sys_admin --cap-add cap_chown --cap-drop all --privileged --read-only --init busybox
--device-cgroup-rule c_1:3_rwm --device vendor.com/class=x --device vendor.com/class=y busybox
--dns 1.1.1.1 --dns ::1 --dns-search x.y --dns-option ndots:2 --add-host a:1.2.3.4 --add-host b=::1 busybox
--add-host c:host-gateway --entrypoint /bin/sh busybox -c true
--entrypoint= busybox
--health-cmd true --health-interval 5s --health-retries 3 --health-timeout 1m --health-start-period 1h busybox
--health-start-interval 300ms busybox
--no-healthcheck --cap-drop chown --cap-drop KILL --cap-add KILL busybox
--log-driver json-file --log-opt max-size=1m --log-opt x busybox
-m 64m --memory-swap -1 --memory-reservation 5m --memory-swappiness 5 --oom-kill-disable --oom-score-adj 5 busybox
--memory-swap 1g --cpus 1.5 --cpu-shares 2 -c 3 --cpu-period 5 --cpu-quota 6 --cpuset-cpus 0 --cpuset-mems 0 busybox
--cpu-rt-period 1 --cpu-rt-runtime 2 --blkio-weight 10 --blkio-weight-device /dev/sda:20 busybox
--device-read-bps /dev/sda:1m --device-write-bps /dev/sda:2 --device-read-iops /dev/sda:3 busybox
--device-write-iops /dev/sda:5 --pids-limit 10 --shm-size 1m --group-add 5 --group-add x busybox
--ulimit nofile=10:20 --ulimit core=0 --ulimit nproc=-1 --sysctl net.a=1 --sysctl kernel.sem=c=d busybox
--sysctl fs.mqueue.x=1 busybox
--tmpfs /x:size=1m --tmpfs /y --storage-opt size=1g --annotation a=b --runtime foo busybox
--restart on-failure:3 --stop-signal INT --stop-timeout 3 -u 1:2 -w /w -h hh --domainname dd busybox
--restart unless-stopped busybox
--restart always busybox
--security-opt seccomp=unconfined --security-opt no-new-privileges --security-opt label:disable busybox
--security-opt seccomp={folder}/profile --security-opt systempaths=unconfined busybox
--pid host --ipc host --uts host --userns host --cgroupns host --cgroup-parent /x --isolation default busybox
-v /a:/b:ro -v vol:/c -v /anon --volumes-from z:ro --volume-driver d busybox
-v .:/rel busybox
--mount type=bind,source=/a,target=/d,readonly --mount type=bind,src=/a,dst=/e,bind-propagation=rslave busybox
--mount type=bind,source=/a,target=/d,bind-recursive=disabled,ro=false busybox
--mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777 busybox
--mount TYPE=BIND,SRC=/a,Destination=/d,ReadOnly=T,bind-recursive=enabled,consistency=CACHED busybox
--mount type=bind,src=./a,dst=/d,readonly=0 --mount type=bind,src=../a,dst=/e,ro=F,bind-propagation=RSHARED busybox
--mount type=bind,src=.a,dst=/d,readonly=TRUE,bind-nonrecursive --mount src=v,dst=/e,ro=1 busybox
--mount src=/a,dst=/d --mount type=volume,dst=/e,volume-label=a,volume-nocopy=false,readonly=False busybox
--mount type=tmpfs,dst=/t,tmpfs-size=1.5GiB,tmpfs-mode=0700,ro --mount type=tmpfs,dst=/u,tmpfs-size=65536 busybox
--mount src=v,dst=/v,volume-opt=type=tmpfs,"volume-opt=o=size=1m,uid=7",volume-opt=device=tmpfs busybox
--mount type=bind,src=/a,dst=/d,ro,bind-recursive=writable busybox
--mount type=bind,src=/a,dst=/d,ro,bind-recursive=readonly,bind-propagation=rprivate busybox
--mount type=foo,dst=/d --mount type=npipe,src=a,dst=/e busybox
--mount type=volume,source=v,target=/v,volume-nocopy,volume-driver=d,volume-opt=a=b,volume-label=c=d busybox
--mount source=v,target=/v,volume-subpath=x busybox
--mount type=image,source=i,target=/v,image-subpath=x busybox
-p 80:80 -p 127.0.0.1:81:81/udp -p 82 -p 8000-8002:9000-9002 --expose 5 --expose 7-8/udp -P busybox
-p [::1]:80:80 -p 8000-8010:80 -p 0.0.0.0::99/sctp -p 5000-5002 busybox
-p published=1,target=2,protocol=udp busybox
--network foo --network-alias al --ip 10.0.0.1 --ip6 ::2 --mac-address 92:d0:c6:0a:29:33 busybox
--network name=foo,alias=a1,alias=a2,ip=1.2.3.4,gw-priority=3,driver-opt=a=b --net bar busybox
--network foo --link-local-ip 169.254.1.1 --link a:b busybox
--network host busybox
--network none busybox
--network container:abc busybox
--network-alias x --network foo busybox
--gpus all busybox
--use-api-socket busybox
--platform LINUX busybox
--platform arm64 busybox
--platform linux/x86_64 busybox
--dns-search a. --dns-search . busybox
--device /dev/null --device /dev/null:/x --device /dev/null:rw --device /dev/null:/y:m busybox
--gpus "device=1,2",capabilities=utility --gpus 2 busybox
""".strip().splitlines()


def meaning(value: Any) -> Any:
    """A body without what is empty, and without the defaults that Docker's client writes out."""
    if isinstance(value, dict):
        kept = {key: meaning(one) for key, one in value.items()}
        return {key: one for key, one in kept.items() if one not in (None, "", 0, False, [], {}, [0, 0])
                or key in ("ExposedPorts", "Volumes", "80/tcp")}
    return [meaning(one) for one in value] if isinstance(value, list) else value


def plain(body: dict[str, Any]) -> Any:
    host = body.setdefault("HostConfig", {})
    if host.get("MemorySwappiness") == -1:
        del host["MemorySwappiness"]
    if host.get("RestartPolicy", {}).get("Name") == "no":
        del host["RestartPolicy"]
    if host.get("NetworkMode") == "default":
        del host["NetworkMode"]
    for name in ("ExposedPorts", "Volumes", "Env"):
        body[name] = sorted(body.get(name) or {})
    host["Binds"] = sorted(host.get("Binds") or ())  # Docker's client keeps them in a map: any order
    for request in host.get("DeviceRequests") or ():
        request["Options"] = None
    return meaning(body)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "env").write_text("# comment\n\nA=1\nFROM_OUTSIDE\nC=x y # z\n  D=e\n")
    (tmp_path / "labels").write_text("# comment\nx=y\nz\n")
    (tmp_path / "profile").write_text('{ "defaultAction": "SCMP_ACT_ALLOW" }')
    return tmp_path


@pytest.mark.parametrize("line", CREATES)
def test_bodies_are_docker_s(line: str, engine: FakeEngine, environment: dict[str, str], folder: Path) -> None:
    words = [word.format(folder=folder).replace("_", " ") if word.startswith("c_1") else
             word.replace("{folder}", str(folder)) for word in line.split()]
    bodies, queries = [], []
    for command in ([docker_command()], [sys.executable, "-m", "kist.cli"]):
        done = subprocess.run([*command, "create", *words], capture_output=True, text=True, env=environment, timeout=30,
                              stdin=subprocess.DEVNULL, cwd=folder, check=False)
        assert done.returncode == 0, done.stderr
        bodies.append(plain(engine.body_of("POST /containers/create")))
        queries.append(engine.lines()[-1])
        engine.containers.clear()
    assert bodies[1] == bodies[0]
    assert queries[1] == queries[0].replace("%2F", "/")


# Command lines that make no sense: status and words are Docker's.
WRONG = """
run --foo busybox
run
run -z busybox
run --rm=x busybox
run --name
run -e
run -m x busybox
run --cpus x busybox
run --cpus 0.0000000001 busybox
run --blkio-weight 5x busybox
run --blkio-weight 70000 busybox
run --pull foo busybox
run --dns 300.1.1.1 busybox
run --add-host foo busybox
run --add-host foo:x busybox
run --mount type=bind,source=/a busybox
run --mount foo busybox
run --mount type=bind,foo=1,target=/x busybox
run --mount type=bind,tmpfs-size=1,target=/x busybox
run --mount type=tmpfs,tmpfs-size=x,target=/x busybox
run --mount type=tmpfs,tmpfs-size=50%,target=/x busybox
run --mount type=tmpfs,tmpfs-mode=888,target=/x busybox
run --mount type=tmpfs,tmpfs-mode=0o700,target=/x busybox
run --mount type=tmpfs,tmpfs-mode=-1,target=/x busybox
run --mount type=tmpfs,tmpfs-mode=777777777777,target=/x busybox
run --mount type=,target=/x busybox
run --mount type=bind,src=/a,target=/x, busybox
run --mount type=bind,src=/a,target=/x,readonly=yes busybox
run --mount type=bind,src=/a,target=/x,readonly=tRuE busybox
run --mount type=bind,src=/a,target=/x,readonly= busybox
run --mount type=bind,src=/a,target=/x,bind-recursive=true busybox
run --mount type=bind,src=/a,target=/x,bind-recursive busybox
run --mount type=bind,src=/a,target=/x,bind-recursive=writable busybox
run --mount type=bind,src=/a,target=/x,bind-recursive=readonly,ro busybox
run --mount src=v,target=/x,bind-propagation=rslave busybox
run --mount src=v,target=/x,volume-nocopy=maybe busybox
run --mount src=v,target=/x,volume-opt busybox
run -v /a:/b:ro:rw busybox
run -v :/b busybox
run -v /a: busybox
volume create --label =x v
volume create --name a b
volume ls --filter name
volume ls x
volume rm
volume inspect
volume prune -f --filter foo
volume prune -af --filter all=true
network create --label =x n
network create --gateway 10.1.0.1 n
network create --subnet 10.1.0.0/24 --gateway x n
network create --subnet 10.1.0.0/24 --ip-range x n
network create --subnet 10.1.0.0/24 --aux-address a n
network create --subnet 10.1.0.0/24 --subnet 10.1.0.0/25 n
network create --subnet 10.1.0.0/24 --subnet 10.2.0.0/24 --gateway 10.1.0.1 --gateway 10.1.0.2 n
network connect --driver-opt a n c
run --network a --network a busybox
run --network= busybox
run --network name=a,gw-priority=x busybox
run --network name=a,mac-address=x busybox
run --network name=a,driver-opt=x busybox
run --network name=a,ip=1.2.3.4 --ip 1.2.3.5 busybox
run --network name=a,alias=x --network-alias y busybox
run -p 99999:80 busybox
run -p x:y:z busybox
run -p 80:80/foo busybox
run --expose x busybox
run --restart foo:x busybox
run --restart :1 busybox
run --rm --restart always busybox
run --health-cmd x --no-healthcheck --cap-drop chown --cap-drop KILL --cap-add KILL busybox
run --health-interval 5 busybox
run --health-interval=-5s busybox
run --ulimit foo busybox
run --ulimit foo=1 busybox
run --ulimit nofile=3:2 busybox
run --env-file /nonexist busybox
run --label-file /nonexist busybox
run --sysctl a busybox
run --sysctl b=c busybox
run --expose 3-1 busybox
run --expose 70000 busybox
run --expose 5-x busybox
run --device foo busybox
run --device /dev/null:x busybox
run --device /dev/null:/x:rwx busybox
run --device a:b:c:d busybox
run --device-cgroup-rule foo busybox
run --dns-search a..b busybox
run --dns-search 1 busybox
run --platform foo busybox
run --platform a/b/c/d busybox
create --platform linux/a+b busybox
create --cidfile /etc/passwd busybox
run --cidfile /etc/passwd busybox
run --cidfile /nonexist/x busybox
run --network-alias x busybox
run --network host --network-alias x busybox
run --security-opt seccomp=/etc/passwd busybox
inspect -f {{ box
images --format {{.Foo busybox
ps --format {{.Foo}}
ps --format {{
version --format {{
version --format {{.Foo}}
version --format a{{.Foo}}
events --format {{
stats --no-stream --format {{
login --password-stdin
login
run --storage-opt foo busybox
run --blkio-weight-device foo busybox
run --device-read-bps foo:1 busybox
run --device-read-bps /dev/sda:x busybox
run --device-read-iops /dev/sda:x busybox
run --security-opt seccomp=/nonexist busybox
run --security-opt foo busybox
run --memory-swappiness 200 busybox
run --network name=,alias=x busybox
run --network host --network foo busybox
run --log-driver none --log-opt a=b busybox
run -a foo busybox
run -d -a stdout busybox
run --gpus x busybox
run -it busybox
exec x
exec --foo x y
exec -it x sh
logs a b
ps x
ps -f foo
ps -azb
ps -aqf
ps -n x
stop
stop -t x y
start -a a b
rename x
network create
network rm
pull
pull -a foo:1
container foo
wait
history
save
update x
login -p a --password-stdin
system prune --filter foo
cp a b
cp a:b c:d
""".strip().splitlines()


@pytest.mark.parametrize("line", WRONG)
def test_errors_are_docker_s(line: str, environment: dict[str, str]) -> None:
    said = []
    for command in ([docker_command()], [sys.executable, "-m", "kist.cli"]):
        done = subprocess.run([*command, *line.split()], capture_output=True, text=True, env=environment, timeout=30,
                              stdin=subprocess.DEVNULL, check=False)
        said.append((done.returncode, done.stdout, done.stderr.rstrip()))
    status, out, problem = said[0]
    assert said[1] == (status, out, problem.replace("docker", "kist").replace("Docker", "Kist"))


def test_help_topics_lead_to_the_same_commands() -> None:
    listed = set(re.findall(r"^  ([a-z]+) ", docker_help(""), re.MULTILINE))
    missing = listed - set(MODULES) - set(NOUNS)
    assert missing <= {"build", "builder", "checkpoint", "context", "manifest", "plugin", "trust", "config", "node",
                       "secret", "service", "stack", "swarm"}, missing
