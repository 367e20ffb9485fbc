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
    ("PUT", f"{_ENTITY}"): INGEST,
    ("DELETE", f"{_ENTITY}"): INGEST,
    ("POST", f"{_ENTITY}/restore"): INGEST,
    ("POST", f"{_ENTITY}/merge"): INGEST,
    ("GET", f"{_ENTITY}"): READ,
    ("GET", f"{_ENTITY}/history"): READ,
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
    ("GET", "/metrics"): READ,
}


def needed(method: str, template: str) -> str:
    """The scope that a route needs."""
    # FastAPI's template of an id that may hold slashes says so: {id:path}.
    return NEEDS.get((method, template.replace(":path}", "}")), ADMIN)
