"""The OpenAPI document keeps its word: schemathesis asks what it allows, and what it does not.

Against a copy of the trained service, since what is asked may change anything. The requests are the
same at every run.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from running import free_port
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from api.routes.bulk import PATH
from api.settings import Settings
from api.setup import prepare

#: Requests per operation and kind; all of them take about a minute.
EXAMPLES, EXAMPLES_WITHOUT_KEY = 40, 3

#: Refusing a request whole; schemathesis does not think of the first three by itself.
REFUSALS = ["413", "414", "431", "400", "401", "404", "405", "409", "415", "422"]

#: Paths that take what is well and say for the rest what is wrong with it, one by one.
VERDICTS_INSIDE = {PATH, "/v1/events"}

#: Not asked for here, and why.
NOT_CHECKED = {
    # A path that fits the document may still name nothing, and a body may contradict the schema.
    "positive_data_acceptance",
    # Needs requests of its own; tests/api/test_auth.py looks at keys.
    "ignored_auth",
    "object_level_authorization",
    "use_after_free",
    "ensure_resource_availability",
}


@schemathesis.serializer("application/x-ndjson")
def _lines(_context: Any, value: Any) -> bytes:
    """A body of lines is a text; what is none is sent as JSON, which is a line as well."""
    return value.encode(errors="replace") if isinstance(value, str) else json.dumps(value).encode()


pytestmark = pytest.mark.parametrize("trained", ["sqlite"], indirect=True)


@pytest.fixture(scope="module")
def copied(
    trained: Any, serving: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """A server of its own on a copy of what was trained: its address and key."""
    folder = tmp_path_factory.mktemp("copy") / "data"
    folder.mkdir()
    source = trained.settings.data_dir
    shutil.copytree(source / "artifacts", folder / "artifacts")
    _copy_sqlite(source / "graph.sqlite", folder / "graph.sqlite")
    own = trained.settings.model_copy(update={"data_dir": folder, "port": free_port()})
    assert isinstance(own, Settings)
    prepare(own)
    with serving(own) as http:
        yield str(http.base_url).rstrip("/"), trained.key


def _copy_sqlite(source: Path, target: Path) -> None:
    """In a process of its own: closing a file here would drop the locks of those who use it."""
    code = (
        "import sqlite3, sys; "
        "a, b = map(sqlite3.connect, sys.argv[1:]); a.backup(b); b.close(); a.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(source), str(target)], check=True)


@pytest.mark.slow_as("negative-*")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_answers_are_as_documented(copied: tuple[str, str], mode: GenerationMode) -> None:
    base, key = copied
    headers = {"Authorization": f"Bearer {key}"}
    found = _ask_all(base, mode, headers, EXAMPLES)
    assert not found, "\n\n".join(found)


def test_without_a_key(copied: tuple[str, str]) -> None:
    base, _ = copied
    found = _ask_all(base, GenerationMode.POSITIVE, {}, EXAMPLES_WITHOUT_KEY)
    assert not found, "\n\n".join(found)


def _ask_all(base: str, mode: GenerationMode, headers: dict[str, str], examples: int) -> list[str]:
    """What every operation answered wrongly, in words."""
    load_all_checks()
    checks = [check for check in CHECKS.get_all() if _name(check) not in NOT_CHECKED]
    assert len(checks) >= 6
    document = httpx.get(f"{base}/openapi.json").json()
    wrong = []
    refusing = {"checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}}}
    config = schemathesis.Config.from_dict(refusing)
    for result in schemathesis.openapi.from_dict(document, config=config).get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and not _can_be_wrong(operation):
            continue
        told = [
            c
            for c in checks
            if operation.path not in VERDICTS_INSIDE or _name(c) != "negative_data_rejection"
        ]
        call = _Call(base, headers, told)
        asked = given(case=operation.as_strategy(generation_mode=mode))(_test_of(call))
        bounded = settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )(asked)
        try:
            bounded()
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  all are told together
            parts = getattr(error, "exceptions", [error])
            says = "\n".join(f"{type(part).__name__}: {part}"[:1500] for part in parts)
            wrong.append(f"{operation.method.upper()} {operation.path} ({mode.value})\n{says}")
    return wrong


@dataclass(frozen=True)
class _Call:
    """How each case is asked."""

    base: str
    headers: dict[str, str]
    checks: list[Any]

    def __call__(self, case: Any) -> None:
        for name in list(case.headers or ()):  # a key is what this test says, not what is made up
            if name.lower() in ("authorization", "x-api-key"):
                del case.headers[name]
        answer = case.call(base_url=self.base, headers=self.headers, timeout=20)
        case.validate_response(answer, checks=self.checks)
        if not self.headers and case.path.startswith(("/v1", "/metrics")):
            assert answer.status_code in (400, 401), "without a key there is no answer"


def _test_of(call: _Call) -> Any:
    def ask(case: Any) -> None:
        call(case)

    return ask


def _name(check: Any) -> str:
    return str(getattr(check, "__name__", type(check).__name__))


def _can_be_wrong(operation: Any) -> bool:
    return bool(operation.body or operation.query or operation.headers or operation.path_parameters)
