"""What can go wrong in this room. Each class's docstring is its default message."""

from collections.abc import Mapping, Sequence
from typing import Any


class GraphError(Exception):
    """The graph could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class SchemaError(GraphError):
    """The schema file is not valid; correct the named field and load it again."""


class SchemaMismatch(GraphError):
    """The graph was filled under another schema; set GRAPHSVC_SCHEMA to that one."""


class SchemaOutdated(GraphError):
    """The schema has changed meanwhile; read it again and repeat."""


class SchemaMissing(GraphError):
    """The database holds no schema yet; `graphsvc init` puts one there."""


class ChangedMeanwhile(GraphError):
    """It is not as you have seen it; read it again and repeat the change."""


class SchemaChanged(ChangedMeanwhile):
    """The schema has another version than you have seen; read it again and repeat the change."""


class SchemaRefused(GraphError):
    """The change would orphan what is stored; add new names instead."""

    def __init__(
        self, message: str | None = None, *, errors: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        super().__init__(message)
        #: One per name: `field`, what was `expected`, and how much is stored.
        self.errors = list(errors)


class ReplayTooLong(GraphError):
    """The change replays many events while nothing can be written; ask for it expressly."""


class ErasureIncomplete(GraphError):
    """Somebody was erased, and something of them is left; resume the job once it is mended."""


class ErasureMissing(GraphError):
    """Nobody was erased under this number."""


class ArtifactMissing(GraphError):
    """No such artifact is stored; list the artifacts to see which exist."""


class ArtifactDamaged(GraphError):
    """An artifact's bytes do not match its digest; restore it from a backup or seal it again."""


class ArtifactFormat(GraphError):
    """An artifact has a format that this version does not read; seal it again."""


class EntityMissing(GraphError):
    """No event has named this entity yet; post one, or put its attributes."""


class EntityRetired(GraphError):
    """This entity is retired, so it is in no answer; restore it first."""


class AnswerMissing(GraphError):
    """No such answer is kept; answers are written a moment after they are given, and expire."""


class NotEnoughData(GraphError):
    """The graph holds too little for this; post more events first."""


class ConversionUnknown(GraphError):
    """What should be a conversion cannot be one; name events that a click can lead to."""


class LeakFound(GraphError):
    """The graph gives away labels that rankers are to guess; see which relation, and correct it."""


class PromotionRefused(GraphError):
    """Bundle, index and ranker do not belong together; promote three of one lineage."""


class LiveChanged(PromotionRefused):
    """Another trio was promoted meanwhile, so nothing is; ask again."""


class DecisionMissing(GraphError):
    """The gate has decided no such thing; list the decisions to see which there are."""


class DatabaseUnavailable(GraphError):
    """The database does not answer; check that it runs and that the URL is right."""


class NoSpace(GraphError):
    """The disk is full, or refuses to write; nothing of this was kept. Make room and repeat it."""


class ValueUnusable(GraphError):
    """The database cannot hold a value, such as a text with a null byte; correct it."""


class CursorInvalid(GraphError):
    """The cursor of this page is not one that was given out; start again without it."""


class KeyMissing(GraphError):
    """No such API key exists; list the keys to see which do."""


class KeyRefused(GraphError):
    """No such key can be made; see docs/security.md for scopes and what they open."""


class DatasetMissing(GraphError):
    """The files of the data set are not in this folder; download them first."""


class WorldError(GraphError):
    """A simulated market cannot be like that; correct the dial that is named."""
