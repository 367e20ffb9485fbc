"""The service as the demo uses it: over HTTP, with a key, as any application would.

Takes plain values, gives the service's answers; a refusal becomes one sentence.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

import httpx
import orjson

from api.errors import ApiError

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.25


class ServiceFailed(ApiError):
    """The service did not answer as expected; its log is above."""


class Client:
    """One connection to a running service."""

    def __init__(self, url: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=60.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._http.close()

    def wait_ready(self, ended: Callable[[], str | None]) -> None:
        """Wait until the server answers; raises `ServiceFailed` if a process ends instead."""
        until = time.monotonic() + _READY_SECONDS
        while time.monotonic() < until:
            if dead := ended():
                raise ServiceFailed(f"the {dead} ended at its start")
            try:
                if self._http.get("/health/ready").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # not listening yet: that is what is waited for
            time.sleep(_POLL_SECONDS)
        raise ServiceFailed(f"the server was not ready after {_READY_SECONDS:.0f} s")

    def wait_generation(self, generation: int) -> None:
        """Wait until the server answers with a promotion: it polls the ledger, then loads."""
        until = time.monotonic() + _READY_SECONDS
        while self._call("GET", "/health/ready")["generation"] < generation:
            if time.monotonic() > until:
                raise ServiceFailed(f"generation {generation} was promoted and never served")
            time.sleep(_POLL_SECONDS)

    def post_events(self, events: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Post up to 1000 events; the answer holds the verdicts."""
        return self._call(
            "POST", "/v1/events?backfill=true", content=orjson.dumps({"events": events})
        )

    def retrain(self, request: Mapping[str, Any]) -> str:
        """Ask for a retrain; gives the job's id."""
        return str(self._call("POST", "/v1/retrains", content=orjson.dumps(request))["job"])

    def job(self, job_id: str) -> Mapping[str, Any]:
        return self._call("GET", f"/v1/jobs/{job_id}")

    def report(self, digest: str) -> Mapping[str, Any]:
        """The rows of a sealed report."""
        return self._call("GET", f"/v1/artifacts/{digest}")["payload"]

    def erase(self, type_: str, id_: str) -> Mapping[str, Any]:
        """Ask for a person to be erased; gives the erasure's number and the job's id."""
        return self._call("DELETE", f"/v1/entities/{type_}/{quote(id_)}")

    def graph(self) -> Mapping[str, Any]:
        return self._call("GET", "/v1/graph")

    def neighbors(self, type_: str, id_: str, k: int) -> Mapping[str, Any]:
        return self._call("GET", f"/v1/entities/{type_}/{id_}/neighbors", params={"k": k})

    def score(self, user: str, candidates: Sequence[str]) -> Mapping[str, Any]:
        body = {"head": {"type": "user", "id": user}, "candidates": candidates}
        return self._call("POST", "/v1/score", content=orjson.dumps(body))

    def _call(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        params: Mapping[str, int] | None = None,
    ) -> Mapping[str, Any]:
        answer = self._http.request(
            method,
            path,
            headers={"Content-Type": "application/json"},
            content=content,
            params=params,
        )
        body = orjson.loads(answer.content)
        if answer.is_error:
            raise ServiceFailed(f"{method} {path} answered {answer.status_code}: {body['detail']}")
        return body
