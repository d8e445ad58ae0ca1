"""Foreign data sets: read by a mapping, every row accounted for, and nothing from after the event."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from features.errors import HistoryError
from features.mapping.convert import Converted, convert
from features.mapping.spec import load_mapping
from features.offline import build_table
from tests import lookalikes

PLAIN = "{card_id: card, amount: amount, currency: EUR, event_time: at, label: fraud}"


def read(tmp_path: Path, mapping: str, **columns: list) -> tuple[Converted, pl.DataFrame]:
    rows = max(len(values) for values in columns.values())
    given = {
        "card": ["c"] * rows,
        "amount": ["1.50"] * rows,
        "at": ["2020-01-01T00:00:00Z"] * rows,
        "fraud": ["0"] * rows,
    }
    pl.DataFrame({**given, **columns}, strict=False).write_csv(tmp_path / "set.csv")
    (tmp_path / "mapping.yaml").write_text(mapping)
    made = convert(tmp_path / "set.csv", load_mapping(tmp_path / "mapping.yaml"), tmp_path / "history")
    return made, pl.read_parquet(tmp_path / "history" / "*.parquet")


def with_(text: str) -> str:
    return f"{PLAIN[:-1]}, {text}}}"


@pytest.mark.parametrize(
    ("make", "mapping", "frauds", "first"),
    [
        (lookalikes.european, lookalikes.EUROPEAN, 57, "2013-09-01T00:00:07"),
        (lookalikes.simulated, lookalikes.SIMULATED, 299, "2019-01-01T00:58:41"),
        (lookalikes.synthetic, lookalikes.SYNTHETIC, 302, "2019-01-01T05:34:00"),
        (lookalikes.handbook, lookalikes.HANDBOOK, 304, "2019-01-01T00:12:26"),
    ],
)
def test_well_known_shapes_are_read(tmp_path, make, mapping, frauds, first):
    (tmp_path / "mapping.yaml").write_text(mapping)
    source = make(tmp_path / ("set.csv" if make in {lookalikes.european, lookalikes.synthetic} else "set"))
    made = convert(source, load_mapping(tmp_path / "mapping.yaml"), tmp_path / "history")
    summary = build_table(tmp_path / "history", tmp_path / "table.parquet", by_time=True)
    table = pl.read_parquet(tmp_path / "table.parquet")
    assert (made.rows, made.written, made.left_out, summary.rows_out, summary.late) == (6_000, 6_000, {}, 6_000, 0)
    assert table["is_fraud"].sum() == frauds
    assert table["event_time"].min().isoformat() == f"{first}+00:00"


AMOUNTS = ["12.34", "$1,234.50", "(5.00)", "-7", "0", "1e2"]


def test_amounts_lose_signs_of_currencies_and_nothing_else(tmp_path):
    mapping = with_("amount: {column: amount, negative: absolute}").replace("amount: amount, ", "")
    made, rows = read(tmp_path, mapping, amount=AMOUNTS)
    assert rows["amount"].to_list() == ["12.34", "1234.50", "5.00", "7.00", "0.01", "100.00"]
    assert made.changed == {
        "negative amounts taken without their sign": 2,
        "amounts of 0 taken as the least unit of the currency": 1,
    }


def test_minor_units_and_decimal_commas(tmp_path):
    minor = PLAIN.replace("amount: amount", "amount: {column: amount, unit: minor}")
    assert read(tmp_path, minor, amount=["1250", "5"])[1]["amount"].to_list() == ["12.50", "0.05"]
    yen = minor.replace("EUR", "JPY")
    assert read(tmp_path, yen, amount=["1250", "5"])[1]["amount"].to_list() == ["1250", "5"]
    comma = PLAIN.replace("amount: amount", "amount: {column: amount, decimal_comma: true}")
    assert read(tmp_path, comma, amount=["1.234,50", "7"])[1]["amount"].to_list() == ["1234.50", "7.00"]


TIMES = [
    ("epoch_s", None, "1600000000", "2020-09-13T12:26:40.000"),
    ("epoch_ms", None, "1600000000123", "2020-09-13T12:26:40.123"),
    ("rfc3339", None, "2020-09-13T14:26:40+02:00", "2020-09-13T12:26:40.000"),
    ("'%d/%m/%Y %H:%M'", None, "13/09/2020 12:26", "2020-09-13T12:26:00.000"),
    ("'%d/%m/%Y %H:%M'", "America/New_York", "13/09/2020 12:26", "2020-09-13T16:26:00.000"),
    # The hour that is left out in spring, and the one that comes twice in autumn.
    ("'%d/%m/%Y %H:%M'", "Europe/Zurich", "29/03/2020 02:30", "2020-03-29T01:30:00.000"),
    ("'%d/%m/%Y %H:%M'", "Europe/Zurich", "25/10/2020 02:30", "2020-10-25T00:30:00.000"),
]


@pytest.mark.parametrize(("form", "zone", "text", "moment"), TIMES)
def test_times_are_read_in_their_format_and_zone(tmp_path, form, zone, text, moment):
    where = f", time_zone: {zone}" if zone else ""
    mapping = PLAIN.replace("event_time: at", f"event_time: {{column: at, format: {form}{where}}}")
    _, rows = read(tmp_path, mapping, at=[text])
    assert rows["event_time"].dt.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_list() == [moment]


def test_times_with_and_without_a_zone_are_not_mixed(tmp_path):
    mixed = ["2020-01-01T00:00:00", "2020-01-01T00:00:00+02:00"]
    with pytest.raises(HistoryError, match="times with a zone and times without"):
        read(tmp_path, PLAIN, at=mixed)
    said = PLAIN.replace("event_time: at", "event_time: {column: at, time_zone: Europe/Zurich}")
    _, rows = read(tmp_path, said, at=mixed)
    assert rows["event_time"].dt.hour().to_list() == [23, 22]


REFUSED = [
    ({"amount": ["-1.00"]}, "amount is negative.*negative: "),
    ({"amount": ["many"]}, "amount is no number"),
    ({"amount": ["inf"]}, "amount is no number"),
    ({"at": ["yesterday"]}, "event_time is none in the format 'rfc3339'"),
    ({"card": [None]}, "card_id is missing"),
    ({"fraud": ["maybe"]}, "label fraud has a value that is neither"),
]


@pytest.mark.parametrize(("columns", "problem"), REFUSED)
def test_a_row_that_is_no_transaction_is_named_or_counted(tmp_path, columns, problem):
    good = {"card": ["c"], "amount": ["1.50"], "at": ["2020-01-01T00:00:00Z"], "fraud": ["0"]}
    both = {name: [*good[name], *columns.get(name, good[name])] for name in good}
    with pytest.raises(HistoryError, match=f"(?s){problem}.*row 2 of the set"):
        read(tmp_path, PLAIN, **both)
    lenient = PLAIN.replace("amount: amount", "amount: {column: amount, negative: leave_out}")
    made, rows = read(tmp_path, f"{lenient[:-1]}, bad_rows: leave_out}}", **both)
    assert (made.rows, made.written, sum(made.left_out.values()), len(rows)) == (2, 1, 1, 1)


LEAKS = [
    ("inputs: [fraud]", "label's own column"),
    ("inputs: [{column: x, known_at: {column: later}}]", "input x is a leak"),
]


@pytest.mark.parametrize(("inputs", "problem"), LEAKS)
def test_an_input_from_after_the_event_is_refused(tmp_path, inputs, problem):
    with pytest.raises(HistoryError, match=problem):
        read(tmp_path, with_(inputs), x=["1"], later=["2020-01-02T00:00:00Z"])


WRONG = [
    ("{card_id: card}", "missing required field `amount`"),
    (with_("colour: red"), "unknown field `colour`"),
    (with_("time_zone: Nowhere/City"), "no time zone Nowhere/City"),
    (with_("inputs: [{column: amount, name: amount}]"), "amount is a column of the catalogue"),
    (with_("inputs: [nothing]"), "has no column nothing"),
    (with_("inputs: ['Z*']"), "has no column Z"),
    (with_("inputs: [card]"), "texts that are no numbers"),
    (PLAIN.replace("label: fraud", "label: frauds"), "did you mean fraud"),
    ("[", "is not YAML"),
]


@pytest.mark.parametrize(("mapping", "problem"), WRONG)
def test_a_mapping_that_cannot_be_is_refused_in_words(tmp_path, mapping, problem):
    with pytest.raises(HistoryError, match=problem):
        read(tmp_path, mapping, card=["c"])


def test_inputs_are_numbers_texts_ages_and_distances(tmp_path):
    inputs = (
        "inputs: ['V*', {column: kind, type: categorical}, {column: born, type: age_years, name: age}, "
        "{columns: [a, b, c, d], type: distance_km, name: far}]"
    )
    made, rows = read(
        tmp_path, with_(inputs), V1=["1.5", None], V2=["2", "3"], kind=["x", None], born=["1980-01-01", "1990-01-01"],
        a=["47.0"] * 2, b=["8.0"] * 2, c=["47.0", "48.0"], d=["8.0"] * 2,
    )  # fmt: skip
    assert rows["x:V1"].to_list() == [1.5, None]
    assert rows["x:kind"].to_list() == ["x", None]
    assert rows["x:age"].to_list() == pytest.approx([40.0, 30.0], abs=0.01)
    assert rows["x:far"].to_list() == pytest.approx([0.0, 111.19], abs=0.1)
    assert made.missing == {"V1": 1, "kind": 1}
    with pytest.raises(HistoryError, match="infinite"):
        read(tmp_path, with_("inputs: [V1]"), V1=["inf"])


def test_rows_in_any_order_give_the_same_table(tmp_path):
    tables = []
    for name, shuffled in (("sorted", False), ("shuffled", True)):
        folder = tmp_path / name
        lookalikes.handbook(folder, 2_000)
        rows = pl.read_parquet(folder / "*.parquet")
        for file in folder.iterdir():
            file.unlink()
        (rows.sample(fraction=1.0, shuffle=True, seed=1) if shuffled else rows).write_parquet(folder / "all.parquet")
        (tmp_path / "mapping.yaml").write_text(lookalikes.HANDBOOK)
        convert(folder, load_mapping(tmp_path / "mapping.yaml"), tmp_path / f"{name}-history")
        build_table(tmp_path / f"{name}-history", tmp_path / f"{name}.parquet", by_time=True, chunk_rows=150)
        tables.append(pl.read_parquet(tmp_path / f"{name}.parquet"))
    assert tables[0].equals(tables[1])


_MEASURED = """
import resource, sys
from pathlib import Path
from features.mapping import convert as work
from features.mapping import reading
from features.mapping.spec import load_mapping
from features.offline import build_table
reading.CHUNK_ROWS = 20_000
source, out = Path(sys.argv[1]), Path(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
work.convert(source, load_mapping(out / "mapping.yaml"), out / "history")
build_table(out / "history", out / "table.parquet", by_time=True, chunk_rows=20_000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_an_unsorted_file(tmp_path):
    """Ten times the rows, in no order, take hardly more memory."""
    grown = []
    for rows in (40_000, 400_000):
        folder = tmp_path / str(rows)
        folder.mkdir()
        frame = pl.DataFrame({"n": range(rows)}).select(
            (pl.col("n") * 7919 % 500).alias("card"),
            ((pl.col("n") * 104_729 % 10_000 + 1) / 100).alias("amount"),
            (1_600_000_000 + pl.col("n") * 7_368_787 % 10_000_000).alias("at"),
            pl.lit("0").alias("fraud"),
            pl.lit("a text that is long enough to take some memory when it is kept").alias("kind"),
        )
        frame.write_csv(folder / "set.csv")
        epoch = PLAIN.replace("event_time: at", "event_time: {column: at, format: epoch_s}")
        (folder / "mapping.yaml").write_text(f"{epoch[:-1]}, inputs: [{{column: kind, type: categorical}}]}}")
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, str(folder / "set.csv"), str(folder)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        grown.append(int(done.stdout))
        assert pl.scan_parquet(folder / "table.parquet").select(pl.len()).collect().item() == rows
    assert grown[1] < grown[0] + 150, f"MiB: {grown}"
