"""Known data sets by name: what is written, and what is told of it."""

from pathlib import Path

from api.datasets import named, write


def test_what_was_left_out_of_a_shop_is_told(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(
        "timestamp,visitorid,event,itemid,transactionid\n"
        "1433221332117,257597,view,355908,\n"
        "1433221332117,257597,view\n"
        "1433221332117,257597,view,355908,\n"
    )
    told = write(named("retailrocket", tmp_path, [], prefix=None), tmp_path / "shop.ndjson")
    assert len((tmp_path / "shop.ndjson").read_text().splitlines()) == 2
    assert told == {
        "events": 2,
        "file": str(tmp_path / "shop.ndjson"),
        "schema": str(tmp_path / "shop.schema.toml"),
        "times": "as published",
        "repeated_rows": 1,
        "skipped_rows": 1,
        "first_skipped": "events.csv, line 3",
    }


def test_made_up_times_are_told(tmp_path: Path) -> None:
    header = "visitorid\titemid\tevent\n"
    for name in ("view", "add_to_cart", "purchase"):
        (tmp_path / f"{name}_ecommerce.dat").write_text(f"{header}1\t2\t1\n3\n\n")
    told = write(named("retailrocket", tmp_path, [], prefix=None), tmp_path / "shop.ndjson")
    assert (told["events"], told["skipped_rows"]) == (3, 3)
    assert told["first_skipped"] == "view_ecommerce.dat, line 3"
    assert told["times"].startswith("made up")
