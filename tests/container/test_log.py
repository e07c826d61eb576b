"""Log lines are JSON, one per line, and never block a request."""

import asyncio
import datetime
import errno
import json
import logging
import os
import time

import pytest

from container.observability import log


@pytest.fixture
def lines(monkeypatch):
    """`lines()`: the parsed lines written to the log's descriptor so far."""
    log.flush()  # the rest of earlier tests
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    monkeypatch.setattr(log._log, "descriptor", writing)
    monkeypatch.setattr(log._log, "threshold", log._log.threshold)
    log.configure("INFO")

    def written() -> list[dict]:
        try:
            return [json.loads(line) for line in os.read(reading, 1 << 20).splitlines()]
        except BlockingIOError:
            return []

    yield written
    log.flush()
    os.close(reading)
    os.close(writing)


def test_a_line_is_an_object_with_time_level_event_and_fields(lines):
    log.info("attempt", request_id="r-1", seconds=0.5, usage=None, models=["a", "ü"])
    log.flush()
    [line] = lines()
    when = datetime.datetime.fromisoformat(line.pop("time"))
    assert abs(when - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)
    assert line == {
        "level": "info",
        "source": "proxy",
        "event": "attempt",
        "request_id": "r-1",
        "seconds": 0.5,
        "usage": None,
        "models": ["a", "ü"],
    }


@pytest.mark.parametrize("room", [0, 1, 100, 101])
def test_line_truncated_by_a_full_disk_is_completed_later(lines, monkeypatch, room):
    real = os.write
    left = [room]

    def full(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(descriptor, data[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(os, "write", full)
    for name in ("one", "two", "three"):
        log.info(name)
    log.flush()
    log.info("four")
    log.flush()  # the disk is still full
    monkeypatch.setattr(os, "write", real)
    log.info("five")
    log.flush()
    names = [line["event"] for line in lines()]
    assert names[-1] == "five"
    assert names[:-1] == ["one", "two", "three"][: len(names) - 1]


def test_lines_below_the_level_are_omitted(lines):
    for level, kept in (("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("ERROR", 1)):
        log.configure(level)
        for write in (log.debug, log.info, log.warning, log.error):
            write("event")
        log.flush()
        assert len(lines()) == kept, level


async def test_lines_are_batched_and_written_in_order(lines):
    for number in range(100):
        log.info("event", number=number)
    deadline = time.monotonic() + 10
    found: list[dict] = []
    while len(found) < 100 and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
        found += lines()
    assert [line["number"] for line in found] == list(range(100))


@pytest.mark.parametrize("write", [log.warning, log.error])
def test_errors_are_written_at_once_with_the_pending_lines(lines, write):
    log.info("before")
    write("wrong")
    assert [line["event"] for line in lines()] == ["before", "wrong"]


def test_non_json_value_is_written_as_text(lines):
    log.info("event", error=ValueError("broken"), path=os)
    log.flush()
    assert lines()[0]["error"] == "broken"


def test_closed_log_does_no_harm(lines, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(log._log, "descriptor", writing)
    log.error("event")
    log.flush()
    os.close(writing)
    assert log._log._lines == []


def test_library_warning_is_a_line_without_the_quoted_source(lines):
    logger = logging.getLogger("tests.library")
    handler = log.Libraries()
    logger.addHandler(handler)
    try:
        try:
            raise ValueError("s3cret")
        except ValueError:
            logger.exception("Task exception was never retrieved\nfuture: s3cret")
        logger.warning("Slow: %s", "s3cret")
    finally:
        logger.removeHandler(handler)
    first, second = lines()
    assert (first["level"], first["event"], first["library"]) == ("error", "library", "tests.library")
    assert (first["message"], first["error"]) == ("Task exception was never retrieved", "ValueError")
    assert "test_log.py" in first["where"][0]
    assert (second["level"], second["message"], second["error"], second["where"]) == ("warning", "Slow: %s", None, [])
    assert "s3cret" not in str(first) + str(second)
