"""Schemas: the built-in ones hold, decay defaults by source, and a mistake names its field."""

import json
import math
import tomllib
from pathlib import Path

import pytest

from graphsvc import graph
from graphsvc.builtin import BUILT_IN
from graphsvc.db import Database
from graphsvc.errors import SchemaError
from graphsvc.schema import BUILT_IN_SCHEMAS, Schema, load_schema, parse_schema, to_document

GOOD = """
[entities.user]
person = true
attributes = { age = "number" }
[entities.ad]
[relations.click]
head = "user"
tail = "ad"
source = "onsite"
[relations.checkout]
head = "user"
tail = "ad"
source = "offsite"
half_life_days = 7
[relations.twin]
head = "ad"
tail = "ad"
source = "structure"
[observations.impression]
head = "user"
tail = "ad"
source = "onsite"
[label]
exposure = "impression"
outcome = "click"
"""


def test_the_built_in_schemas_load() -> None:
    for name in BUILT_IN_SCHEMAS:
        schema = load_schema(name)
        assert schema.name == name
        assert schema.events[schema.label.exposure].edge is False
        assert schema.events[schema.label.outcome].edge is True


def test_the_ads_schema_keeps_consent_apart() -> None:
    ads = load_schema("ads")
    offsite = {event.name for event in ads.relations if event.source == "offsite"}
    assert offsite == {"page_visit", "sign_up", "add_to_cart", "checkout"}
    assert [e.name for e in ads.entities.values() if e.person] == ["user"]
    assert "hide" not in {relation.name for relation in ads.relations}, "never an edge"


def test_decay_follows_the_source_unless_it_is_said() -> None:
    events = parse_schema(tomllib.loads(GOOD)).events
    assert (events["click"].half_life_days, events["click"].window_days) == (14, 90)
    assert (events["checkout"].half_life_days, events["checkout"].window_days) == (7, 90)
    assert events["twin"].half_life_days == events["twin"].window_days == math.inf


def test_a_file_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(GOOD)
    assert set(load_schema(str(tmp_path / "own.toml")).entities) == {"user", "ad"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('source = "onsite"', 'source = "inside"', r"relations\.click\.source.*'inside'"),
        ('tail = "ad"', 'tail = "advert"', r"relations\.click\.tail.*'advert'"),
        ('outcome = "click"', 'outcome = "clack"', r"label\.outcome.*'clack'"),
        ('outcome = "click"', 'outcome = "twin"', "same head and tail"),
        ('outcome = "click"', 'outcome = "impression"', r"label\.outcome.*'impression'"),
        ("half_life_days = 7", "half_life_days = 0", r"checkout\.half_life_days.*0"),
        ("half_life_days = 7", "half_life = 7", r"checkout\.half_life is unknown"),
        ('age = "number"', 'age = "integer"', r"attributes\.age.*'integer'"),
        ("person = true", 'person = "yes"', r"user\.person.*'yes'"),
        ("[relations.twin]", "[relations.Twin]", "Twin"),
        ("[observations.impression]", "[observations.click]", r"observations\.click.*taken"),
        ("[relations.twin]", "[relations.set_attributes]", "taken"),
        ("[label]", "[labels]", "labels is unknown"),
    ],
)
def test_a_mistake_names_its_field(old: str, new: str, says: str) -> None:
    with pytest.raises(SchemaError, match=says):
        parse_schema(tomllib.loads(GOOD.replace(old, new, 1)))


def test_what_was_shown_to_whom_is_known() -> None:
    document = tomllib.loads(GOOD)
    document["relations"]["twin"]["directed"] = False
    document["label"] = {"exposure": "twin", "outcome": "twin"}
    with pytest.raises(SchemaError, match=r"label\.exposure.*direction.*'twin'"):
        parse_schema(document)


@pytest.mark.parametrize("source", [*BUILT_IN_SCHEMAS, GOOD])
def test_a_document_is_read_as_the_schema_that_it_describes(source: str) -> None:
    schema = (
        load_schema(source) if source in BUILT_IN_SCHEMAS else parse_schema(tomllib.loads(source))
    )
    text = json.dumps(to_document(schema), allow_nan=False)
    read = parse_schema(json.loads(text))
    assert read == schema
    assert read.relations == schema.relations, "in the same order"


