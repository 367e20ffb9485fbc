"""Who may call: anyone who holds an API key.

Takes the header `Authorization: Bearer <key>` (or `X-API-Key`), lets the request pass or answers
401; never logs a key.
"""

from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from api.deps import ServicesOf
from api.errors import Unauthorized

_bearer = HTTPBearer(auto_error=False, description="The API key as a bearer token.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The API key.")


async def require_key(
    services: ServicesOf,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
    header: Annotated[str | None, Security(_header)] = None,
) -> str:
    """The id of the key that was sent; raises `Unauthorized`."""
    presented = bearer.credentials if bearer else header
    if not presented:
        raise Unauthorized
    key_id = services.known_keys.recall(presented)
    if key_id is None:
        key_id = await to_thread.run_sync(services.known_keys.verify, presented)
    if key_id is None:
        raise Unauthorized("the key is not valid; `graphsvc key create` makes a new one")
    return key_id


KeyNeeded = Depends(require_key)
#: For a route that has to know who calls: the id of the key.
KeyOf = Annotated[str, KeyNeeded]
