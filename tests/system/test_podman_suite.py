"""What Podman can do beyond `run`, `exec` and `stop`, with our runtime: user namespaces, pods, `play kube`, secrets,
builds, systemd's mode, volumes of all kinds, security options, notifications. Expected is what crun and runc give."""

from __future__ import annotations

import json
import os
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.podman import Podman, home

CAP_NET_RAW = 1 << 13


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    with home(tmp_path_factory.mktemp("podman")) as made:
        yield made


def limit(v1: str, v2: str) -> str:
    """A shell command that prints a limit, on either version."""
    return f"cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}"


MAPPED = ("--uidmap", "0:100000:65536")


@pytest.mark.parametrize(("options", "script", "expected"), [
    (("--userns=auto:size=5000",), "id -u; cut -c-32 /proc/self/uid_map", "0\n         0    2000000       5000\n"),
    (("--uidmap", "0:100000:2000", "--gidmap", "0:200000:3000", "--user", "1000:1001"),
     "id -u; id -g; cut -c-32 /proc/self/gid_map", "1000\n1001\n         0     200000       3000\n"),
    ((*MAPPED, "--privileged"), "readlink /dev/ptmx; stat -c %t:%T /dev/zero", "pts/ptmx\n1:5\n"),
    ((*MAPPED, "--device", "/dev/kmsg:/dev/log"), "stat -c %t:%T /dev/log", "1:b\n"),
    ((*MAPPED, "--read-only", "--tmpfs", "/t"), "stat -c '%u %a' /t; touch /x 2>/dev/null || echo no", "0 1777\nno\n"),
    ((*MAPPED, "--init"), "head -c 16 /proc/1/cmdline", "/run/podman-init"),
    (("--user", "1000", "--group-add", "3000"), "id -G", "0 3000\n"),
    (("--umask", "0077",), "umask", "0077\n"),
    (("--tz", "Europe/Berlin"), "date +%Z", "CET\n"),
    (("--pid", "host"), "test $$ -gt 1 && ls -d /proc/2", "/proc/2\n"),
    (("--ipc", "none"), "grep -c /dev/shm /proc/mounts || true", "0\n"),
    (("--cap-drop", "all", "--cap-add", "net_raw", "--user", "1000"), "grep CapEff /proc/self/status",
     f"CapEff:\t{CAP_NET_RAW:016x}\n"),
])
def test_who_it_is(podman: Podman, options: tuple[str, ...], script: str, expected: str) -> None:
    assert podman.sh(*options, script) == expected


def test_groups_of_the_caller(podman: Podman) -> None:
    """--group-add keep-groups is an annotation of crun's."""
    caller = ("setpriv", "--groups", "4567")
    keep = ("--network", "none", "--user", "1000:1000", "--group-add", "keep-groups")
    assert podman("run", "--rm", *keep, "box", "id", "-G", under=caller).stdout == "1000 4567\n"
    with podman.running("--user", "1000:1000", "--group-add", "keep-groups") as name:
        assert podman("exec", name, "id", "-G", under=caller).stdout == "1000 4567\n"


def test_secrets(podman: Podman) -> None:
    name = "s" + uuid.uuid4().hex[:8]
    assert podman("secret", "create", name, "-", text="hush").returncode == 0
    try:
        target = f"{name},target=/deep/er,uid=5,gid=6,mode=0400"
        assert podman.sh("--secret", target, "stat -c '%u %g %a' /deep/er; cat /deep/er") == "5 6 400\nhush"
        assert podman.sh("--secret", f"{name},type=env,target=WORD", "echo $WORD") == "hush\n"
    finally:
        podman("secret", "rm", name)


def test_systemd_mode(podman: Podman) -> None:
    """What systemd wants of whoever starts it: tmpfs in its places, its own control groups to write, a name."""
    script = ("echo $container; echo ${container_uuid:+uuid}; for at in /run /run/lock /tmp /var/log/journal; do "
              "grep -c \" $at tmpfs rw\" /proc/mounts; done; "
              "cd /sys/fs/cgroup/systemd$(grep name=systemd /proc/self/cgroup | cut -d: -f3) || cd /sys/fs/cgroup; "
              "mkdir below && echo $$ >below/cgroup.procs && grep -c /below /proc/self/cgroup")
    assert podman.sh("--systemd=always", script).split() == ["podman", "uuid", "1", "1", "1", "1", "1"]
    stopping = ("sh", "-c", "trap 'exit 5' 37; while :; do sleep 0.05; done")  # SIGRTMIN+3
    with podman.running("--systemd=always", command=stopping) as name:
        podman.ok("stop", "--time", "20", name)
        assert podman.ok("inspect", "--format", "{{.State.ExitCode}}", name) == "5\n"


