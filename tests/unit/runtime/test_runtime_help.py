"""`kist oci COMMAND --help`: usage, a sentence, and the options that the command takes."""

from __future__ import annotations

import pytest

from kist.runtime.__main__ import VERBS, _main


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("checkpoint", "restore")])  # they only refuse
@pytest.mark.parametrize("word", ["--help", "-h"])
def test_each_command_has_one(verb: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main([verb, word]) == 0
    shown = capsys.readouterr()
    usage, empty, summary, *_ = shown.out.splitlines()
    assert usage.split()[:4] == ["Usage:", "kist", "oci", verb]
    assert not empty and summary.endswith(".") and summary[0].isupper()
    assert shown.err == ""


def test_options_are_the_ones_that_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    _main(["kill", "--help"])
    assert capsys.readouterr().out.splitlines()[-2:] == ["Options:", "  --all, -a"]
    _main(["run", "-b", "/somewhere", "--help"])  # behind others, too
    assert "  --bundle, -b STRING\n" in capsys.readouterr().out


def test_words_behind_the_container_are_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """`exec ID ls --help` asks ls."""
    assert _main(["--root", "/nonexistent", "exec", "nobody", "ls", "--help"]) != 0
    assert "Usage" not in capsys.readouterr().out