def test_a_document_says_every_field() -> None:
    document = tomllib.loads(GOOD.replace("half_life_days = 7", "self_loops = false"))
    document["relations"]["twin"] |= {"parallel": False, "directed": False, "weight": 3}
    document["entities"]["ad"] = {"attributes": {"title": "text"}}
    described = to_document(parse_schema(document))
    assert described["relations"]["twin"] == {
        "head": "ad",
        "tail": "ad",
        "source": "structure",
        "weight": 3.0,
        "half_life_days": "inf",
        "window_days": "inf",
        "self_loops": True,
        "parallel": False,
        "directed": False,
    }
    assert described["relations"]["checkout"]["self_loops"] is False
    assert described["observations"]["impression"] == {
        "head": "user",
        "tail": "ad",
        "source": "onsite",
        "self_loops": True,
    }
    assert described["entities"]["ad"] == {"person": False, "attributes": {"title": "text"}}


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        (("relations", "twin", "self_loops"), "no", r"twin\.self_loops.*'no'"),
        (("relations", "click", "directed"), False, r"click\.directed.*different types"),
        (("observations", "impression", "parallel"), True, r"impression\.parallel is unknown"),
        (("relations", "click", "head"), ["user"], r"click\.head.*\['user'\]"),
        (("relations", "click", "weight"), math.inf, r"click\.weight.*from 1e-09 to 1e\+09"),
        (("relations", "click", "weight"), "inf", r"click\.weight.*'inf'"),
        (("relations", "click", "weight"), 10**400, r"click\.weight"),
        (("relations", "click", "half_life_days"), 1e-300, r"click\.half_life_days.*or \"inf\""),
        (("relations", "click", "half_life_days"), math.nan, r"click\.half_life_days.*nan"),
        (("relations", "click", "half_life_days"), True, r"click\.half_life_days.*True"),
        (("label", "outcome"), {"a": 1}, r"label\.outcome"),
        (("label", "conversions"), "checkout", r"label\.conversions.*list.*'checkout'"),
        (("label", "conversions"), [], r"label\.conversions.*list of relations"),
        (("label", "conversions"), ["twin"], r"label\.conversions.*\(checkout\).*'twin'"),
        (("label", "conversions"), [["checkout"]], r"label\.conversions.*\(checkout\)"),
        (("name",), "a\nb", "printable"),
        (("name",), "a" * 101, "1 to 100"),
        (("name",), 3, "printable"),
        (("entities", "user\n"), {}, "lower-case"),
        (("entities", "user"), 3, r"entities\.user should be a table"),
        (("relations",), [], r"table \[relations\]"),
    ],
)
def test_what_json_can_say_and_a_schema_cannot(where: tuple[str, ...], value, says: str) -> None:
    document = tomllib.loads(GOOD)
    inner = document
    for part in where[:-1]:
        inner = inner[part]
    inner[where[-1]] = value
    with pytest.raises(SchemaError, match=says) as error:
        parse_schema(document)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("name", sorted(BUILT_IN))
@pytest.mark.parametrize("section", ["relations", "observations"])
def test_no_schema_declares_what_is_built_in(name: str, section: str) -> None:
    document = tomllib.loads(GOOD)
    document[section][name] = {"head": "user", "tail": "ad", "source": "onsite"}
    with pytest.raises(SchemaError, match=rf"{section}\.{name}.*taken"):
        parse_schema(document)


def test_a_schema_is_bounded() -> None:
    document = tomllib.loads(GOOD)
    click = {"head": "user", "tail": "ad", "source": "onsite"}
    document["relations"] |= {f"r{number}": click for number in range(296)}
    assert len(parse_schema(document).events) == 300
    document["relations"]["r296"] = click
    with pytest.raises(SchemaError, match=r"300.*received 2 and 301"):
        parse_schema(document)


def test_a_type_has_as_many_attributes_as_one_statement_reads(database: Database) -> None:
    def schema(count: int) -> Schema:
        names = ", ".join(f'a{number} = "number"' for number in range(count))
        return parse_schema(tomllib.loads(GOOD.replace('age = "number"', names)))

    most = schema(32)
    with database.reading() as connection:
        rows = graph.states(
            connection,
            "user",
            ["u1"],
            attributes=list(most.entities["user"].attributes),
            events=list(most.events),
        )
    assert rows.found.tolist() == [False]
    with pytest.raises(SchemaError, match=r"entities\.user.*at most 32.*33"):
        schema(33)


def test_what_is_no_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="ads, film"):
        load_schema("nothing")
    (tmp_path / "broken.toml").write_text("[entities")
    with pytest.raises(SchemaError, match="TOML"):
        load_schema(str(tmp_path / "broken.toml"))
