"""What a view works with: the services, who looks at it, and what they may do.

Takes the app, gives what the routes would give the same caller; every act is checked against the
table of scopes, bounded and written down as if it had come over HTTP.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import time
from typing import Any, TypeVar

from anyio import to_thread
from fastapi import FastAPI, Request
from nicegui import ui

from api import problems
from api.deps import Services
from api.errors import ApiError, Forbidden, TooMany, Unauthorized
from api.scopes import AUDITED, needed
from graphsvc import audit, keys
from graphsvc.errors import GraphError
from graphsvc.keys import Caller
from kge.errors import KgeError
from ranking.errors import RankingError

Found = TypeVar("Found")
#: What a caller can cause; all else is a fault here.
ERRORS = (ApiError, GraphError, KgeError, RankingError, ValueError)
_OK = 200


@dataclass(frozen=True, slots=True)
class Desk:
    """A view's way to the service, for one person who looks at it."""

    app: FastAPI
    #: The id of the key that they signed in with.
    key: str

    @classmethod
    def of(cls, app: FastAPI, request: Request) -> "Desk":
        return cls(app, request.state.session)

    @property
    def services(self) -> Services:
        found: Services = self.app.state.services
        return found

    def caller(self) -> Caller:
        """Who they are now: the key may have been revoked since. Raises `Unauthorized`."""
        with self.services.database.reading() as connection:
            caller = keys.known(connection, self.key)
        if caller is None or caller.expired(time()):
            raise Unauthorized("your key was revoked or has expired; sign in again")
        return caller

    async def see(self, route: tuple[str, str], work: Callable[[Services], Found]) -> Found:
        """What a route would show them. Raises what it would answer."""
        return await to_thread.run_sync(lambda: self._seen(route, work))

    def _seen(self, route: tuple[str, str], work: Callable[[Services], Found]) -> Found:
        self._check(route)
        return work(self.services)

    async def ask(
        self, route: tuple[str, str], work: Callable[[Services, str], Awaitable[Found]]
    ) -> Found:
        """The same of a route that computes in turns; it is given the id of the key."""
        await to_thread.run_sync(self._check, route)
        return await work(self.services, self.key)

    async def act(
        self,
        route: tuple[str, str],
        about: Mapping[str, Any],
        work: Callable[[Services, str], Found],
    ) -> Found:
        """Do what a route would do for them. Raises what it would answer."""
        return await to_thread.run_sync(lambda: self._done(route, about, work))

    def _done(
        self,
        route: tuple[str, str],
        about: Mapping[str, Any],
        work: Callable[[Services, str], Found],
    ) -> Found:
        self._check(route)
        if route not in AUDITED:
            return work(self.services, self.key)
        database, action = self.services.database, " ".join(route)
        with database.transaction() as connection:
            number = audit.asked(connection, self.key, action, about, now=int(time()))
        status = 500
        try:
            found = work(self.services, self.key)
            status = _OK
        except ERRORS as error:
            status = _status(error)
            raise
        finally:
            with database.transaction() as connection:
                audit.became(connection, number, status, now=int(time()))
        return found

    def _check(self, route: tuple[str, str]) -> None:
        scope = needed(route)
        if not self.caller().may(scope):
            raise Forbidden(f"this needs a key with the scope {scope}")
        if self.services.rates.wait(self.key, scope):
            raise TooMany("that is too often; wait a moment")


def tell(error: Exception) -> None:
    """Say in a sentence why something could not be done."""
    ui.notify(str(error), type="negative", multi_line=True, close_button=True, timeout=0)


def _status(error: Exception) -> int:
    try:
        return problems.answer_to(error).status_code
    except type(error):
        return 422
