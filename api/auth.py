"""Who may call: anyone who holds an API key that is good for the route.

Takes the header `Authorization: Bearer <key>` (or `X-API-Key`), lets the request pass or answers
401, 403 or 429; never logs a key.
"""

from math import ceil
from time import time
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.datastructures import Headers

from api import auditing
from api.deps import Services, ServicesOf
from api.errors import Forbidden, TooMany, Unauthorized
from api.rates import UNKNOWN
from api.scopes import needed, route_of
from graphsvc import keys
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
    caller = await caller_of(services, presented, request.client.host if request.client else "")
    if caller is None:
        raise Unauthorized("the key is not valid; `graphsvc key create` makes a new one")
    request.state.key = caller.id
    if caller.expired(time()):
        raise Unauthorized(
            f"the key {caller.id} has expired; `graphsvc key create` makes a new one"
        )
    route = route_of(request.method, request.scope["route"].path)
    scope = needed(route)
    if not caller.may(scope):
        raise Forbidden(
            f"{' '.join(route)} needs a key with the scope {scope}; the key {caller.id} "
            f"has {', '.join(sorted(caller.scopes))}"
        )
    if wait := services.rates.wait(caller.id, scope):
        raise TooMany(
            f"the key {caller.id} asks for {scope} too often: GRAPHSVC_RATES__{scope.upper()} is "
            f"{getattr(services.rates.config, scope):g} requests a second",
            retry_after=ceil(wait),
        )
    services.known_keys.used(caller.id)
    await auditing.note(request, services, caller.id, route)
    return caller


async def caller_of(services: Services, presented: str, address: str) -> Caller | None:
    """Whose key was presented, which may have expired; None of none.

    An address that presents keys which do not exist may do so only so often, so that guessing
    keeps no database busy. Raises `TooMany` then, but not of keys that were good a while ago.
    """
    caller = services.known_keys.recall(presented)
    if caller is not None or not keys.shaped(presented):
        return caller
    if not services.known_keys.was_good(presented) and (wait := services.rates.refused(address)):
        raise TooMany(
            "keys that do not exist come from your address too often", retry_after=ceil(wait)
        )
    caller = await to_thread.run_sync(services.known_keys.verify, presented)
    if caller is None:
        services.rates.wait(address, UNKNOWN)
    return caller


def presented_in(headers: Headers) -> str:
    """What is presented as a key; "" where nothing is."""
    kind, _, credentials = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and credentials:
        return credentials.strip()
    return headers.get("x-api-key", "")


CallerOf = Annotated[Caller, Depends(require_key)]


async def _id_of(caller: CallerOf) -> str:
    return caller.id


KeyNeeded = Depends(require_key)
#: For a route that has to know who calls: the id of the key.
KeyOf = Annotated[str, Depends(_id_of)]
