"""Filters by chance over films of the planted world, and each of them in other words."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from planted import FILMS

HEADS = ["u0", "u1", "u4"]
ids = st.sampled_from([f"{letter}{n}" for letter in "dc" for n in range(FILMS)] + ["nobody"])
years = st.integers(1978, 2002)
directions = st.sampled_from([None, "out", "in"])
leaves = st.one_of(
    st.builds(lambda some: {"ids": some}, st.lists(ids, max_size=12)),
    st.builds(lambda name: {"type": name}, st.sampled_from(["film", "user", ["film", "thing"]])),
    st.builds(
        lambda name, year: {"attribute": "year", name: year},
        st.sampled_from(["gte", "gt", "lte", "lt", "equals"]),
        years,
    ),
    st.builds(lambda some: {"attribute": "year", "in": some}, st.lists(years, max_size=5)),
    st.builds(lambda n: {"attribute": "title", "equals": f"drama {n}"}, st.integers(0, FILMS)),
    st.builds(
        lambda name, there: {"attribute": name, "exists": there},
        st.sampled_from(["year", "genres"]),
        st.booleans(),
    ),
    st.builds(
        lambda user, way: {
            "relation": "click",
            "of": {"type": "user", "id": user},
            **({"direction": way} if way else {}),
        },
        st.sampled_from(HEADS),
        directions,
    ),
    st.builds(
        lambda genre: {"relation": "genre", "of": {"type": "thing", "id": genre}},
        st.sampled_from(["drama", "comedy"]),
    ),
)


def parts(inner: Any) -> Any:
    some = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {}, optional={"must": some, "should": some, "must_not": some}
    ).filter(bool)


filters = parts(st.recursive(leaves, parts, max_leaves=6))


def twins(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same filter in other words."""
    yield {"must": [document]}
    yield {"must_not": [{"must_not": [document]}]}
    yield {"should": [document, {"must": [document, document]}]}
    yield {name: some[::-1] for name, some in document.items()}
    if "must" in document:  # De Morgan
        rest = {name: some for name, some in document.items() if name != "must"}
        apart = {"should": [{"must_not": [one]} for one in document["must"]]}
        yield {**rest, "must_not": [*rest.get("must_not", []), apart]}
