"""Who may call: anyone who holds an API key that is good for the route.

Takes the header `Authorization: Bearer <key>` (or `X-API-Key`), lets the request pass or answers
401 or 403; never logs a key.
"""

from time import time
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from api.deps import ServicesOf
from api.errors import Forbidden, Unauthorized
from api.scopes import needed
from graphsvc.keys import Caller

_bearer = HTTPBearer(auto_error=False, description="The API key as a bearer token.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The API key.")


async def require_key(
    request: Request,
    services: ServicesOf,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
    header: Annotated[str | None, Security(_header)] = None,
) -> Caller:
    """Whose key was sent; raises `Unauthorized`, and `Forbidden` where it is not good for this."""
    presented = bearer.credentials if bearer else header
    if not presented:
        raise Unauthorized
    caller = services.known_keys.recall(presented)
    if caller is None:
        caller = await to_thread.run_sync(services.known_keys.verify, presented)
    if caller is None:
        raise Unauthorized("the key is not valid; `graphsvc key create` makes a new one")
    if caller.expired(time()):
        raise Unauthorized(
            f"the key {caller.id} has expired; `graphsvc key create` makes a new one"
        )
    template = request.scope["route"].path
    scope = needed(request.method, template)
    if not caller.may(scope):
        raise Forbidden(
            f"{request.method} {template} needs a key with the scope {scope}; the key {caller.id} "
            f"has {', '.join(sorted(caller.scopes))}"
        )
    return caller


CallerOf = Annotated[Caller, Depends(require_key)]


async def _id_of(caller: CallerOf) -> str:
    return caller.id


KeyNeeded = Depends(require_key)
#: For a route that has to know who calls: the id of the key.
KeyOf = Annotated[str, Depends(_id_of)]
