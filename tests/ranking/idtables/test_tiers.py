"""Who lies where, by numbers that can be added up by hand."""

import pytest

from ranking.errors import TableMemory
from ranking.idtables.tiers import CPU, DEVICE, MIB, Held, Tiers, plan_tiers

#: 64 + 8 bytes a row, and 2 + 4: 72,006,000 bytes, which are 68.67 MiB.
TABLES = (Held("head_table", 1_000_000, 64, "int8"), Held("tail_table", 1_000, 3, "int4"))
ROWS = 72_006_000
UPPER = 2 * MIB


@pytest.mark.parametrize(
    ("precision", "row"), [("float32", 20), ("bfloat16", 10), ("int8", 13), ("int4", 7)]
)
def test_bytes_of_a_row_of_five_numbers(precision, row):
    assert Held("t", 3, 5, precision).bytes == 3 * row


def test_tables_of_the_example_add_up():
    assert sum(table.bytes for table in TABLES) == ROWS
    assert TABLES[1].as_json == {
        "name": "tail_table",
        "rows": 1_000,
        "dim": 3,
        "precision": "int4",
        "bytes": 6_000,
    }


@pytest.mark.parametrize(
    ("tiers", "upper", "tables", "reason"),
    [
        (Tiers(), CPU, CPU, "there is no device"),
        (Tiers(device_bytes=1 << 40), CPU, CPU, "there is no device"),
        (Tiers("cuda"), DEVICE, CPU, "no bytes of the device are declared for tables"),
        (
            Tiers("cuda", 60 * MIB),
            DEVICE,
            CPU,
            "all would take 70.7 MiB of the 60.0 MiB declared for the device",
        ),
        (Tiers("cuda", 80 * MIB), DEVICE, DEVICE, "all is within the 80.0 MiB declared"),
        (Tiers("cuda", MIB), CPU, CPU, "the upper model is above the 1.0 MiB declared"),
        (Tiers("cuda", UPPER + ROWS), DEVICE, DEVICE, "all is within"),
        (Tiers("cuda", UPPER + ROWS - 1), DEVICE, CPU, "all would take"),
        (Tiers("cuda", UPPER), DEVICE, CPU, "all would take"),
        (Tiers("cuda", UPPER - 1), CPU, CPU, "the upper model is above"),
    ],
)
def test_each_tier_gets_what_fits_it(tiers, upper, tables, reason):
    found = plan_tiers(TABLES, UPPER, tiers)
    assert (found.upper_tier, found.tables_tier) == (upper, tables)
    assert found.place == ("cuda" if upper == DEVICE else "cpu")
    assert found.reason.startswith(reason)
    assert found.bytes_of(CPU) + found.bytes_of(DEVICE) == UPPER + ROWS
    assert found.bytes_of(DEVICE) <= (tiers.device_bytes or UPPER)


@pytest.mark.parametrize(("device", "least"), [("", 71), ("cuda", 69)])
def test_a_cpu_tier_that_is_too_small_is_refused_with_the_numbers(device, least):
    told = f"cpu_mib should be at least {least}, received 10: head_table: 1,000,000 rows"
    with pytest.raises(TableMemory, match=told):
        plan_tiers(TABLES, UPPER, Tiers(device, cpu_bytes=10 * MIB))
    assert plan_tiers(TABLES, UPPER, Tiers(device, cpu_bytes=least * MIB))


def test_a_plan_in_words():
    assert plan_tiers(TABLES, UPPER, Tiers("cuda")).lines == (
        "head_table: 1,000,000 rows of 64 numbers in int8, 68.7 MiB, mapped in the cpu tier",
        "tail_table: 1,000 rows of 3 numbers in int4, 0.0 MiB, mapped in the cpu tier",
        "upper model: 2.0 MiB, on cuda",
        "tiers: cpu 68.7 MiB, device 2.0 MiB; no bytes of the device are declared for tables",
    )
    assert "copied to the device tier" in plan_tiers(TABLES, UPPER, Tiers("cuda", 1 << 40)).lines[0]


def test_an_exported_network_is_counted_where_it_computes():
    alone = plan_tiers(TABLES, UPPER, Tiers())
    beside = plan_tiers(TABLES, UPPER, Tiers(), exported=3 * MIB)
    assert beside.bytes_of(CPU) == alone.bytes_of(CPU) + 3 * MIB
    assert beside.lines[-2] == f"{alone.lines[-2]}, and 3.0 MiB exported"
    with pytest.raises(TableMemory, match=r"cpu_mib should be at least .*, and 3.0 MiB exported"):
        plan_tiers(TABLES, UPPER, Tiers(cpu_bytes=alone.bytes_of(CPU)), exported=3 * MIB)
    device = plan_tiers(TABLES, UPPER, Tiers("cuda"))
    both = plan_tiers(TABLES, UPPER, Tiers("cuda"), exported=3 * MIB)
    assert (both.lines, both.bytes_of(CPU)) == (device.lines, device.bytes_of(CPU))
