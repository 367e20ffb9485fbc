"""What things are called, for whoever looks at their ids. Takes entities, gives titles."""

from collections.abc import Iterable

from api.deps import Services
from graphsvc import catalog
from graphsvc.errors import EntityMissing
from graphsvc.ids import EntityId

#: Attributes that say what a thing is called, the first that it has.
_CALLED = ("title", "name", "headline")


def titles(services: Services, entities: Iterable[EntityId]) -> dict[EntityId, str]:
    """Entity -> its title; "" of one that has none, or is not there any more."""
    found = {}
    with services.database.reading() as connection:
        for entity in entities:
            try:
                said = catalog.entity(connection, entity).attributes
            except EntityMissing:
                said = {}
            found[entity] = str(next((said[name] for name in _CALLED if name in said), ""))
    return found
