"""Which scope each route needs: the one table of who may do what.

Takes a method and a route's template, gives a scope; never looks at a key.
"""

from collections.abc import Mapping

INGEST, READ, SCORE, TRAIN, ADMIN = "ingest", "read", "score", "train", "admin"

_ENTITY = "/v1/entities/{type}/{id}"
#: (method, template) -> scope. A route that is not here would be open to `admin` alone.
NEEDS: Mapping[tuple[str, str], str] = {
    ("POST", "/v1/score"): SCORE,
    ("POST", "/v1/recommend"): SCORE,
    ("POST", "/v1/events"): INGEST,
    ("POST", "/v1/events/bulk"): INGEST,
    ("PUT", _ENTITY): INGEST,
    ("DELETE", _ENTITY): INGEST,
    ("POST", f"{_ENTITY}/restore"): INGEST,
    ("POST", f"{_ENTITY}/merge"): INGEST,
    ("GET", _ENTITY): READ,
    ("GET", f"{_ENTITY}/history"): READ,
    ("GET", f"{_ENTITY}/events"): READ,
    ("GET", f"{_ENTITY}/neighbors"): READ,
    ("GET", f"{_ENTITY}/edges"): READ,
    ("GET", "/v1/entities/{type}"): READ,
    ("POST", "/v1/neighbors"): READ,
    ("GET", "/v1/graph"): READ,
    ("GET", "/v1/schema"): READ,
    ("PUT", "/v1/schema"): ADMIN,
    ("GET", "/v1/answers"): READ,
    ("GET", "/v1/answers/{request_id}"): READ,
    ("POST", "/v1/retrains"): TRAIN,
    ("GET", "/v1/jobs"): READ,
    ("GET", "/v1/jobs/{id}"): READ,
    ("GET", "/v1/jobs/{id}/log"): READ,
    ("POST", "/v1/jobs/{id}/cancel"): TRAIN,
    ("POST", "/v1/jobs/{id}/resume"): TRAIN,
    ("POST", "/v1/jobs/{id}/retry"): TRAIN,
    ("GET", "/v1/artifacts"): READ,
    ("GET", "/v1/artifacts/{digest}"): READ,
    ("GET", "/v1/artifacts/{digest}/certificate"): READ,
    ("POST", "/v1/artifacts/{digest}/promote"): TRAIN,
    ("GET", "/v1/promotions"): READ,
    ("POST", "/v1/promotions"): TRAIN,
    ("GET", "/v1/decisions"): READ,
    ("GET", "/v1/decisions/{id}"): READ,
    ("GET", "/v1/erasures"): READ,
    ("GET", "/v1/erasures/{number}"): READ,
    ("GET", "/v1/audit"): ADMIN,
    ("GET", "/v1/keys"): ADMIN,
    ("POST", "/v1/keys"): ADMIN,
    ("POST", "/v1/keys/{id}/rotate"): ADMIN,
    ("DELETE", "/v1/keys/{id}"): ADMIN,
    ("GET", "/metrics"): READ,
}
#: What the audit log holds: all that trains, promotes or rules, and what ends a thing's life.
#: Everything else that writes is ingestion, which has the log of events.
AUDITED = frozenset(
    route for route, scope in NEEDS.items() if route[0] != "GET" and scope in (TRAIN, ADMIN)
) | {("DELETE", _ENTITY), ("POST", f"{_ENTITY}/restore"), ("POST", f"{_ENTITY}/merge")}


def route_of(method: str, template: str) -> tuple[str, str]:
    """A route as it is named here: FastAPI says of an id that it may hold slashes, {id:path}."""
    return method, template.replace(":path}", "}")


def needed(route: tuple[str, str]) -> str:
    """The scope that a route needs."""
    return NEEDS.get(route, ADMIN)
