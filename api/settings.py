"""The only reader of the environment.

Takes `GRAPHSVC_*` variables (and `.env`), gives checked settings that nest the rooms' dials; never
decides anything itself. Nested dials use two underscores: `GRAPHSVC_TRANSRA__DIM=32`. A variable
that names no setting is refused, since it would change nothing.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin, get_type_hints

from pydantic import (
    ByteSize,
    Field,
    TypeAdapter,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    SettingsConfigDict,
)

from api.errors import RateInvalid, SettingMalformed, SettingUnknown
from api.logs import Form, Told
from api.memory import machine
from api.rates import RateConfig
from graphsvc.hints import meant
from kge.config import IndexConfig, MapConfig
from kge.dials import Dials
from kge.errors import KgeError
from ranking.config import RankerConfig, TierConfig
from ranking.errors import RankingError
from ranking.gating import GateConfig

#: As in graphsvc/db.py.
_BUSY_SECONDS = 30.0
_PREFIX = "GRAPHSVC_"
_LONGEST_ECHO = 80
_FACETS = '{"purchase": ["add_to_cart", "checkout"]}'


#: It becomes part of a file's name.
FacetName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,31}$")]


class Settings(BaseSettings):
    """Where things lie, what listens where, and the rooms' dials."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        extra="ignore",
        frozen=True,
    )

    #: Everything that is stored lies here, unless `database_url` points elsewhere.
    data_dir: Path = Path("data")
    #: Where the demo keeps the data it fetched.
    cache_dir: Path = Path("~/.cache/graphsvc").expanduser()
    #: Empty: an SQLite file under `data_dir`. Else e.g. postgresql://user@host/name.
    database_url: str = ""
    #: How long a request waits for another writer of the database before it is answered 503.
    busy_seconds: Annotated[float, Field(ge=0.1, le=600)] = _BUSY_SECONDS
    #: The graph's schema: `ads`, `film`, or a TOML file.
    schema_name: str = Field(default="ads", validation_alias="GRAPHSVC_SCHEMA")
    #: Loopback by default: nothing outside this machine can connect.
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    #: Server processes; each holds its own copy of the live trio.
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    #: Whether the server has the page at `/ui`. A page belongs to one process, so where there are
    #: several none of them has it.
    page: bool = True
    #: Where there are several: the port of one more process, which has the page; 0: there is none.
    page_port: Annotated[int, Field(ge=0, le=65535)] = 0
    #: How browsers reach the page through a proxy, e.g. https://graphs.example.com: with https its
    #: cookie goes over TLS alone, and forms may come from there. Empty: as they reach the server.
    page_origin: Annotated[str, Field(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+)?$")] = ""
    #: Threads that training uses in the worker. Servers use one per request.
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    #: Scores and recommendations that a server process computes at once, while others wait; 0: one
    #: on SQLite, two on PostgreSQL.
    scores_at_once: Annotated[int, Field(ge=0, le=1000)] = 0
    #: Requests that a server process has under way, of one caller half of them, and MiB of their
    #: bodies, those of bulk streams as they are read; what comes beyond is answered 503.
    requests_at_once: Annotated[int, Field(ge=2, le=100_000)] = 256
    bodies_mib: Annotated[int, Field(ge=1)] = 256
    #: How often a server asks the ledger whether something was promoted, in seconds.
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 0.25
    #: How many days after it happened an event may arrive, unless it is a backfill.
    late_days: Annotated[float, Field(gt=0, le=365)] = 7.0
    #: Largest request body, in bytes.
    max_body_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * 1024
    #: Largest body of one bulk request, in bytes, unpacked.
    max_bulk_bytes: Annotated[int, Field(ge=1024)] = 4 * 1024 * 1024 * 1024
    #: How long the answer to a request with an Idempotency-Key is kept, in hours.
    idempotency_hours: Annotated[float, Field(gt=0, le=24 * 31)] = 24.0
    #: Most of these answers that are kept; the oldest go first.
    idempotency_answers: Annotated[int, Field(ge=1)] = 100_000
    #: MiB that these answers take at most, packed.
    idempotency_mib: Annotated[int, Field(ge=1)] = 1024
    #: Most entities kept folded in between two promotions.
    overlay_entities: Annotated[int, Field(ge=1)] = 10_000
    #: Most recent edges of each relation and direction that a fold-in takes.
    foldin_edges: Annotated[int, Field(ge=1, le=10_000)] = 200
    #: How often a server asks the log what is new, in seconds.
    tail_seconds: Annotated[float, Field(gt=0, le=60)] = 0.1
    #: How long answers to score requests are kept, and how many at most.
    answers_days: Annotated[float, Field(gt=0, le=3650)] = 14.0
    answers_rows: Annotated[int, Field(ge=1)] = 1_000_000
    #: Largest SQLite file, in MiB, that an erasure writes anew, so that no copy is left in it.
    erase_rewrite_mib: Annotated[int, Field(ge=0)] = 512
    #: Dials of the embedding.
    transra: Dials = Dials()
    #: Memory that a training of embeddings may take, its process included: blocks are made smaller
    #: to fit, and what cannot fit is refused before it begins. By default three quarters of what
    #: the machine, or the container, has.
    memory: ByteSize = Field(default_factory=lambda: ByteSize(machine() * 3 // 4))
    #: Facets: name -> relations whose edges alone give vectors of their own, e.g.
    #: {"purchase": ["add_to_cart", "checkout"]}. Each is trained beside the whole.
    facets: dict[FacetName, list[str]] = {}
    #: Dials of nearest-neighbor search.
    index: IndexConfig = IndexConfig()
    #: Dials of the map that a retrain makes of its bundle, for the page.
    map: MapConfig = MapConfig()
    #: Dials of the rankers; the arm is chosen by the retrain request.
    ranker: RankerConfig = RankerConfig()
    #: What computes the network of a ranker that answers from the CPU: `onnx` is ONNX Runtime, for
    #: which a retrain exports its candidate's; `torch` is PyTorch, as in training.
    forward: Literal["onnx", "torch"] = "onnx"
    #: Dials of the gate, which says whether a candidate may take the place of what is live.
    gate: GateConfig = GateConfig()
    #: What processes write to stderr: `json`, a JSON object a line; `text`, lines for people;
    #: `auto`: text on a terminal, else JSON.
    logs: Form = "auto"
    #: Requests that are written down: `all`, `errors` (answered 400 and above) or `none`.
    log_requests: Told = "errors"
    #: How often one key may ask, scope by scope.
    rates: RateConfig = RateConfig()
    #: What a server declares of the tiers that a ranker lies in.
    tiers: TierConfig = TierConfig()

    @field_validator("transra", "index", "map", "ranker", "gate", "tiers", "rates", mode="wrap")
    @classmethod
    def _by_full_name(
        cls, value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """A room's dials; an error names the room and all that lies between it and the dial."""
        room = str(info.field_name)
        kind = get_type_hints(cls)[room]
        value = _decoded(kind, value)
        try:
            return check(value)
        except (KgeError, RankingError, RateInvalid) as error:
            raise type(error)(f"{_place(kind, value, room)}.{error}") from error

    @property
    def page_here(self) -> bool:
        return self.page and self.processes == 1

    @property
    def page_apart(self) -> bool:
        """Whether one more process has the page."""
        return self.page and self.processes > 1 and self.page_port > 0

    @property
    def late_seconds(self) -> int:
        return round(self.late_days * 86_400)

    @property
    def graph_url(self) -> str:
        """The database of the graph; its `timeout` is how long a writer waits for another one."""
        url = self.database_url or f"sqlite:///{(self.data_dir / 'graph.sqlite').absolute()}"
        if self.busy_seconds == _BUSY_SECONDS or re.search("[?&]timeout=", url):
            return url
        return f"{url}{'&' if '?' in url else '?'}timeout={self.busy_seconds:g}"

    @property
    def jobs_url(self) -> str:
        """The database of the jobs: the same PostgreSQL, or a file beside the graph's.

        SQLite has one writer at a time, so jobs must not wait for events there.
        """
        return self.database_url or f"sqlite:///{(self.data_dir / 'jobs.sqlite').absolute()}"

    @property
    def artifacts_dir(self) -> Path:
        return self.data_dir / "artifacts"


@lru_cache(maxsize=1)
def read_settings() -> Settings:
    """The settings of this process, read once. Raises `SettingUnknown`, `SettingMalformed`."""
    refuse_unknown()
    refuse_malformed()
    return Settings()


def origins(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Every variable that has no others in it: its name, its value, and where that is from."""
    from_where = {name: where for where, given in reversed(list(_given())) for name in given}
    for name, kind in _names():
        if is_dataclass(kind):
            continue
        path = name.removeprefix(_PREFIX).lower().split("__")
        value: Any = settings
        for part in path:
            value = getattr(value, "schema_name" if part == "schema" else part)
        holders = ("__".join(name.split("__")[:n]) for n in range(len(path), 0, -1))
        where = next((from_where[one] for one in holders if one in from_where), "default")
        yield name, str(value), where


def refuse_unknown() -> None:
    """Raise `SettingUnknown` where the environment or `.env` names a setting that there is not."""
    known = frozenset(name for name, _ in _names())
    for where, given in _given():
        for name in sorted(given.keys() - known):
            if name.startswith(_PREFIX):
                raise SettingUnknown(f"{where} has {name}, which is no setting{_hint(name, known)}")


def refuse_malformed() -> None:
    """Raise `SettingMalformed` where a setting that holds others is no JSON object.

    And `SettingUnknown` where that names a dial that there is not.
    """
    for _, given in _given():
        for name, kind in _names():
            text = given.get(name)
            if text is not None and (is_dataclass(kind) or get_origin(kind) is dict):
                _refuse_keys(name, kind, _object(name, kind, text))


def _given() -> Iterator[tuple[str, dict[str, str | None]]]:
    """Where variables come from, and what they are there."""
    for where, source in (
        ("the environment", EnvSettingsSource(Settings)),
        (str(Settings.model_config.get("env_file")), DotEnvSettingsSource(Settings)),
    ):
        # Their names have lost their case, which counts for nothing.
        yield where, {name.upper(): text for name, text in source.env_vars.items()}


def _object(name: str, kind: Any, text: str) -> dict[str, Any]:
    try:
        value, why = json.loads(text), ""
    except json.JSONDecodeError as error:
        value, why = None, f" ({error.msg} at column {error.colno})"
    except RecursionError:
        value, why = None, " (too deep)"
    except ValueError:  # a number of thousands of digits
        value, why = None, " (a number too long)"
    if not isinstance(value, dict):
        example = f'{{"{fields(kind)[0].name}": ...}}' if is_dataclass(kind) else _FACETS
        raise SettingMalformed(
            f"{name} should be a JSON object such as {example}, "
            f"received {text[:_LONGEST_ECHO]!r}{why}"
        )
    return value


def _refuse_keys(name: str, kind: Any, value: Any) -> None:
    if is_dataclass(kind) and isinstance(value, dict):
        hints = {field.name: get_type_hints(kind)[field.name] for field in fields(kind)}
        for key, inner in value.items():
            if key not in hints:
                said = f"{name} has {key[:_LONGEST_ECHO]!r}, which is no dial{meant(key, hints)}"
                raise SettingUnknown(said)
            _refuse_keys(f"{name}__{key.upper()}", hints[key], inner)


def _decoded(kind: Any, value: Any) -> Any:
    """The dials of a room, with what lies deeper read from JSON; it comes as text."""
    if not (is_dataclass(kind) and isinstance(value, dict)):
        return value
    hints = get_type_hints(kind)
    return {
        key: _decoded(hints[key], json.loads(inner) if isinstance(inner, str) else inner)
        if is_dataclass(hints.get(key))
        else inner
        for key, inner in value.items()
    }


def _place(kind: Any, value: Any, path: str) -> str:
    """The path to the dials that refuse their values; those of a room may lie deeper in it."""
    for name, inner in get_type_hints(kind).items():
        if is_dataclass(inner) and isinstance(value, dict) and name in value:
            try:
                TypeAdapter(inner).validate_python(value[name])
            except (KgeError, RankingError):
                return _place(inner, value[name], f"{path}.{name}")
    return path


def _hint(name: str, known: Iterable[str]) -> str:
    """What may have been meant: of the room's dials by the last part, whatever holds that."""
    short = name.removeprefix(_PREFIX)
    room, nested, _ = short.partition("__")
    others = [other.removeprefix(_PREFIX) for other in known]
    kin = [other for other in others if nested and other.startswith(f"{room}__")]
    close = get_close_matches(_last(short), sorted({_last(other) for other in kin}), n=1)
    if close:
        ends = sorted(other for other in kin if _last(other) == close[0])
        found = get_close_matches(short, ends, n=1, cutoff=0)
    else:
        found = get_close_matches(short, sorted(kin or others), n=1)
    hint = f"did you mean {_PREFIX}{found[0]}?" if found else "docs/operations.md names them all"
    return f"; {hint}"


def _last(name: str) -> str:
    return name.rpartition("__")[2]


def _names() -> Iterator[tuple[str, Any]]:
    """The variables of all settings and what they hold: dials, and what holds them, as one JSON."""
    for field, kind in get_type_hints(Settings).items():
        if field in Settings.model_fields:
            alias = Settings.model_fields[field].validation_alias
            yield from _under(str(alias or f"{_PREFIX}{field.upper()}"), kind)


def _under(name: str, kind: Any) -> Iterator[tuple[str, Any]]:
    yield name, kind
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        for field in fields(kind):
            yield from _under(f"{name}__{field.name.upper()}", hints[field.name])
