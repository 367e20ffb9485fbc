"""The points of the map, and their colors, as browsers get them: numbers and no ids.

Takes the live trio and its map, gives bytes under `/ui`, to whoever is signed in. Every so many
rows of a large bundle are left out, so that a browser can draw the others.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.deps import Services
from api.errors import WrongState
from api.live import Trio
from api.ui.coloring import Coloring, by_attribute, by_type, colorable
from api.ui.desk import Desk
from api.ui.entrance import ROOT
from graphsvc import ledger
from graphsvc.errors import ArtifactMissing
from graphsvc.ids import EntityId
from kge.map import Map, open_map

#: As a view that shows what is known asks.
ROUTE = ("GET", "/v1/graph")
POINTS, COLORS = "/map/points", "/map/colors"
MOST_POINTS = 1_000_000
_FULL = 65_535
_BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Drawn:
    """The map of what is live, and the rows of the bundle that a browser draws."""

    trio: Trio
    map: Map

    @property
    def every(self) -> int:
        """Of so many rows one is drawn."""
        return max(1, -(-len(self.trio.bundle.ids) // MOST_POINTS))

    def places(self) -> bytes:
        """All of x, then all of y, as numbers of 16 bits."""
        return self._whole(slice(None, None, self.every)).tobytes()

    def place(self, row: int) -> tuple[int, int]:
        """Of one row, drawn or not."""
        x, y = self._whole(slice(row, row + 1))[:, 0].tolist()
        return x, y

    def entity(self, point: int) -> EntityId | None:
        """Who a drawn point is; None where there is none."""
        row, bundle = point * self.every, self.trio.bundle
        if not 0 <= row < len(bundle.ids) or not bundle.ids[row]:
            return None
        kinds = bundle.types.values()
        return next(EntityId(k.name, bundle.ids[row]) for k in kinds if k.start <= row < k.stop)

    def _whole(self, rows: slice) -> np.ndarray:
        shares = (self.map.points[rows].T.astype(np.float64) + 1) / 2
        return np.ascontiguousarray(np.rint(shares * _FULL).astype("<u2"))


def drawn(services: Services) -> Drawn:
    """The map of the live bundle. Raises `NotLiveYet`, and `ArtifactMissing` where it has none."""
    trio = services.live.trio()
    with services.database.reading() as connection:
        digest = ledger.map_of(connection, trio.bundle.digest)
    if digest is None:
        raise ArtifactMissing(
            "the live bundle has no map yet; the next retrain makes one, as does `graphsvc map "
            f"{trio.bundle.digest}`"
        )
    return Drawn(trio, open_map(services.store, digest, trio.bundle))


def choices(services: Services) -> dict[str, str]:
    """What points can be colored by -> how that is called."""
    kinds = services.live.trio().bundle.types
    found = {"": "type"}
    for name, entity in services.schema.entities.items():
        if name in kinds:
            for attribute in colorable(dict(entity.attributes)):
                found[f"{name}.{attribute}"] = f"{name}: {attribute}"
    return found


def colors(services: Services, by: str) -> Coloring:
    """By one of the choices; by type where it is none of them any more."""
    trio = services.live.trio()
    if by not in choices(services) or not by:
        return by_type(trio)
    type_, _, attribute = by.partition(".")
    with services.database.reading() as connection:
        column = trio.columns.get(connection, type_, attribute)
    return by_attribute(trio, column, services.schema.entities[type_].attributes[attribute])


def router() -> APIRouter:
    """The routes that the view's own script asks; `digest` is the map's that it shows."""
    made = APIRouter(include_in_schema=False)

    @made.get(f"{ROOT}{POINTS}/{{digest}}")
    async def points(request: Request, digest: str) -> Response:
        desk = Desk.of(request.app, request)
        body = await desk.see(ROUTE, lambda services: _same(services, digest).places())
        return Response(body, media_type=_BYTES)

    @made.get(f"{ROOT}{COLORS}/{{digest}}")
    async def painted(request: Request, digest: str, by: str = "") -> Response:
        desk = Desk.of(request.app, request)
        body = await desk.see(ROUTE, lambda services: _packed(services, digest, by))
        return Response(body, media_type=_BYTES)

    return made


def _same(services: Services, digest: str) -> Drawn:
    """What is drawn, if it still is what the browser has. Raises `WrongState`."""
    found = drawn(services)
    if found.map.digest != digest:
        raise WrongState("another bundle is live by now; load the page again")
    return found


def _packed(services: Services, digest: str, by: str) -> bytes:
    """The legend as JSON behind its length, then a code for each point."""
    found = _same(services, digest)
    told = colors(services, by)
    head = {"colors": told.colors, "legend": [asdict(entry) for entry in told.legend]}
    text = json.dumps(head).encode()
    codes = told.codes[:: found.every]
    return len(text).to_bytes(4, "little") + text + codes.tobytes()
