"""The graph in numbers."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.deps import ServicesOf
from graphsvc import graph

router = APIRouter(prefix="/v1/graph", tags=["entities"])


class GraphOut(BaseModel):
    """How much of what the graph holds; `seq` is the log's last sequence number.

    `schema_version` is the version that this process uses: it follows the database's.
    """

    entities: dict[str, int] = Field(examples=[{"user": 943, "film": 1682}])
    edges: dict[str, int] = Field(examples=[{"click": 55375}])
    events: dict[str, int] = Field(examples=[{"impression": 100000, "click": 55375}])
    seq: int = Field(examples=[155375])
    schema_version: int = Field(examples=[1])


@router.get("", summary="Counts of entities by type, edges by relation, events by name")
def get_graph(services: ServicesOf) -> GraphOut:
    with services.database.reading() as connection:
        counted = graph.counts(connection)
    return GraphOut(**counted, schema_version=services.schema.version)
