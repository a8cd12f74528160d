"""Configuration: defaults, the file, options above it, refusals that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from kist.engine.config import Config, parse_size
from kist.errors import InvalidParameter
from kist.registry.settings import ClientConfig


def test_the_socket_lies_in_the_run_directory_unless_it_is_named() -> None:
    assert Config(run="/run/x").socket == "/run/x/kist.sock"
    assert Config(run="/run/x", socket="/a.sock").socket == "/a.sock"


def test_a_file_sets_fields_and_options_win(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('data = "/d"\nrun = "/r"\ncgroup-parent = "/cg"\n[network]\nbridge = "br7"\nnft-table = "t7"\n'
                    'subnet = "10.1.0.0/16"\ndns = ["10.0.0.1"]\n[log]\nmax-size = "1m"\nmax-file = 2\n'
                    '[registries."docker.io"]\nmirrors = ["http://127.0.0.1:5555"]\n[hub]\nlibrary = ["one"]\n')
    config = Config.load(str(file), data="/other", run=None)
    assert (config.data, config.run, config.socket) == ("/other", "/r", "/r/kist.sock")
    assert (config.cgroup_parent, config.bridge, config.nft_table) == ("/cg", "br7", "t7")
    assert (config.log_max_size, config.log_max_file, config.dns) == (1 << 20, 2, ("10.0.0.1",))
    assert config.registries["docker.io"].mirrors == ("http://127.0.0.1:5555",)
    assert config.hub_library == ("one",)


def test_proxies_of_the_file_win_over_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[proxies]\nhttp-proxy = "one:3128"\n[registries."own.example"]\nproxy = ""\n')
    config = Config.load(str(file)).with_environment({
        "HTTP_PROXY": "http://two:1", "https_proxy": "http://three:1", "NO_PROXY": "in.example"})
    client = ClientConfig(config.registries, config.proxies)
    assert client.proxy("http", "r.example:80") == "http://one:3128"
    assert client.proxy("https", "r.example") == "http://three:1"
    assert client.proxy("https", "a.in.example") is None
    assert client.proxy("https", "own.example") is None
    with pytest.raises(InvalidParameter, match="invalid proxy: socks5://xxxxx:xxxxx@host"):
        Config().with_environment({"HTTPS_PROXY": "socks5://me:secret@host"})


def test_a_moved_run_directory_takes_the_socket_along(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('run = "/r"\n')
    assert Config.load(str(file), run="/elsewhere").socket == "/elsewhere/kist.sock"
    assert Config.load(str(file), run="/elsewhere", socket="/s").socket == "/s"


@pytest.mark.parametrize(("text", "words"), [
    ("datta = '/x'", "datta: unknown key"),
    ("[network]\nbrige = 'x'", "network.brige: unknown key"),
    ("[log]\nmax-file = 'two'", "log.max-file: expected a number"),
    ("[log]\nmax-size = 'big'", "log.max-size: expected a size"),
    ("[log]\ndriver = 'syslog'", "log.driver"),
    ("data = 'relative'", "data must be an absolute path"),
    ("[network]\nsubnet = '10.0.0.1/8'", "network"),
    ("[network]\nbridge = 'a/b'", "network.bridge"),
    ("[network]\nsubnet6 = '10.0.0.0/8'", "network"),
    ("[network]\nsubnet6 = 'fd00::/126'", "subnet6"),
    ("[network]\nipv6 = 'yes'", "network.ipv6: expected true or false"),
    ("[registries.x]\nmirror = []", 'unknown key "mirror"'),
    ("[registries]\nx = 1", "registries"),
    ("data = ", "configuration file"),
])
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(InvalidParameter) as caught:
        Config.load(str(file))
    assert words in str(caught.value)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="no such file"):
        Config.load(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(("text", "size"), [("20m", 20 << 20), ("1.5k", 1536), ("7", 7), ("1GiB", 1 << 30), (9, 9)])
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size
