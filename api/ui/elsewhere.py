"""What `/ui` is at a server process that has no page, since there are several.

Takes the port of the process that has it, gives the way there, or what to do where there is none.
"""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.ui import plain
from api.ui.entrance import ROOT


def router(port: int) -> APIRouter:
    """The routes at and under `/ui`. `port`: 0 where no process has the page."""
    made = APIRouter(include_in_schema=False)

    @made.get(ROOT)
    @made.get(f"{ROOT}/{{view:path}}")
    async def elsewhere(request: Request, view: str = "") -> Response:
        if not port:
            return HTMLResponse(plain.no_page())
        return RedirectResponse(
            str(request.url.replace(port=port, path=f"{ROOT}/{view}", query=""))
        )

    return made
