"""The history has the reference's distribution, and the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from local import generator, population
from local.generator import GeneratorError, generate

TRANSACTIONS = 200_000


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    out = tmp_path_factory.mktemp("history")
    generate(TRANSACTIONS, 370, 11, out)
    return pl.read_parquet(out)


def chains(history):
    frauds = history.filter(pl.col("is_fraud") == 1).sort("attack_id", "event_time")
    return [group for _, group in frauds.group_by("attack_id", maintain_order=True)]


def minor(amounts):
    return (amounts * 100).cast(pl.Int64).to_numpy()


def test_same_arguments_give_the_same_bytes(tmp_path):
    one, two, other = (
        generate(20_000, 50, seed, tmp_path / name).files[0].read_bytes()
        for name, seed in (("one", 5), ("two", 5), ("other", 6))
    )
    assert one == two
    assert one != other


def test_columns_are_those_of_the_contract_and_the_labels(history):
    assert dict(history.schema) == {
        "transaction_id": pl.String,
        "card_id": pl.String,
        "amount": pl.Decimal(18, 2),
        "currency": pl.String,
        "event_time": pl.Datetime("ms", "UTC"),
        "merchant_id": pl.String,
        "merchant_category": pl.String,
        "country": pl.String,
        "channel": pl.String,
        "device_id": pl.String,
        "ip_address": pl.String,
        "email": pl.String,
        "is_fraud": pl.Int8,
        "attack_id": pl.Int64,
        "attack_position": pl.Int8,
    }
    assert len(history) == TRANSACTIONS == history["transaction_id"].n_unique()
    assert history["event_time"].is_sorted()
    assert history.drop("attack_id", "attack_position").null_count().sum_horizontal().item() == 0


def test_times_and_cards_are_uniform(history):
    elapsed = (history["event_time"].dt.epoch("ms").to_numpy() - generator.START_MS) / generator.SPAN_MS
    assert np.histogram(elapsed, bins=10, range=(0, 1))[0] / TRANSACTIONS == pytest.approx(0.1, abs=0.005)
    per_card = history["card_id"].value_counts()["count"]
    assert len(per_card) == 370
    assert per_card.std() == pytest.approx(np.sqrt(TRANSACTIONS / 370), rel=0.15)


def test_ordinary_amounts_follow_the_reference(history):
    amounts = minor(history.filter(pl.col("is_fraud") == 0)["amount"])
    # Ranges overlap; where only one bucket reaches, the share is that bucket's own.
    shares = [np.mean((amounts >= low) & (amounts < high)) for low, high in ((1_200, 10_000), (200, 1_000))]
    assert shares[0] == pytest.approx(0.525 * 8_800 / 9_101, abs=0.005)
    assert shares[1] == pytest.approx(0.075 * 800 / 1_101, abs=0.003)
    assert np.mean(amounts > 100_100) == pytest.approx(0.10, abs=0.003)
    assert np.mean(amounts < 100) == pytest.approx(0.05 * 99 / 200, abs=0.002)
    assert amounts.min() == 1
    assert amounts.max() <= 1_000_100


def test_attacks_have_the_reference_share_and_shape(history):
    attacks = chains(history)
    assert sum(map(len, attacks)) == pytest.approx(TRANSACTIONS * 0.0025, abs=10)
    assert {len(attack) for attack in attacks} == set(range(3, 11))
    for attack in attacks:
        assert attack["card_id"].n_unique() == 1
        assert attack["attack_position"].to_list() == list(range(1, len(attack) + 1))
        gaps_ms = np.diff(attack["event_time"].dt.epoch("ms").to_numpy())
        assert gaps_ms.min() >= 30_000
        assert gaps_ms.max() <= 120_000


def test_amounts_after_the_head_are_mostly_small(history):
    for attack in chains(history):
        length = len(attack) - 1
        # ceil(length * share) of each bucket in turn, cut to the length: the two small buckets once each.
        small = minor(attack["amount"][1:])
        assert np.sum(small <= 1_200) >= 2
        assert small.max() <= (10_100 if length < 7 else 100_100)
    orders = [int(np.argmin(minor(attack["amount"][1:]))) for attack in chains(history)]
    assert len(set(orders)) > 3, "the order within an attack is shuffled"


def test_heads_are_ordinary_purchases(history):
    heads = minor(history.filter(pl.col("attack_position") == 1)["amount"])
    assert np.mean(heads > 10_100) == pytest.approx(0.35, abs=0.2)


def test_details_carry_no_signal_and_no_real_address(history):
    home = pl.col("card_id").str.slice(5).cast(pl.Int64).mod(len(population.COUNTRIES))
    names = pl.lit(pl.Series(population.COUNTRIES))
    at_home = history.group_by("is_fraud").agg((pl.col("country") == names.gather(home)).mean()).sort("is_fraud")
    assert at_home["country"].to_numpy() == pytest.approx(0.97, abs=0.03)
    assert history["email"].str.ends_with("@example.com").all()
    assert history["ip_address"].str.contains(r"^(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+$").all()


def test_parts_hold_one_history_and_stale_parts_go(tmp_path, monkeypatch):
    monkeypatch.setattr(generator, "PART_ROWS", 1_000)
    seen: list[int] = []
    assert len(generate(4_500, 10, 1, tmp_path).files) == 5
    summary = generate(2_500, 10, 1, tmp_path, seen.append)
    assert seen == [1_000, 1_000, 500]
    assert sorted(tmp_path.iterdir()) == list(summary.files)
    whole = pl.read_parquet(tmp_path)
    assert whole["event_time"].is_sorted()
    assert whole["transaction_id"].n_unique() == 2_500 == summary.transactions
    assert whole["is_fraud"].sum() == summary.frauds > 0


@pytest.mark.parametrize("transactions", [10, 11, 100, 1_201])
def test_a_tiny_history_has_an_attack(tmp_path, transactions):
    summary = generate(transactions, 1, 0, tmp_path)
    assert summary.attacks >= 1
    assert len(pl.read_parquet(tmp_path)) == transactions


@pytest.mark.parametrize(("transactions", "cards", "seed"), [(9, 1, 0), (100, 0, 0), (100, 1, -1), (-5, 1, 0)])
def test_impossible_arguments_are_refused(tmp_path, transactions, cards, seed):
    with pytest.raises(GeneratorError, match="must be"):
        generate(transactions, cards, seed, tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    occupied = Path(tmp_path / "file")
    occupied.write_text("")
    with pytest.raises(GeneratorError, match="cannot write the history to"):
        generate(100, 1, 0, occupied)
