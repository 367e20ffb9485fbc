"""What the OpenAPI document says beyond what FastAPI reads off the routes.

Takes an app, changes how it describes itself; never how it behaves.
"""

from typing import Any

from fastapi import FastAPI

from api.idempotency import HEADER, KEY_PATTERN, METHODS
from api.routes.events import EventBatch

_KEY: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "A name of yours for this request. Sent again under it within a day, the "
    "request is not run again: its first answer comes again, with `Idempotent-Replayed: true`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": KEY_PATTERN},
    "example": "order-4711",
}


def complete(app: FastAPI) -> None:
    """Name the shapes that routes read raw, for speed, and the header that a middleware reads."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            shape = EventBatch.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas = document["components"]["schemas"]
            schemas.update(shape.pop("$defs"))
            schemas["EventBatch"] = shape
            for operations in document["paths"].values():
                for method, operation in operations.items():
                    if method.upper() in METHODS:
                        operation.setdefault("parameters", []).append(_KEY)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
