"""The server's log: one line an event, which no client can forge."""

from __future__ import annotations

import logging
import re

import pytest

from kist.server.logs import set_up


@pytest.fixture(autouse=True)
def _own_handlers() -> object:
    root = logging.getLogger()
    kept = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], root.level, logging.raiseExceptions = kept


def test_a_line_has_time_level_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("info")
    logging.getLogger("kist.x").info('said "%s"', "a\nlevel=error\x1b[31m")
    logging.getLogger("kist.x").debug("not seen")
    assert re.fullmatch(
        r'time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info logger=kist\.x '
        r'msg="said \\"a\\nlevel=error\\x1b\[31m\\""\n', capsys.readouterr().err)


def test_a_traceback_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("error")
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("kist.x").exception("failed")
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "ValueError: boom" in told
