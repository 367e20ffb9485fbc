"""Puts the page on an app: the door, the views, NiceGUI behind them.

Takes an app that is complete, adds what lies under `/ui`. NiceGUI is one per process, so an app of
a process has it, once; an app of a test has none.
"""

from fastapi import FastAPI, Request
from nicegui import app as nicegui
from nicegui import ui
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from api.ui import access, audit, graph, jobs, models, neighbors, overview, plain, points, score
from api.ui import map as map_view
from api.ui.entrance import ROOT, Entrance, router
from api.ui.sessions import Sessions
from api.ui.shell import View, install

VIEWS = (
    View("/", "Overview", "dashboard", overview.draw),
    View("/graph", "Graph", "hub", graph.draw),
    View("/neighbors", "Neighbors", "scatter_plot", neighbors.draw),
    View("/map", "Map", "map", map_view.draw),
    View("/score", "Score", "leaderboard", score.draw),
    View("/jobs", "Jobs", "model_training", jobs.draw),
    View("/models", "Models", "verified", models.draw),
    View("/audit", "Audit", "history", audit.draw),
    View("/access", "Keys and settings", "key", access.draw),
)
_RECONNECT_SECONDS = 10.0


async def _no_view(request: Request, _error: Exception) -> Response:
    """What an address that leads nowhere is answered; it is told to nobody, the log included."""
    if f"{ROOT}/_nicegui" in request.url.path:
        return PlainTextResponse("there is no such file", status_code=404)
    views = [(f"{ROOT}{view.path}", view.title) for view in VIEWS]
    return HTMLResponse(plain.no_view(views), status_code=404)


def mount(app: FastAPI, origin: str) -> None:
    """The page on this app, before it starts; `origin`: of a proxy in front of it, or empty."""
    sessions = Sessions()
    app.include_router(router(sessions, origin))
    app.include_router(points.router())
    install(app, VIEWS)
    ui.run_with(
        app,
        mount_path=ROOT,
        title="graphsvc",
        dark=None,
        show_welcome_message=False,
        reconnect_timeout=_RECONNECT_SECONDS,
    )
    nicegui.add_exception_handler(404, _no_view)
    app.state.sessions = sessions
    # Innermost: what it answers is traced, bounded and has its headers like all else.
    app.user_middleware.append(Middleware(Entrance, sessions=sessions, origin=origin))
