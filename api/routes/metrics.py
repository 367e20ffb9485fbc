"""Counters and timings for Prometheus."""

from fastapi import APIRouter, Response

from api.deps import ServicesOf

router = APIRouter(tags=["health"])

_EXAMPLE = 'graphsvc_events_total{verdict="accepted"} 1000.0\n'


@router.get(
    "/metrics",
    summary="Counters and timings in Prometheus' text format",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"example": _EXAMPLE}}}},
)
def metrics(services: ServicesOf) -> Response:
    return Response(services.telemetry.text(), media_type="text/plain; version=0.0.4")
