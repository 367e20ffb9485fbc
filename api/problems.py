"""Every error as a problem document (RFC 9457).

Takes exceptions, gives `application/problem+json`; never shows a traceback.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.types import Scope

from api.errors import STATUS, ApiError
from graphsvc.wording import causes, expected, sentence

_log = logging.getLogger("graphsvc.api")
_LONGEST_ECHO = 200
_LARGEST_ECHO = 1e15
_AROUND = 40

#: What the OpenAPI document says of every route that needs a key.
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {
        "description": title,
        "content": {
            "application/problem+json": {
                "example": {
                    "type": "about:blank",
                    "title": title,
                    "status": status,
                    "detail": "A sentence that says what to do.",
                }
            }
        },
    }
    for status, title in (
        (400, "Bad request"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "Not found"),
        (409, "Conflict"),
        (412, "Precondition failed"),
        (413, "Content too large"),
        (414, "Address too long"),
        (422, "Invalid request"),
        (429, "Too many requests"),
        (431, "Headers too large"),
        (503, "Database unavailable"),
        (507, "No space left"),
    )
}


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem document. `errors` names each field, the value received and what was expected."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = list(errors)
    return JSONResponse(
        body,
        status_code=status,
        media_type="application/problem+json",
        headers=dict(headers or {}),
    )


def install(app: FastAPI) -> None:
    """Answer every exception with a problem document."""
    app.add_exception_handler(ApiError, _known_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _known_error)
    for kind, *_ in STATUS:
        app.add_exception_handler(kind, _known_error)


def status_of(error: Exception) -> int:
    """The status of an error's answer; 0 where it is none that was foreseen."""
    return _known(error)[0]


def answer_to(error: Exception) -> JSONResponse:
    """The problem document of an error that has a status; any other is raised again."""
    if isinstance(error, HTTPException):
        title = str(error.detail)
        return problem(error.status_code, title, title, headers=error.headers)
    status, title = _known(error)
    if not status:
        raise error
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(status, {})
    if isinstance(error, ApiError) and error.retry_after:
        headers = {"Retry-After": str(error.retry_after)}
    errors = getattr(error, "errors", ())
    return problem(status, title, str(error), errors=errors, headers=headers)


def _known(error: Exception) -> tuple[int, str]:
    if isinstance(error, ApiError):
        return error.status, error.title
    return next(((s, t) for kind, s, t in STATUS if isinstance(error, kind)), (0, ""))


def _known_error(_request: Request, error: Exception) -> JSONResponse:
    return answer_to(error)


def _validation_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    kind = request.headers.get("content-type", "none")
    if "json" not in kind and any(item["loc"] == ("body",) for item in error.errors()):
        detail = f"Content-Type should be application/json, received {kind}"
        return problem(422, "Invalid request", detail)
    model = _body_of(request)
    found = causes(error.errors())
    errors = [
        {
            "field": _field(item),
            "value": _came(item, error.body),
            "expected": expected(item, model),
        }
        for item in found
    ]
    detail = f"{_field(found[0])}: {sentence(found[0], model)}"
    if _breaks(found[0]):
        detail += f" at character {_breaks(found[0])}, received {_came(found[0], error.body)!r}"
    return problem(422, "Invalid request", detail, errors=errors)


def _breaks(item: ErrorDetails) -> int:
    """The number of the character at which a body is no JSON, from 1; 0 where it is another error.

    The framework has it for the place in the body.
    """
    return int(item["loc"][1]) + 1 if item["type"] == "json_invalid" and item["loc"][1:] else 0


def _came(item: ErrorDetails, body: Any) -> Any:
    """The value received; of a body that is no JSON what stands around the place."""
    if _breaks(item):  # the framework says {}, which nobody sent
        place = _breaks(item) - 1
        return _printed(str(body)[max(0, place - _AROUND) : place + _AROUND])
    return None if item["type"] == "missing" else _short(item.get("input"))


def _body_of(request: Request) -> Any:
    """What the route's body should be, if it takes one."""
    body = getattr(request.scope.get("route"), "body_field", None)
    return body.field_info.annotation if body else None


def _field(item: ErrorDetails) -> str:
    if _breaks(item):
        return str(item["loc"][0])
    return _printed(".".join(str(part) for part in item["loc"]))


def unexpected(scope: Scope, error: Exception) -> JSONResponse:
    """The answer to what nobody foresaw, which is written down by its class and its place."""
    # The route's template, not its path: paths hold personal ids.
    route = getattr(scope.get("route"), "path", "unknown route")
    _log.error("unexpected error in %s %s", scope["method"], route, exc_info=error)
    return problem(500, "Internal error", "Something went wrong here; the server's log says what.")


def _short(value: Any) -> Any:
    if isinstance(value, bool | None):
        return value
    if isinstance(value, int | float) and math.isfinite(value) and abs(value) < _LARGEST_ECHO:
        return value
    as_sent = isinstance(value, dict | list)
    text = json.dumps(value, ensure_ascii=False, default=str) if as_sent else str(value)
    return _printed(text)


def _printed(text: str) -> str:
    text = text[:_LONGEST_ECHO]
    return text.encode(errors="replace").decode()  # half pairs have no bytes
