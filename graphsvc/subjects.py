"""What stands for a person or a thing where its id should not: a digest that is keyed.

Takes ids, gives digests that are the same in one database at each call; never stores one. The key
is a secret of the database: whoever has an id and the database finds what is meant, nobody reads an
id from a digest. Our design, after HMAC (RFC 2104).
"""

import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from graphsvc.errors import GraphError
from graphsvc.gone import places
from graphsvc.ids import EntityId
from graphsvc.tables import salts

#: The row of `salts` that migrations make.
_NAME = "subjects"


@dataclass(frozen=True, slots=True, repr=False)
class Subjects:
    """Digests under one key."""

    _key: bytes

    @classmethod
    def of(cls, connection: Connection) -> "Subjects":
        """Those of a database."""
        key = connection.scalar(select(salts.c.value).where(salts.c.name == _NAME))
        if key is None:
            raise GraphError("the database has no salt for subjects; run `graphsvc init`")
        return cls(key)

    @property
    def name(self) -> str:
        """What the key is called: lists say under which one they are."""
        return hmac.digest(self._key, b"the name of this key", "sha256").hex()

    def digest(self, entity: EntityId) -> str:
        """64 hexadecimal digits that stand for an entity."""
        return hmac.digest(self._key, f"{entity.type}/{entity.id}".encode(), "sha256").hex()

    def are(
        self, type_: str, ids: Sequence[str | None], subjects: Collection[str]
    ) -> NDArray[np.int64]:
        """The places of those ids of a type that some digests stand for, in rising order."""
        key, wanted = self._key, {bytes.fromhex(subject) for subject in subjects}
        before = f"{type_}/".encode()
        return places(
            [
                bool(id_) and hmac.digest(key, before + str(id_).encode(), "sha256") in wanted
                for id_ in ids
            ]
        )


@dataclass(frozen=True, slots=True)
class Digested:
    """Who is gone, by digests: `graphsvc.gone.Gone`."""

    known: Subjects
    subjects: Mapping[str, Collection[str]]

    @property
    def types(self) -> Collection[str]:
        return self.subjects.keys()

    def among(self, type_: str, ids: Sequence[str | None]) -> NDArray[np.int64]:
        wanted = self.subjects.get(type_, ())
        return self.known.are(type_, ids, wanted) if wanted else places([])
