"""What can go wrong in this room. Each class's docstring is its default message."""


class GraphError(Exception):
    """The graph could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class SchemaError(GraphError):
    """The schema file is not valid; correct the named field and load it again."""


class SchemaMismatch(GraphError):
    """The graph was filled under another schema; set GRAPHSVC_SCHEMA to that one."""


class ArtifactMissing(GraphError):
    """No such artifact is stored; list the artifacts to see which exist."""


class ArtifactDamaged(GraphError):
    """An artifact's bytes do not match its digest; restore it from a backup or seal it again."""


class ArtifactFormat(GraphError):
    """An artifact has a format that this version does not read; seal it again."""


class EntityMissing(GraphError):
    """No event has named this entity yet; post one, or put its attributes."""


class NotEnoughData(GraphError):
    """The graph holds too little for this; post more events first."""


class PromotionRefused(GraphError):
    """Bundle, index and ranker do not belong together; promote three of one lineage."""


class DatabaseUnavailable(GraphError):
    """The database does not answer; check that it runs and that the URL is right."""


class ValueUnusable(GraphError):
    """The database cannot hold a value, such as a text with a null byte; correct it."""


class CursorInvalid(GraphError):
    """The cursor of this page is not one that was given out; start again without it."""


class KeyMissing(GraphError):
    """No such API key exists; list the keys to see which do."""


class DatasetMissing(GraphError):
    """The files of the data set are not in this folder; download them first."""