def test_rootfs(podman: Podman, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "sh").write_bytes(Path("/bin/busybox").read_bytes())
    (root / "bin" / "sh").chmod(0o755)
    tmp_path.parent.chmod(0o755)

    def run(*options: str) -> int:
        script = "echo x >/made 2>/dev/null"
        return podman("run", "--rm", "--network", "none", *options, "/bin/sh", "-c", script).returncode

    assert run("--rootfs", f"{root}:O") == 0
    assert not (root / "made").exists()
    assert run("--read-only", "--rootfs", str(root)) != 0
    assert run("--rootfs", str(root)) == 0
    assert (root / "made").read_text() == "x\n"


def test_volumes_of_all_kinds(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("data\n")
    os.chown(tmp_path / "file", 1234, 1234)
    volume = f"{tmp_path}:/v"
    assert podman.sh("-v", f"{volume}:O", "echo new >>/v/file; cat /v/file; touch /v/more") == "data\nnew\n"
    assert os.listdir(tmp_path) == ["file"]
    assert podman.sh("-v", f"{volume}:ro", "touch /v/x 2>&1 | grep -c Read-only") == "1\n"
    assert podman.sh("--user", "77:78", "-v", f"{volume}:U", "stat -c '%u %g' /v /v/file") == "77 78\n77 78\n"
    os.chown(tmp_path / "file", 3, 3)
    assert podman.sh(*MAPPED, "-v", f"{volume}:idmap", "stat -c %u /v/file; touch /v/made") == "3\n"
    assert (tmp_path / "made").stat().st_uid == 0
    done = podman.box("-v", f"{tmp_path}/file:/etc", "--", "true")
    assert (done.returncode, "/etc: ENOTDIR: not a directory" in done.stderr) == (126, True)


@pytest.mark.parametrize(("mount", "script", "expected"), [
    ("type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1700", "stat -c %a /t; df -k /t | grep -c ' 1024 '",
     "1700\n1\n"),
    ("type=tmpfs,destination=/new", "stat -c %a /new", "1777\n"),
    ("type=tmpfs,destination=/root,notmpcopyup", "stat -c %a /root", "755\n"),
    ("type=image,source=box,destination=/image", "ls -d /image/bin/sh; touch /image/x 2>&1 | grep -c Read-only",
     "/image/bin/sh\n1\n"),
    ("type=image,source=box,destination=/image,rw=true", "touch /image/x && ls /image/x", "/image/x\n"),
    ("type=devpts,destination=/p/ts", "ls /p/ts; grep -c ' /p/ts devpts ' /proc/mounts", "ptmx\n1\n"),
])
def test_mounts_of_all_kinds(podman: Podman, mount: str, script: str, expected: str) -> None:
    assert podman.sh("--mount", mount, script) == expected


def test_security_options(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "filter.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}))
    script = "mkdir /x 2>&1 | grep -c 'not supported'; grep Seccomp: /proc/self/status"
    assert podman.sh("--security-opt", f"seccomp={tmp_path}/filter.json", script) == "1\nSeccomp:\t2\n"
    masks = ("--security-opt", "mask=/etc:/proc/uptime", "--security-opt", "unmask=/proc/keys")
    script = "ls /etc | wc -l; wc -c </proc/uptime; stat -c %F /proc/keys; chmod 666 /proc/uptime || echo no"
    assert podman.sh(*masks, script).splitlines() == ["0", "0", "regular empty file", "no"]
    hide = [word for option in ("proc-opts=subset=pid", "no-new-privileges", "unmask=ALL")
            for word in ("--security-opt", option)]
    assert podman.sh(*hide, "ls -d /proc/uptime || grep NoNewPrivs /proc/self/status") == "NoNewPrivs:\t1\n"


def test_devices_and_limits_of_processes(podman: Podman) -> None:
    script = "mknod /f c 10 229; : </f && echo opened; mknod /l c 10 237; (: </l) 2>/dev/null || echo refused"
    assert podman.sh("--cap-add", "mknod", "--device-cgroup-rule", "c 10:229 r", script) == "opened\nrefused\n"
    script = "grep -E 'open files|core' /proc/self/limits | cut -c27-60 | sort; cat /proc/sys/kernel/shmmax"
    assert podman.sh("--ulimit", "nofile=100:200", "--ulimit", "nproc=1000", "--ulimit", "core=0", "--sysctl",
                     "kernel.shmmax=1234567", script).split() == ["0", "0", "100", "200", "1234567"]


def test_control_groups(podman: Podman) -> None:
    parent = f"/kt{uuid.uuid4().hex[:8]}"
    try:
        path = podman.sh("--cgroupns", "host", "--cgroup-parent", parent, "grep -m1 libpod /proc/self/cgroup")
        assert f":{parent}/libpod-" in path
    finally:
        for hierarchy in ("", *os.listdir("/sys/fs/cgroup")):
            for group in (f"{parent}/conmon", parent):
                if os.path.isdir(f"/sys/fs/cgroup/{hierarchy}{group}"):
                    os.rmdir(f"/sys/fs/cgroup/{hierarchy}{group}")
    own = podman.sh("--cgroupns", "private", "cut -d: -f3 /proc/self/cgroup | sort -u")
    assert own == "/\n"
    assert "libpod" not in podman.sh("--cgroups", "disabled", "--cgroupns", "host", "cat /proc/self/cgroup")
    assert "libpod" in podman.sh("--cgroups", "no-conmon", "--cgroupns", "host", "cat /proc/self/cgroup")
    refused = podman.box("--cgroups", "disabled", "-m", "64m", "--", "true")
    assert (refused.returncode, "the container has no control group" in refused.stderr) == (126, True)


def test_statuses_that_podman_reads_from_words(podman: Podman) -> None:
    def status(*words: str) -> int:
        return podman.box("--", *words).returncode

    assert [status("nosuch"), status("/nosuch"), status("/etc"), status("/proc/uptime")] == [127, 127, 126, 126]
    with podman.running() as name:
        assert podman("exec", "-w", "/nosuch", name, "true").returncode == 127
        assert [podman("exec", name, word).returncode for word in ("nosuch", "/etc", "/proc/uptime")] == [127, 126, 126]
        assert podman("exec", name, "sh", "-c", "kill -9 $$").returncode == 137


def test_descriptors_are_handed_on(podman: Podman, tmp_path: Path) -> None:
    """--preserve-fds and systemd's socket activation; nothing else is open."""
    script = "ls /proc/self/fd | wc -l; echo through >&4"
    target = tmp_path / "target"
    pass_two = ("sh", "-c", f'exec 3</dev/null 4>{target}; exec "$@"', "sh")
    run = ("run", "--rm", "--network", "none", "--preserve-fds", "2", "box")
    with podman.running() as name:
        for words in (run, ("exec", "--preserve-fds", "2", name)):
            done = podman(*words, "sh", "-c", script, under=pass_two)
            assert (done.stdout, target.read_text()) == ("6\n", "through\n"), done.stderr
    listen = ("import os, socket, sys\ns = socket.create_server(('127.0.0.1', 0)); os.dup2(s.fileno(), 3)\n"
              "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execvp(sys.argv[1], sys.argv[1:])")
    done = podman("run", "--rm", "--network", "none", "box", "sh", "-c", "readlink /proc/self/fd/3 | cut -c-6; env | "
                  "grep LISTEN | sort", under=(sys.executable, "-c", listen))
    assert done.stdout.split() == ["socket", "LISTEN_FDS=1", "LISTEN_PID=1"], done.stderr


@pytest.mark.parametrize(("mode", "first"), [("conmon", "READY=1"), ("container", "MAINPID=")])
def test_sdnotify(podman: Podman, mode: str, first: str) -> None:
    """Who says READY: conmon, or the container's own process, whose socket is below /run/notify."""
    path = f"{podman.short}/n{mode}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        sock.settimeout(60)
        script = '[ -z "$NOTIFY_SOCKET" ] || [ -S "$NOTIFY_SOCKET" ] && sleep 300'
        under = ("env", f"NOTIFY_SOCKET={path}")
        with podman.running("--sdnotify", mode, command=("sh", "-c", script), under=under) as name:
            assert first in sock.recv(4096).decode()
            assert podman.ok("inspect", "--format", "{{.State.Status}}", name) == "running\n"


def test_content(podman: Podman, tmp_path: Path) -> None:
    """cp, diff, export, commit and mount of a container that runs."""
    (tmp_path / "f").write_text("copied\n")
    with podman.running() as name:
        podman.ok("cp", str(tmp_path / "f"), f"{name}:/tmp/f")
        assert podman.ok("exec", name, "cat", "/tmp/f") == "copied\n"
        podman.ok("cp", f"{name}:/tmp/f", str(tmp_path / "back"))
        assert (tmp_path / "back").read_text() == "copied\n"
        assert "A /tmp/f\n" in podman.ok("diff", name)
        podman.ok("export", "-o", str(tmp_path / "x.tar"), name)
        podman.ok("commit", "--pause", "-q", name, "changed")
        assert podman.ok("run", "--rm", "--network", "none", "changed", "cat", "/tmp/f") == "copied\n"
    podman.ok("rmi", "changed")


def test_life_in_detail(podman: Podman) -> None:
    """init, pause and kill, update, top, stats, an end by time; a checkpoint is refused and harms nothing."""
    with podman.running() as name:
        podman.ok("update", "--memory", "64m", "--cpus", "0.5", name)
        script = limit("memory/memory.limit_in_bytes", "memory.max") + "; " + limit("cpu/cpu.cfs_quota_us", "cpu.max")
        assert podman.ok("exec", name, "sh", "-c", script).split()[:2] == [str(64 << 20), "50000"]
        podman.ok("exec", "-d", name, "sleep", "299")
        assert "sleep 299" in podman.ok("top", name, "args")
        assert podman.ok("stats", "--no-stream", "--format", "{{.PIDs}}", name) == "2\n"
        assert podman("container", "checkpoint", name).returncode == 125
        assert podman.ok("inspect", "--format", "{{.State.Status}}", name) == "running\n"
        podman.ok("pause", name)
        podman.ok("kill", name)
        assert podman.ok("wait", name) == "137\n"
    name = "i" + uuid.uuid4().hex[:8]
    podman.ok("create", "--name", name, "--network", "none", "box", "echo", "hello")
    podman.ok("init", name)
    assert podman.ok("inspect", "--format", "{{.State.Status}}", name) == "initialized\n"
    assert podman.ok("start", "--attach", name) == "hello\n"
    podman.ok("rm", name)
    assert podman.box("--timeout", "1", "--", "sleep", "300").returncode in (137, 255)


def test_pods(podman: Podman) -> None:
    """Shared namespaces, the pid namespace as well; a member's end takes all of its processes along."""
    with podman.pod("--share", "net,uts,ipc,pid", "--hostname", "podhost") as pod:
        with podman.running("--pod", pod, command=("sh", "-c", "sleep 311 & sleep 312")) as first:
            podman.ok("pod", "pause", pod)
            podman.ok("pod", "unpause", pod)
            out = podman.ok("run", "--rm", "--pod", pod, "box", "sh", "-c", "hostname; ps -o args; ip link show lo")
            assert out.startswith("podhost\n")
            assert all(words in out for words in ("sleep 300", "sleep 311", "sleep 312", ",UP"))
            podman.ok("kill", first)
            podman.ok("wait", first)
            assert "sleep 31" not in podman.ok("run", "--rm", "--pod", pod, "box", "ps", "-o", "args")
        podman.ok("pod", "stop", "--time", "0", pod)
    with podman.pod("--uidmap", "0:100000:5000", "--gidmap", "0:200000:5000") as pod:
        script = "cut -c-32 /proc/self/uid_map; id -u; touch /tmp/x; stat -c %u /tmp/x"
        assert podman.ok("run", "--rm", "--pod", pod, "box", "sh", "-c", script).split() == [
            "0", "100000", "5000", "0", "0"]


def test_namespaces_of_another_container(podman: Podman) -> None:
    with podman.running(*MAPPED, "--hostname", "other") as name:
        of_it = [f"--{kind}=container:{name}" for kind in ("network", "pid", "ipc", "userns", "uts")]
        out = podman("run", "--rm", *of_it, "box", "sh", "-c", "hostname; ps -o args; cut -c-32 /proc/self/uid_map")
        assert (out.stdout[:6], "sleep 300" in out.stdout, "100000" in out.stdout) == ("other\n", True, True), out
    done = podman("run", "--rm", "--network", "ns:/etc/passwd", "box", "true")
    assert (done.returncode, "network namespace /etc/passwd" in done.stderr) == (126, True)


KUBE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: map}
data: {KEY: value, file: content}
---
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  hostname: kubehost
  shareProcessNamespace: true
  restartPolicy: Never
  securityContext: {supplementalGroups: [3000]}
  volumes:
  - {name: m, configMap: {name: map}}
  - {name: claim, persistentVolumeClaim: {claimName: NAME-claim}}
  - {name: host, hostPath: {path: HOST, type: Directory}}
  containers:
  - name: main
    image: localhost/box:latest
    imagePullPolicy: Never
    command: [sh, -c, "touch /claim/ready; sleep 333"]
    workingDir: /tmp
    env: [{name: A, value: b}, {name: K, valueFrom: {configMapKeyRef: {name: map, key: KEY}}}]
    resources: {limits: {memory: 64Mi, cpu: 500m}}
    livenessProbe: {exec: {command: [cat, /claim/ready]}, periodSeconds: 1000}
    securityContext:
      {runAsUser: 1000, runAsGroup: 1001, allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_RAW]}}
    volumeMounts:
    - {name: m, mountPath: /map}
    - {name: claim, mountPath: /claim}
    - {name: host, mountPath: /host, readOnly: true}
  - name: locked
    image: localhost/box:latest
    imagePullPolicy: Never
    command: [sleep, "334"]
    tty: true
    securityContext: {readOnlyRootFilesystem: true}
