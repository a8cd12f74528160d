"""Many clients at once make, name, use and remove the same images: each gets a right answer, and nothing stays."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from support.daemon import Daemon
from system.api_http import ask, fetch

TAR = {"Content-Type": "application/x-tar"}
NAMES = ("base:1", "a:1", "b:1")
#: What may be answered: somebody else may have been faster.
RIGHT = {"list": {200}, "df": {200}, "ps": {200}, "prune": {200}, "load": {200}, "tag": {201, 404},
         "rmi": {200, 404, 409}, "create": {201, 404}, "commit": {201, 400}, "rm": {204}, "history": {200, 404},
         "inspect": {200, 404}}
UNUSED = quote('{"dangling": {"false": true}}')
OF_A = quote('{"ancestor": {"a:1": true}}')


def archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


class Client:
    """One of those who are at it."""

    def __init__(self, daemon: Daemon, saved: bytes, seed: int) -> None:
        self.daemon, self.saved, self.chance = daemon, saved, random.Random(seed)
        self.boxes: list[str] = []
        self.wrong: list[Any] = []

    def run(self, count: int) -> None:
        for _ in range(count):
            what = self.chance.choice([*RIGHT, "create", "commit", "load", "tag", "rmi"])
            try:
                self.note(what, getattr(self, what)())
            except Exception as error:
                self.wrong.append((what, repr(error)))
        for box in self.boxes:
            self.note("rm", fetch(self.daemon, "DELETE", f"/containers/{box}?force=1"))

    def note(self, what: str, answer: Any) -> None:
        missing = answer.status == 404 and b"No such image" not in answer.content and what != "rmi"
        if answer.status not in RIGHT[what] or missing or (what == "load" and b"error" in answer.content):
            self.wrong.append((what, answer.status, answer.content[-300:]))

    def send(self, method: str, target: str, body: Any = None, headers: Any = None) -> Any:
        return fetch(self.daemon, method, target, body, headers)

    def name(self) -> str:
        return self.chance.choice(NAMES)

    def list(self) -> Any:
        return self.send("GET", "/images/json?all=1&shared-size=1")

    def df(self) -> Any:
        return self.send("GET", "/system/df")

    def ps(self) -> Any:
        return self.send("GET", f"/containers/json?all=1&filters={OF_A}")

    def prune(self) -> Any:
        return self.send("POST", self.chance.choice(["/images/prune", f"/images/prune?filters={UNUSED}"]))

    def load(self) -> Any:
        return self.send("POST", "/images/load", self.saved, TAR)

    def tag(self) -> Any:
        return self.send("POST", f"/images/{self.name()}/tag?repo={self.chance.choice('ab')}&tag=1")

    def rmi(self) -> Any:
        return self.send("DELETE", f"/images/{self.name()}?force={self.chance.randrange(2)}")

    def create(self) -> Any:
        answer = self.send("POST", "/containers/create", {"Image": self.name(), "Cmd": ["/x"]})
        if answer.status == 201:
            self.boxes.append(json.loads(answer.content)["Id"])
        return answer

    def commit(self) -> Any:
        if not self.boxes:
            return self.create()._replace(status=201)
        return self.send("POST", f"/commit?container={self.chance.choice(self.boxes)}"
                                 + self.chance.choice(["", "&repo=a&tag=1", "&repo=b&tag=1"]))

    def rm(self) -> Any:
        if not self.boxes:
            return self.create()._replace(status=204)
        return self.send("DELETE", f"/containers/{self.boxes.pop()}?force=1")

    def history(self) -> Any:
        return self.send("GET", f"/images/{self.name()}/history")

    def inspect(self) -> Any:
        return self.send("GET", f"/images/{self.name()}/json")


def test_right_answers_and_nothing_stays(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(mirror=None)
    made = fetch(daemon, "POST", "/images/create?fromSrc=-&repo=base&tag=1", archive(x=b"x" * 5000), TAR)
    assert made.status == 200
    saved = fetch(daemon, "GET", "/images/base:1/get").content
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    clients = [Client(daemon, saved, seed + number) for number in range(6)]
    threads = [threading.Thread(target=client.run, args=(40,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one for client in clients for one in client.wrong] == []
    for image in ask(daemon, "GET", "/images/json?all=1")[1]:
        assert ask(daemon, "DELETE", f"/images/{image['Id']}?force=1")[0] in (200, 404)
    assert ask(daemon, "GET", "/images/json?all=1") == (200, [])
    assert os.listdir(daemon.data / "layers") == os.listdir(daemon.data / "content/sha256") == []
    assert daemon.ok("system", "check", "-q") == ""
    assert "Traceback" not in daemon.log.read_text()
