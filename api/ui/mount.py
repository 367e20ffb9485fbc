"""Puts the page on an app: the door, the views, NiceGUI behind them.

Takes an app that is complete, adds what lies under `/ui`. NiceGUI is one per process, so an app of
a process has it, once; an app of a test has none.
"""

from fastapi import FastAPI
from nicegui import ui
from starlette.middleware import Middleware

from api.ui import access, graph, jobs, models, neighbors, overview, points, score
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
    View("/access", "Keys and settings", "key", access.draw),
)
_RECONNECT_SECONDS = 10.0


def mount(app: FastAPI) -> None:
    """The page on this app, before it starts."""
    sessions = Sessions()
    app.include_router(router(sessions))
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
    app.state.sessions = sessions
    # Innermost: what it answers is traced, bounded and has its headers like all else.
    app.user_middleware.append(Middleware(Entrance, sessions=sessions))