"""


def test_play_kube(podman: Podman, tmp_path: Path) -> None:
    """Config maps, volumes, security contexts, probes and resources; and what it is written back as."""
    name = "k" + uuid.uuid4().hex[:8]
    (tmp_path / "here").touch()
    tmp_path.chmod(0o777)
    path = tmp_path / "pod.yaml"
    path.write_text(KUBE.replace("NAME", name).replace("HOST", str(tmp_path)))
    script = ("id; pwd; hostname; echo $A $K; cat /map/file; echo; touch /host/x 2>&1 | grep -c Read-only; "
              "ls /host/here; grep -E 'NoNew|CapBnd' /proc/self/status; ps -o args; "
              + limit("memory/memory.limit_in_bytes", "memory.max"))
    try:
        podman.ok("play", "kube", "--network", "none", str(path))
        out = podman.ok("exec", f"{name}-main", "sh", "-c", script)
        for words in ("uid=1000 gid=1001 groups=3000", "/tmp\nkubehost\nb value\ncontent\n1\n/host/here\n",
                      "NoNewPrivs:\t1", f"CapBnd:\t{CAP_NET_RAW:016x}", "sleep 333", "sleep 334", str(64 << 20)):
            assert words in out
        assert podman("healthcheck", "run", f"{name}-main").returncode == 0
        assert "Read-only file system" in podman("exec", f"{name}-locked", "touch", "/x").stderr
        written = podman.ok("generate", "kube", name)
        assert "sleep 334" in written or '"334"' in written
    finally:
        podman("play", "kube", "--down", str(path))
        podman("volume", "rm", "--force", f"{name}-claim")


CONTAINERFILE = """FROM localhost/box
RUN echo made >/made && test "$(id -u)" = 0
RUN --mount=type=tmpfs,target=/scratch touch /scratch/x && grep -c ' /scratch tmpfs' /proc/mounts
RUN --mount=type=secret,id=word cat /run/secrets/word
RUN --mount=type=cache,target=/cache echo kept >/cache/c
RUN --mount=type=bind,source=file,target=/bound cat /bound
USER 1000
WORKDIR /tmp
RUN cat /made; id -u; pwd; touch /x 2>/dev/null || echo refused
"""


def test_build(podman: Podman, tmp_path: Path) -> None:
    """Buildah's RUN by our runtime."""
    (tmp_path / "Containerfile").write_text(CONTAINERFILE)
    (tmp_path / "file").write_text("of the context\n")
    (tmp_path / "word").write_text("secret\n")
    build = ("build", "--isolation", "oci", "--network", "none", "--secret", f"id=word,src={tmp_path}/word", "-t",
             "built")
    out = podman.ok(*build, str(tmp_path))
    assert all(f"\n{words}" in out for words in ("1\n", "secret\n", "of the context\n", "made\n1000\n/tmp\nrefused\n"))
    assert podman.ok("run", "--rm", "--network", "none", "built", "cat", "/made") == "made\n"
    podman.ok("rmi", "--force", "built")
    (tmp_path / "Containerfile").write_text("FROM localhost/box\nRUN exit 7\n")
    done = podman(*build, str(tmp_path))
    assert done.returncode != 0
    assert "exit status 7" in done.stderr
