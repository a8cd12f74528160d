"""The Hub's library, for real: every image built once, pulled by a mirror's name and used as people use it."""

from __future__ import annotations

import fcntl
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kist.hub.library.recipe import load_all
from support.daemon import Daemon
from support.hub import Hub, fill, free_port
from support.processes import ENVIRONMENT, PYTHON
from system.test_cli_run import Terminal

# The hooks of a builder who isn't root, whose files mmdebstrap fetches. They work for root as well.
_USERS_HOOKS = ("import sys; from kist.hub.library import __main__, debian; "
                "debian._way = lambda: debian._AS_USER; sys.exit(__main__.main())")
BIG = ("debian", "nginx", "node", "postgres", "python", "redis")


@pytest.fixture(scope="module")
def full_library(shared_folder: Path) -> Path:
    data = shared_folder / "full-library"
    with (shared_folder / "full-library.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not data.exists():
            fill(data, "kist/base", *BIG, archives=shared_folder / "archives", lock=shared_folder / "packages.lock")
    return data


@pytest.fixture(scope="module")
def full_hub(full_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    running = Hub(full_library, tmp_path_factory.mktemp("hub") / "hub.log")
    yield running
    running.close()


@pytest.fixture(scope="module")
def engine(full_hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(tmp_path_factory.mktemp("library"), mirror=full_hub.url)
    yield running
    running.close()


@pytest.fixture
def box(engine: Daemon) -> Iterator[Daemon]:
    """A server that may pull the library, without containers."""
    yield engine
    engine.clean()


def _get(hub: Hub, path: str) -> Any:
    with urllib.request.urlopen(hub.url + path, timeout=30) as answer:
        return json.load(answer)


def _image(hub: Hub, repository: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """(manifest, configuration, digest)"""
    with urllib.request.urlopen(f"{hub.url}/v2/{repository}/manifests/latest", timeout=30) as answer:
        digest, manifest = answer.headers["Docker-Content-Digest"], json.load(answer)
    return manifest, _get(hub, f"/v2/{repository}/blobs/{manifest['config']['digest']}"), digest


def _until(try_it: Callable[[], bool], words: Callable[[], str], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not try_it():
        assert time.monotonic() < deadline, words()
        time.sleep(0.2)


@pytest.mark.parametrize(("name", "program"), [("redis", ["-c", _USERS_HOOKS]),
                                               ("kist/base", ["-m", "kist.hub.library"])])
def test_built_again_from_the_lock_elsewhere_it_is_the_same_image(
        full_hub: Hub, shared_folder: Path, tmp_path: Path, name: str, program: list[str]) -> None:
    """debian below redis as well; on a machine of another name, place and mask, without asking the mirror."""
    repository = load_all()[name].repository
    where = {**ENVIRONMENT, "TZ": "Pacific/Auckland", "LC_ALL": "C", "HOME": "/nonexistent", "USER": "somebody"}
    build = [PYTHON, *program, "build", "--data", str(tmp_path / "data"), "--archives",
             str(shared_folder / "archives"), "--lock", str(shared_folder / "packages.lock"), name]
    elsewhere = ["unshare", "--uts", "--net", "sh", "-c", 'hostname elsewhere; umask 077; exec "$@"', "-"]
    done = subprocess.run([*elsewhere, *build], env=where, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{name}:latest: {_image(full_hub, repository)[2]}"
    hub = Hub(tmp_path / "data", tmp_path / "hub.log")
    try:
        assert _bill(hub, repository) == _bill(full_hub, repository), "and so is its bill of materials"
    finally:
        hub.close()


def _bill(hub: Hub, repository: str) -> Any:
    return _get(hub, f"/v2/{repository}/referrers/{_image(hub, repository)[2]}")


@pytest.mark.parametrize(("name", "package"), [("library/postgres", "libpq5"), ("kist/base", "tzdata")])
def test_every_image_has_its_bill_of_materials_as_a_referrer(full_hub: Hub, name: str, package: str) -> None:
    _, _, digest = _image(full_hub, name)
    (found,) = _get(full_hub, f"/v2/{name}/referrers/{digest}?artifactType=application/spdx%2Bjson")["manifests"]
    manifest = _get(full_hub, f"/v2/{name}/manifests/{found['digest']}")
    document = _get(full_hub, f"/v2/{name}/blobs/{manifest['layers'][0]['digest']}")
    assert document["packages"][0]["versionInfo"] == digest
    assert package in {one["name"] for one in document["packages"]}


def test_tags_follow_the_softwares_version(full_hub: Hub) -> None:
    for name in ("postgres", "python", "node", "nginx", "redis", "debian"):
        found = _get(full_hub, f"/v2/library/{name}/tags/list")["tags"]
        assert "latest" in found and any(tag.isdigit() for tag in found), (name, found)


def test_the_base_is_as_small_as_it_says_and_complete(full_hub: Hub, box: Daemon) -> None:
    manifest, _, _ = _image(full_hub, "kist/base")
    assert sum(layer["size"] for layer in manifest["layers"]) < 4_000_000
    script = ("set -e; id -un; date -d @0 +%H; cat /etc/ssl/certs/ca-certificates.crt | grep -c BEGIN; "
              "grep ^https /etc/services | head -1; ls /lib64/; . /etc/os-release; echo $ID")
    out = box.ok("run", "--rm", "-e", "TZ=Asia/Kolkata", "kist/base", "sh", "-c", script, timeout=120).splitlines()
    assert out[0] == "root" and out[1] == "05" and int(out[2]) > 100 and "443" in out[3] and out[-1] == "kist"


def test_python_runs_a_line_and_has_pip(box: Daemon) -> None:
    code = "import ssl, sqlite3, sys; print(sys.version_info.major, len('ü'))"
    assert box.ok("run", "--rm", "python", "python", "-c", code, timeout=180) == "3 1"
    assert box.ok("run", "--rm", "-i", "python", input="print(6 * 7)") == "42"
    out = box.ok("run", "--rm", "--network", "none", "python", "sh", "-c",
                    "pip --version && python -m venv --without-pip /v && /v/bin/python -c 'import json' && "
                    "pip install --dry-run --no-index nothing-like-it 2>&1 | grep -o externally-managed | wc -l")
    assert out.startswith("pip ") and out.endswith("0"), "the container is the environment"


def test_node_runs_scripts_options_and_commands(box: Daemon, tmp_path: Path) -> None:
    assert box.ok("run", "--rm", "node", "-p", "6 * 7", timeout=180) == "42"
    assert box.ok("run", "--rm", "node", "npm", "--version")[0].isdigit()
    app = tmp_path / "app"
    app.mkdir()
    (app / "main.js").write_text("console.log(process.getuid(), process.argv.length)")
    assert box.ok("run", "--rm", "-u", "node", "-v", f"{app}:/app:ro", "-w", "/app", "node", "main.js",
                     "x") == "1000 3"
    assert box.ok("run", "--rm", "node", "-e", "console.log('ü'.length)") == "1"
    assert box.ok("run", "--rm", "-i", "node", input="console.log(6 * 7)") == "42"
    window = Terminal(box, "run", "--rm", "-it", "node")  # a terminal gets the REPL
    try:
        window.until("> ")
        window.type("6 * 7\r")
        window.until("42")
        window.type(".exit\r")
        assert window.status() == 0
    finally:
        window.close()


def test_nginx_serves_its_page_a_folder_and_templates(box: Daemon, tmp_path: Path) -> None:
    port = free_port()
    templates, pages = tmp_path / "templates", tmp_path / "pages"
    templates.mkdir()
    (pages / "sub").mkdir(parents=True)
    (pages / "sub" / "page.html").write_text("a page of mine")
    (templates / "more.conf.template").write_text(
        "server { listen 81; location / { return 200 \"${GREETING} $request_uri\"; } }\n")
    volumes = ("-v", f"{templates}:/etc/nginx/templates:ro", "-v", f"{pages}:/usr/share/nginx/html/mine:ro")
    box.ok("run", "-d", "--name", "web", "-p", f"127.0.0.1:{port}:80", "-p", f"127.0.0.1:{port + 1}:81", "-e",
           "GREETING=hello", *volumes, "nginx", timeout=180)
    assert "nginx works" in _page(box, f"http://127.0.0.1:{port}/")
    assert _page(box, f"http://127.0.0.1:{port}/mine/sub/page.html") == "a page of mine"
    assert _page(box, f"http://127.0.0.1:{port + 1}/there") == "hello /there"
    _until(lambda: '"GET / HTTP' in box.ok("logs", "web"), lambda: box.ok("logs", "web"), 10)
    box.ok("stop", "web")
    assert json.loads(box.ok("inspect", "web"))[0]["State"]["ExitCode"] == 0, "SIGQUIT ends it in peace"


def _page(box: Daemon, url: str) -> str:
    found: list[str] = []

    def asked() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found.append(answer.read().decode())
        except OSError:
            return False
        return True
    _until(asked, lambda: box.kist("logs", "web").stdout, 30)
    return found[-1]


def test_postgres_initialises_answers_and_keeps_its_data(box: Daemon, tmp_path: Path) -> None:
    scripts = tmp_path / "initdb.d"
    scripts.mkdir()
    (scripts / "1.sql").write_text("CREATE TABLE t (x int); INSERT INTO t VALUES (42);")
    (scripts / "2.sh").write_text('psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" '
                                  '-c "INSERT INTO t VALUES (43)"\n')
    options = ("-e", "POSTGRES_USER=me", "-e", "POSTGRES_DB=mine", "-v", "pgdata:/var/lib/postgresql/data", "-v",
               f"{scripts}:/docker-entrypoint-initdb.d:ro")
    box.ok("run", "-d", "--name", "db", "-e", "POSTGRES_PASSWORD=it's $ecret", *options, "postgres", timeout=240)
    query = ("exec", "-e", "PGPASSWORD=it's $ecret", "db", "psql", "-h", "127.0.0.1", "-U", "me", "-d", "mine", "-tAc",
             "SELECT sum(x) FROM t")
    _until(lambda: box.kist(*query).stdout.strip() == "85", lambda: str(box.kist("logs", "db")))
    assert "ready for start up" in box.ok("logs", "db")
    box.ok("stop", "-t", "30", "db")
    assert json.loads(box.ok("inspect", "db"))[0]["State"]["ExitCode"] == 0
    # A second container over the volume needs no password, and initialises nothing.
    box.ok("run", "-d", "--name", "again", *options, "postgres")
    again = ("exec", "again", "psql", "-U", "me", "-d", "mine", "-tAc", "SELECT count(*) FROM t")
    _until(lambda: box.kist(*again).stdout.strip() == "2", lambda: box.kist("logs", "again").stdout)
    assert "Skipping initialization" in box.ok("logs", "again")


def test_postgres_needs_a_password_and_says_so(box: Daemon) -> None:
    done = box.kist("run", "--rm", "postgres", timeout=240)
    assert done.returncode == 1
    assert "superuser password is not specified" in done.stderr
    assert box.ok("run", "--rm", "postgres", "postgres", "--version").startswith("postgres (PostgreSQL)")


def test_redis_takes_options_and_runs_as_its_user(box: Daemon) -> None:
    box.ok("run", "-d", "--name", "store", "redis", "--save", "60", "1", "--loglevel", "warning", timeout=120)
    _until(lambda: box.kist("exec", "store", "redis-cli", "ping").stdout.strip() == "PONG",
           lambda: box.kist("logs", "store").stdout)
    assert box.ok("exec", "store", "redis-cli", "config", "get", "save").splitlines()[1] == "60 1"
    assert box.ok("exec", "store", "redis-cli", "config", "get", "protected-mode").splitlines()[1] == "no"
    assert "999" in box.ok("exec", "store", "sh", "-c", "grep ^Uid: /proc/1/status")
    assert box.ok("run", "--rm", "redis", "redis-cli", "--version").startswith("redis-cli")


def test_redis_keeps_what_its_volume_holds(box: Daemon) -> None:
    for number, options in enumerate(((), ("--appendonly", "yes"))):
        volume = ("-v", f"kept{number}:/data")
        box.ok("run", "-d", "--name", "first", *volume, "redis", "redis-server", *options, timeout=120)
        _until(lambda: box.kist("exec", "first", "redis-cli", "set", "kept", "yes").stdout.strip() == "OK",
               lambda: box.kist("logs", "first").stdout)
        box.ok("stop", "first")  # SIGTERM: it saves
        box.ok("rm", "first")
        box.ok("run", "-d", "--name", "first", *volume, "redis", "redis-server", *options)
        _until(lambda: box.kist("exec", "first", "redis-cli", "get", "kept").stdout.strip() == "yes",
               lambda: box.kist("logs", "first").stdout)
        box.ok("rm", "-f", "first")


def test_a_redis_server_in_one_container_and_its_client_by_exec(box: Daemon) -> None:
    box.ok("run", "-d", "--name", "store", "-m", "256m", "redis", timeout=120)
    deadline = time.monotonic() + 30
    while box.kist("exec", "store", "redis-cli", "ping").stdout.strip() != "PONG":
        assert time.monotonic() < deadline, box.kist("logs", "store").stdout
        time.sleep(0.1)
    assert box.ok("exec", "store", "redis-cli", "set", "greeting", "hello") == "OK"
    assert box.ok("exec", "-i", "store", "redis-cli", "-x", "set", "piped", input="from outside") == "OK"
    assert box.ok("exec", "store", "redis-cli", "get", "greeting") == "hello"
    assert box.ok("exec", "store", "redis-cli", "get", "piped") == "from outside"
    assert "Ready to accept connections" in box.ok("logs", "store")
    box.ok("stop", "store")
    state = json.loads(box.ok("inspect", "store"))[0]["State"]
    assert state["ExitCode"] == 0, "redis heeds SIGTERM"


def test_debian_runs_apt_and_bash(box: Daemon) -> None:
    out = box.ok("run", "--rm", "debian", "bash", "-c", "grep ^ID= /etc/os-release; apt-get --version | head -1",
                    timeout=120)
    assert out.splitlines()[0] == "ID=debian"
    assert out.splitlines()[1].startswith("apt ")
    places = "/usr/share/doc /usr/share/man /usr/share/info /usr/share/locale"
    for image in ("debian", "redis"):  # bootstrapped, and installed over it
        files = box.ok("run", "--rm", image, "sh", "-c", f"find {places} -type f", timeout=120).splitlines()
        assert {Path(name).name for name in files} - {"dir"} == {"copyright"}, "what serves nobody is left out"


def test_the_hub_is_named_when_docker_io_is_out_of_reach(daemon: Daemon, make_daemon: Callable[..., Daemon]) -> None:
    lonely = make_daemon(mirror="http://127.0.0.1:1")
    done = lonely.kist("run", "--rm", "redis", timeout=120)
    assert done.returncode == 125
    assert "kist hub" in done.stderr, done.stderr
    assert "library" in done.stderr
