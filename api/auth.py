"""Who may call: anyone who holds an API key.

Takes the header `Authorization: Bearer <key>` (or `X-API-Key`), lets the request pass or answers
401; never logs a key.
"""

from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from api.deps import ServicesOf
from api.errors import Unauthorized
from graphsvc import keys

_bearer = HTTPBearer(auto_error=False, description="The API key as a bearer token.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The API key.")


def require_key(
    services: ServicesOf,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
    header: Annotated[str | None, Security(_header)] = None,
) -> str:
    """The id of the key that was sent; raises `Unauthorized`."""
    presented = bearer.credentials if bearer else header
    if not presented:
        raise Unauthorized
    with services.database.reading() as connection:
        key_id = keys.verify(connection, presented)
    if key_id is None:
        raise Unauthorized("the key is not valid; `graphsvc key create` makes a new one")
    return key_id


KeyNeeded = Depends(require_key)
#: For a route that has to know who calls: the id of the key.
KeyOf = Annotated[str, KeyNeeded]
