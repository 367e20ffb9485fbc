"""The language of filters: what is taken, and what a wrong one is told."""

import pytest

from api.errors import Invalid
from api.filters import parse_filter


def test_what_is_written_alike_has_one_key() -> None:
    one = parse_filter('{"must": [{"attribute": "year", "gte": 1990}], "must_not": []}')
    other = parse_filter('{ "must":[{"gte":1990,"attribute":"year"}] }')
    assert one.key == other.key
    assert one.key != parse_filter('{"must": [{"attribute": "year", "gt": 1990}]}').key


def test_conditions_are_found_at_every_depth() -> None:
    found = parse_filter(
        '{"should": [{"must_not": [{"type": "film"}, {"ids": ["a"]}]}, {"ids": ["b"]}]}'
    )
    assert [c.ids for c in found.conditions if c.ids] == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("[]", "filter", "should be a JSON object"),
        ("{", "filter", "JSON"),
        ('{"musst": []}', "filter.musst", "must"),
        ('{"should": []}', "filter.should", "at least 1 entry"),
        ('{"must": [{}]}', "filter.must.0", "received none of them"),
        ('{"must": [{"type": "a", "ids": ["b"]}]}', "filter.must.0", "type and ids"),
        ('{"must": [{"ids": [""]}]}', "filter.must.0.ids.0", "at least 1 character"),
        ('{"must": [{"attribute": "year"}]}', "filter.must.0", "equals, in, gte"),
        ('{"must": [{"attribute": "year", "gte": "x"}]}', "filter.must.0.gte", "number"),
        ('{"must": [{"attribute": "year", "gte": "1990"}]}', "filter.must.0.gte", "number"),
        ('{"must": [{"attribute": "year", "gte": true}]}', "filter.must.0.gte", "number"),
        ('{"must": [{"ids": ["a"], "gte": 1}]}', "filter.must.0", "attribute that gte is about"),
        ('{"must": [{"relation": "click"}]}', "filter.must.0", "both relation and of"),
        ('{"must": [{"ids": ["a"], "direction": "in"}]}', "filter.must.0", "direction"),
        (
            '{"must": [{"attribute": "a", "exists": false, "gte": 1}]}',
            "filter.must.0",
            "nothing else",
        ),
    ],
)
def test_a_wrong_filter_is_told_where_and_what(text: str, field: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_filter(text)
    assert words in str(refused.value)
    assert refused.value.errors[0]["field"] == field


def test_a_filter_is_bounded() -> None:
    many = ",".join(['{"ids": ["a"]}'] * 60)
    with pytest.raises(Invalid, match="at most 100 conditions, received 120"):
        parse_filter(f'{{"must": [{many}], "must_not": [{many}]}}')
    deep = '{"ids": ["a"]}'
    for _ in range(5):
        deep = f'{{"must": [{deep}]}}'
    parse_filter(deep)
    with pytest.raises(Invalid, match="at most 5 filters deep, received 6"):
        parse_filter(f'{{"must": [{deep}]}}')


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("test", ['"gte": {}', '"equals": {}', '"in": [1990, {}]'])
def test_numbers_have_to_be_finite(test: str, number: str) -> None:
    with pytest.raises(Invalid, match=r"filter\.must\.0"):
        parse_filter(f'{{"must": [{{"attribute": "year", {test.format(number)}}}]}}')
