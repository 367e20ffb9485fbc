"""What a view works with: the services, who looks at it, and what they may do.

Takes the app and a session, gives what the routes would give the same caller; every act is checked
against the table of scopes, bounded and written down as if it had come over HTTP.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import time
from typing import Any, TypeVar

from anyio import to_thread
from fastapi import FastAPI, Request
from nicegui import ui
from pydantic import ValidationError

from api import auditing, problems
from api.audit_rows import BROKEN, DONE, became
from api.deps import Services
from api.errors import ApiError, Forbidden, TooMany, Unauthorized
from api.scopes import AUDITED, needed
from graphsvc import keys
from graphsvc.errors import GraphError
from graphsvc.ids import EntityId
from graphsvc.keys import Caller
from graphsvc.wording import causes, sentence
from kge.errors import KgeError
from ranking.errors import RankingError

Found = TypeVar("Found")
#: What a caller can cause; all else is a fault here.
ERRORS = (ApiError, GraphError, KgeError, RankingError, ValidationError)
#: Of an act that ended well, and of one that nobody foresaw.
_INVALID = 422


@dataclass(frozen=True, slots=True)
class Desk:
    """A view's way to the service, for one person who looks at it."""

    app: FastAPI
    #: Of whoever signed in; it may end while they look.
    session: str

    @classmethod
    def of(cls, app: FastAPI, request: Request) -> "Desk":
        return cls(app, request.state.session)

    @property
    def services(self) -> Services:
        found: Services = self.app.state.services
        return found

    async def see(
        self, route: tuple[str, str], work: Callable[[Services], Found], *, unasked: bool = False
    ) -> Found:
        """What a route would show them. Raises what it would answer.

        `unasked`: a view looks again by itself, which is no use of a session or a key.
        """
        key = self._admitted(route, unasked=unasked)

        def seen() -> Found:
            self._check(key, route)
            return work(self.services)

        return await to_thread.run_sync(seen)

    async def ask(
        self, route: tuple[str, str], work: Callable[[Services, str], Awaitable[Found]]
    ) -> Found:
        """The same of a route that computes in turns; it is given the id of the key."""
        key = self._admitted(route)
        await to_thread.run_sync(self._check, key, route)
        return await work(self.services, key)

    async def act(
        self,
        route: tuple[str, str],
        path: Mapping[str, Any],
        work: Callable[[Services, str], Found],
    ) -> Found:
        """Do what a route would do for them; `path` is what its address would name.

        Raises what it would answer.
        """
        key = self._admitted(route)

        def done() -> Found:
            self._check(key, route)
            if route not in AUDITED:
                return work(self.services, key)
            database = self.services.database
            number, status = auditing.asked(database, key, route, path), BROKEN
            with auditing.telling() as told:
                try:
                    found = work(self.services, key)
                    status = DONE
                except ERRORS as error:
                    status = _status(error)
                    raise
                finally:
                    became(database, number, status, told)
            return found

        return await to_thread.run_sync(done)

    def hand(self, entity: EntityId) -> None:
        """Begin the next view that asks with an entity."""
        self.app.state.sessions.hand(self.session, entity)

    def handed(self) -> EntityId | None:
        """The entity that a view before handed over, once."""
        found: EntityId | None = self.app.state.sessions.handed(self.session)
        return found

    def _admitted(self, route: tuple[str, str], *, unasked: bool = False) -> str:
        """The id of their key, as often as it may; asked in the event loop, as both want it.

        Raises `Unauthorized` where their session has ended.
        """
        key: str | None = self.app.state.sessions.key(self.session, used=not unasked)
        if key is None:
            raise Unauthorized("your session has ended; sign in again")
        if not unasked:
            self.services.known_keys.used(key)
        seconds = self.services.rates.wait(key, needed(route))
        if seconds:
            raise TooMany("that is too often; wait a moment", retry_after=math.ceil(seconds))
        return key

    def _check(self, key: str, route: tuple[str, str]) -> Caller:
        """Who they are now: the key may have been revoked since they signed in."""
        with self.services.database.reading() as connection:
            caller = keys.known(connection, key)
        if caller is None or caller.expired(time()):
            raise Unauthorized("your key was revoked or has expired; sign in again")
        scope = needed(route)
        if not caller.may(scope):
            raise Forbidden(
                f"this needs a key with the scope {scope}, which yours lacks; `graphsvc key "
                f"create --scope {scope}` makes one"
            )
        return caller


def told(error: Exception) -> str:
    """Why something could not be done, in a sentence."""
    if isinstance(error, ValidationError):
        first = causes(error.errors())[0]
        field = ".".join(map(str, first["loc"]))
        return f"{field}: {sentence(first)}" if field else sentence(first)
    return str(error)


def tell(error: Exception) -> None:
    """Say it to whoever looks."""
    close = [{"label": "Close", "color": "white"}]
    ui.notify(told(error), type="negative", multi_line=True, timeout=0, actions=close)


def say_in(
    place: ui.element, error: Exception, again: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Say it where the answer would have been.

    What was only too often is asked `again` by itself, when it may be.
    """
    with place, ui.card().classes("w-full"):
        said = ui.label(told(error)).props("role=alert")
    if isinstance(error, TooMany) and again is not None and place.parent_slot is not None:
        seconds = error.retry_after or 1
        said.set_text(f"That was too often; this fills by itself in {seconds} s.")

        async def once_more() -> None:
            if not said.is_deleted:  # else something else was asked for meanwhile
                await again()

        # Beside the place: a timer that is cleared away ends what it has begun.
        with place.parent_slot.parent:
            ui.timer(seconds, once_more, once=True)


def _status(error: Exception) -> int:
    if isinstance(error, ValidationError):
        return _INVALID
    return problems.status_of(error) or BROKEN
