"""The command line: one verb per arrow of the picture.

Takes arguments, calls the functions that jobs and routes call, prints tables or JSON; the verbs lie
beside this file in `cli_*.py`. Exit codes: 0 done, 1 could not be done (the reason is on stderr),
2 wrong usage, 3 some events were rejected.
"""

import sys
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from api import logs
from api.cli_ask import ask_app
from api.cli_data import data_app
from api.cli_erase import erase_app
from api.cli_export import export_app
from api.cli_gate import gate_app
from api.cli_jobs import jobs_app
from api.cli_keys import key_app
from api.cli_schema import schema_app
from api.errors import ApiError
from api.printing import AsJson, Output, out
from api.settings import read_settings
from graphsvc.errors import GraphError
from graphsvc.wording import causes, sentence
from kge.errors import KgeError
from ranking.errors import RankingError

app = typer.Typer(
    help="graphsvc: events become a graph, embeddings, rankers and scores.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verbs in (data_app, jobs_app, gate_app, ask_app, erase_app, export_app):
    app.add_typer(verbs)
app.add_typer(key_app, name="key")
app.add_typer(schema_app, name="schema")


@app.command()
def up(*, as_json: AsJson = False) -> None:
    """Run server and worker until Ctrl-C; prepares everything at the first start."""
    from api.processes import check_ports, run_pair

    settings = read_settings()
    check_ports(settings)  # before anything slow is begun, and before a key is made

    from api.setup import prepare

    key = prepare(settings)
    where = f"http://{settings.host}:{settings.port}"
    told = {"url": where, "page": f"{where}/ui" if settings.page else None}
    out(Output({**told, "docs": f"{where}/docs", "key": key}), as_json=as_json)
    raise typer.Exit(run_pair(settings))


@app.command()
def serve() -> None:
    """Run the HTTP server alone."""
    from contextlib import nullcontext

    import uvicorn

    from api.listening import serve_by_several
    from api.processes import KEEP_ALIVE, PageProcess, check_ports
    from api.setup import prepare

    settings = read_settings()
    check_ports(settings)
    key = prepare(settings)
    if key:
        sys.stdout.write(f"API key, shown this once: {key}\n")
        sys.stdout.flush()
    served: dict[str, Any] = {
        "app": "api.app:from_environment",
        "factory": True,
        "host": settings.host,
        "port": settings.port,
        "timeout_keep_alive": KEEP_ALIVE,
        "log_level": "warning",
        "log_config": None,  # through our own lines, which quote no error
        "access_log": False,  # paths hold ids of people
        "proxy_headers": False,  # anybody can say that they are somebody else's proxy
    }
    if settings.processes > 1:
        with PageProcess(settings) if settings.page_apart else nullcontext():
            serve_by_several(uvicorn.Config(**served, workers=settings.processes))
    else:
        uvicorn.run(**served)


@app.command()
def worker(
    *,
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another worker runs, then take over.")
    ] = False,
) -> None:
    """Run the worker alone: it takes jobs from the queue, one at a time."""
    from api.worker import run

    settings = read_settings()
    logs.begin(settings.logs)
    run(settings, standby=standby)


def main() -> None:
    """Run the command line; a failure is one sentence on stderr, never a traceback."""
    logs.begin("text")
    try:
        app()
    except (ApiError, GraphError, KgeError, RankingError) as error:
        _fail(str(error))
    except ValidationError as error:  # a dial or a request
        _fail(_one_line(error))


def _fail(sentence: str) -> None:
    sys.stderr.write(f"error: {sentence}\n")
    raise SystemExit(1)


def _one_line(error: ValidationError) -> str:
    return "; ".join(
        ": ".join([*filter(None, [".".join(map(str, item["loc"]))]), sentence(item)])
        for item in causes(error.errors())
    )
