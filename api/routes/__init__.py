"""The routes under /v1, one file per noun; each holds its own request and answer shapes."""

from fastapi import APIRouter

from api.auth import KeyNeeded
from api.routes import (
    acts,
    answers,
    artifacts,
    audit,
    bulk,
    decisions,
    entities,
    erasures,
    events,
    graph,
    health,
    history,
    jobs,
    keys,
    lifecycle,
    metrics,
    neighbors,
    promotions,
    recommendations,
    retrains,
    schema,
    scores,
)

#: Open to anyone who can connect: whether the server is up. It tells nothing else.
OPEN: tuple[APIRouter, ...] = (health.router,)
#: Everything else needs a key. What is asked most often stands first: routes are tried in order.
KEYED: tuple[APIRouter, ...] = (
    scores.router,
    recommendations.router,
    events.router,
    bulk.router,
    # Before the entity itself, whose id may hold slashes.
    lifecycle.router,
    history.router,
    acts.router,
    neighbors.router,
    entities.router,
    graph.router,
    schema.router,
    answers.router,
    retrains.router,
    jobs.router,
    artifacts.router,
    promotions.router,
    decisions.router,
    erasures.router,
    audit.router,
    keys.router,
    metrics.router,
)

__all__ = ["KEYED", "OPEN", "KeyNeeded"]
