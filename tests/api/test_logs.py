"""Lines of the log: JSON for machines, text for people, and no text of errors nobody foresaw."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from api import logs
from api.logs import JsonLines, TextLines, trace_id

SECRET = "u1@example.org"


@pytest.fixture
def logger() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    made, kept = logging.getLogger("graphsvc.test_logs"), io.StringIO()
    handler = logging.StreamHandler(kept)
    made.addHandler(handler)
    made.propagate = False
    made.setLevel(logging.INFO)
    yield made, kept
    made.removeHandler(handler)
    made.propagate = True


def _fail() -> None:
    raise ValueError(f"no such person: {SECRET}")


@pytest.mark.parametrize("form", [JsonLines(), TextLines()])
def test_an_error_is_told_by_class_and_place_and_never_by_what_it_says(logger, form) -> None:
    log, kept = logger
    log.handlers[0].setFormatter(form)
    try:
        _fail()
    except ValueError:
        log.exception("unexpected error")
    told = kept.getvalue()
    assert SECRET not in told
    assert "unexpected error" in told
    assert "builtins.ValueError" in told
    assert "test_logs.py" in told
    assert "_fail" in told


def test_a_line_is_one_object_with_its_fields(logger) -> None:
    log, kept = logger
    log.handlers[0].setFormatter(JsonLines())
    reset = trace_id.set("ab" * 16)
    log.info("answered\n%s", "twice", extra={"fields": {"status": 200, "ms": 1.5}})
    trace_id.reset(reset)
    log.warning("alone")
    first, second = (json.loads(line) for line in kept.getvalue().splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "logger": "graphsvc.test_logs",
        "message": "answered\ntwice",
        "trace_id": "ab" * 16,
        "status": 200,
        "ms": 1.5,
    }
    assert "trace_id" not in second


def test_people_get_text_and_pipes_get_json(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    kept, level = list(root.handlers), root.level
    try:
        for form, terminal, as_json in (
            ("auto", False, True),
            ("auto", True, False),
            ("json", True, True),
            ("text", False, False),
        ):
            monkeypatch.setattr("sys.stderr.isatty", lambda there=terminal: there)
            logs.begin(form)
            logging.getLogger("graphsvc.test_logs").warning("hello")
            line = capsys.readouterr().err
            assert line.startswith("{") is as_json
            assert "hello" in line
        for told in ((), logs.SERVED):
            logs.begin("json", told=told)
            logging.getLogger("graphsvc.requests").info("answered")
            assert ("answered" in capsys.readouterr().err) is bool(told)
    finally:
        root.handlers[:] = kept
        root.setLevel(level)
        logging.getLogger("graphsvc.requests").setLevel(logging.NOTSET)
