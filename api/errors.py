"""What can go wrong in this room, and the one table of HTTP statuses for all rooms.

Each class's docstring is its default message. How an error looks over HTTP is in `api/problems.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from graphsvc.errors import (
    AnswerMissing,
    ArtifactDamaged,
    ArtifactFormat,
    ArtifactMissing,
    ChangedMeanwhile,
    ConversionUnknown,
    CursorInvalid,
    DatabaseUnavailable,
    DecisionMissing,
    EntityMissing,
    EntityRetired,
    ErasureMissing,
    GraphError,
    KeyMissing,
    KeyRefused,
    LeakFound,
    NoSpace,
    NotEnoughData,
    PromotionRefused,
    ReplayTooLong,
    SchemaError,
    SchemaMissing,
    SchemaOutdated,
    SchemaRefused,
    ValueUnusable,
)
from kge.errors import KgeError, UnknownFacet, UnknownRelation, UnknownType
from ranking.errors import HeadMissing, RankingError


class ApiError(Exception):
    """The request cannot be served as it stands."""

    status = 400
    title = "Bad request"
    #: When it is worth asking again, in seconds.
    retry_after: int | None = None

    def __init__(
        self, detail: str | None = None, *, errors: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        super().__init__(detail or (self.__doc__ or "").strip())
        self.errors = list(errors)


class Unauthorized(ApiError):
    """A key is needed: `Authorization: Bearer <key>`; `graphsvc key create` makes one."""

    status = 401
    title = "Unauthorized"


class Forbidden(ApiError):
    """The key is not good for this; `graphsvc key create --scope ...` makes one that is."""

    status = 403
    title = "Forbidden"


class NotLiveYet(ApiError):
    """Nothing has been promoted yet; POST /v1/retrains and wait for the job to end."""

    status = 409
    title = "Nothing is live yet"


class NothingHere(ApiError):
    """There is no graph here yet; `graphsvc init` makes one."""

    status = 503
    title = "Not prepared"


class NoRoom(ApiError):
    """There is not enough free memory for this; try again when less of it is taken."""

    status = 503
    title = "No room"


class PortTaken(ApiError):
    """Something else listens on this port; set GRAPHSVC_PORT to another."""

    status = 503
    title = "Port taken"


class SettingUnknown(ApiError):
    """The environment names a setting that there is not; docs/operations.md names them all."""


class RateInvalid(ApiError):
    """A rate of requests cannot be used; docs/operations.md says what it is."""


class TooMany(ApiError):
    """This key asks too often; ask again when Retry-After says."""

    status = 429
    title = "Too many requests"

    def __init__(self, detail: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class SettingMalformed(ApiError):
    """A setting that should be a JSON object is none; docs/operations.md says what it holds."""


class DeviceMissing(ApiError):
    """GRAPHSVC_TIERS__DEVICE is cuda, and torch finds no GPU here; set it to auto or none."""


class UnknownName(ApiError):
    """The path names something that does not exist."""

    status = 404
    title = "Not found"


class WrongState(ApiError):
    """The job is in a state that does not allow this; look at it first."""

    status = 409
    title = "Not in this state"


class PersonKept(ApiError):
    """A person is not part of the catalog: an `opt_out` event ends the use of offsite events."""

    status = 409
    title = "Not a catalog entity"


class Invalid(ApiError):
    """The request is well-formed, and a value in it cannot be used."""

    status = 422
    title = "Invalid request"


class StreamBroken(ApiError):
    """The stream cannot be read any further; what came before holds. Send the rest again."""

    status = 400
    title = "Stream broken"


class StreamTooLarge(ApiError):
    """The stream is too large; what came before holds. Send the rest in a stream of its own."""

    status = 413
    title = "Content too large"


class StreamStalled(ApiError):
    """Nothing came for too long; what came before holds. Send the rest again."""

    status = 408
    title = "Request timeout"


class OutboxBroken(ApiError):
    """The answer finds no room to wait in until it is read; make room for temporary files."""

    status = 507
    title = "No space left"


class KeyReused(ApiError):
    """Idempotency-Key should be new: it was sent with another request before."""

    status = 422
    title = "Invalid request"


class KeyUnderWay(ApiError):
    """A request with this Idempotency-Key is still under way; repeat it in a moment."""

    status = 409
    title = "Under way"
    retry_after = 1


class MappingInvalid(ApiError):
    """The mapping file is not valid; correct the named key. See docs/ingest.md."""


class FileUnreadable(ApiError):
    """The file cannot be read as what it seems to be; see docs/ingest.md."""


class EncodingUnknown(ApiError):
    """The body's encoding is not known here; send it plain or with Content-Encoding: gzip."""

    status = 415
    title = "Encoding not supported"


class TooBusy(ApiError):
    """As much of this is under way already as this server does at once; try again later."""

    status = 503
    title = "Too busy"


#: The rooms' exceptions and their statuses; the first that fits counts.
STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (EntityMissing, 404, "Not found"),
    (AnswerMissing, 404, "Not found"),
    (EntityRetired, 410, "Retired"),
    (ArtifactMissing, 404, "Not found"),
    (DecisionMissing, 404, "Not found"),
    (ErasureMissing, 404, "Not found"),
    (KeyMissing, 404, "Not found"),
    (KeyRefused, 422, "Invalid request"),
    (CursorInvalid, 422, "Invalid request"),
    (ValueUnusable, 422, "Invalid request"),
    (SchemaError, 422, "Invalid request"),
    (SchemaRefused, 409, "Schema refused"),
    (ReplayTooLong, 409, "Schema refused"),
    (SchemaOutdated, 503, "The schema is changing"),
    (SchemaMissing, 503, "Not prepared"),
    (ChangedMeanwhile, 412, "Precondition failed"),
    (PromotionRefused, 409, "Promotion refused"),
    (NotEnoughData, 409, "Not enough data"),
    (LeakFound, 409, "Labels leak"),
    (DatabaseUnavailable, 503, "Database unavailable"),
    (NoSpace, 507, "No space left"),
    (ArtifactDamaged, 500, "Artifact damaged"),
    (ArtifactFormat, 500, "Artifact of another format"),
    (ConversionUnknown, 422, "Invalid request"),
    (HeadMissing, 422, "Invalid request"),
    (UnknownFacet, 422, "Invalid request"),
    (UnknownRelation, 422, "Invalid request"),
    (UnknownType, 422, "Invalid request"),
    (GraphError, 400, "Bad request"),
    (KgeError, 400, "Bad request"),
    (RankingError, 400, "Bad request"),
)
