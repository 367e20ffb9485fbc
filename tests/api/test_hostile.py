"""What nobody should send gets a problem document or a verdict, on either database, never a 500."""

import httpx
import pytest
from planted import START, click

NUL = "a%00b"
HALF = "\\ud83d"  # half of a pair: JSON can spell it, UTF-8 cannot


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/entities/{NUL}/x",
        f"/v1/entities/user/{NUL}",
        f"/v1/entities/user/{NUL}/edges",
        f"/v1/entities/user/{NUL}/neighbors",
        "/v1/entities/film/d1/neighbors?type=%00",
        f"/v1/jobs/{NUL}",
        f"/v1/artifacts/{NUL}",
        "/v1/artifacts?cursor=MToA",  # "1:" and a NUL
        "/v1/artifacts?cursor=MTo5",
        "/v1/jobs?cursor=LTE",  # "-1"
        "/v1/entities/user/u1/edges?cursor=AAAA",
        "/v1/entities/user/%ED%A0%80",
        "/v1/entities/user/" + "x" * 300,
    ],
)
def test_odd_paths_and_cursors(http: httpx.Client, problem, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code in (404, 422), answer.text
    problem(answer, answer.status_code)


@pytest.mark.parametrize(
    "body",
    [
        '{"head": NaN, "candidates": ["d1"]}',
        '{"head": {"type": "user", "id": 1e999}, "candidates": ["d1"]}',
        '{"head": {"type": "user", "id": "a\\u0000"}, "candidates": ["d1"]}',
        '{"head": {"type": "a\\u0000", "id": "u1"}, "candidates": ["d1"]}',
        '{"head": {"type": "user", "id": "u1"}, "candidates": ["a\\u0000"]}',
        '{"head": {"type": "user", "id": "u1"}, "candidates": ["@"]}'.replace("@", HALF),
        '{"head": {"type": "user", "id": "u1"}, "candidates": ["d1"], "@": 1}'.replace("@", HALF),
        '{"head": {"type": "user", "id": "u1"}, "candidates": [@]}'.replace("@", "9" * 5000),
        "[" * 100_000,
    ],
)
def test_odd_scores(http: httpx.Client, problem, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = http.post("/v1/score", content=body, headers=headers)
    assert answer.status_code in (400, 422)  # 400: not even Python can parse it
    problem(answer, answer.status_code)


@pytest.mark.parametrize(
    "body", ['{"seed": NaN}', '{"shares": [NaN, NaN, NaN, NaN]}', '{"seed": 1e999}', "[]", "7"]
)
def test_odd_retrains(http: httpx.Client, problem, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    problem(http.post("/v1/retrains", content=body, headers=headers), 422)


@pytest.mark.parametrize("value", ["NaN", "1e999", f'"{HALF}"', '"a\\u0000"', "[" * 50 + "]" * 50])
def test_odd_attributes(http: httpx.Client, problem, value: str) -> None:
    body = '{"attributes": {"age": @}}'.replace("@", value)
    headers = {"Content-Type": "application/json"}
    problem(http.put("/v1/entities/user/odd", content=body, headers=headers), 422)


@pytest.mark.parametrize("odd", [f'"{HALF}"', "1e999", "NaN", '"a\\u0000b"', "1" * 400])
def test_an_odd_event_leaves_its_neighbors_alone(http: httpx.Client, odd: str) -> None:
    good = click("neighbor", "d1", START, f"beside-{odd[:20]}".replace("\\", "-"))
    text = httpx.Request("POST", "http://x", json={"events": [good, good]}).content.decode()
    second = text.rindex('"event_id":')
    end = text.index(",", second)
    body = f'{text[:second]}"event_id":{odd}{text[end:]}'
    answer = http.post("/v1/events?backfill=true", content=body)
    assert answer.status_code == 200, answer.text
    assert [v["status"] for v in answer.json()["verdicts"]] == ["accepted", "rejected"]


def test_every_body_is_bounded(http: httpx.Client, trained, problem) -> None:
    large = b'{"head": "' + b"x" * trained.settings.max_body_bytes + b'"}'
    headers = {"Content-Type": "application/json"}
    for path in ("/v1/events", "/v1/score", "/v1/retrains"):
        problem(http.post(path, content=large, headers=headers), 413)
    with trained.open() as nobody:
        assert nobody.post("/v1/score", content=large, headers=headers).status_code in (401, 413)
