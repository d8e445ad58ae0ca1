"""A change in the middle of a history: as many transactions as ever, and attacks of the new kind after it alone."""

from __future__ import annotations

import polars as pl
import pytest

from local.generator import START_MS, GeneratorError, generate
from local.population import ATTACK_GAP_MS
from local.regime import AMOUNTS_MINOR, GAP_MS, Change

AT_MS = START_MS + 90 * 86_400_000
TRANSACTIONS = 60_000


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    out = tmp_path_factory.mktemp("changed")
    made = generate(TRANSACTIONS, 120, 5, out, change=Change(AT_MS, 0.03))
    frame = pl.read_parquet(out).with_columns(pl.col("event_time").dt.epoch("ms").alias("ms"))
    assert made.attacks == frame["attack_id"].n_unique() - 1
    return frame


@pytest.fixture(scope="module")
def drains(history):
    frauds = history.filter(pl.col("is_fraud") == 1).sort("attack_id", "attack_position")
    gap_ms = pl.col("ms").diff().over("attack_id")
    frauds = frauds.with_columns(gap_ms.alias("gap_ms"))
    slow = frauds.filter(pl.col("gap_ms") > ATTACK_GAP_MS[1])["attack_id"].unique()
    return frauds.filter(pl.col("attack_id").is_in(slow.implode()))


def test_there_are_as_many_transactions_as_without_it(history):
    assert len(history) == TRANSACTIONS == history["transaction_id"].n_unique()
    assert history["ms"].is_sorted()


def test_the_new_attacks_are_slow_drains_of_like_amounts_after_the_change(drains):
    chain = drains.filter(pl.col("attack_position") > 1)
    amount = pl.col("amount").cast(pl.Float64)
    spread = chain.group_by("attack_id").agg((amount.max() / amount.min()).alias("times"))

    assert drains["ms"].min() >= AT_MS
    assert drains["card_id"].n_unique() > 50
    assert chain["gap_ms"].is_between(*GAP_MS).all()
    assert (chain["amount"].cast(pl.Float64) * 100).is_between(0.9 * AMOUNTS_MINOR[0] - 1, 1.1 * AMOUNTS_MINOR[1]).all()
    assert (spread["times"] <= 1.1 / 0.9 + 0.01).all()


def test_they_are_the_share_that_was_asked_for(history, drains):
    after = history.filter(pl.col("ms") >= AT_MS)

    assert len(drains) == pytest.approx(0.03 * len(after), rel=0.05)


def test_the_attacks_of_the_reference_go_on(history, drains):
    others = history.filter(pl.col("is_fraud") == 1).join(drains, on="transaction_id", how="anti")

    assert others.filter(pl.col("ms") < AT_MS)["attack_id"].n_unique() > 5
    assert others.filter(pl.col("ms") >= AT_MS)["attack_id"].n_unique() > 5


def test_a_change_that_has_no_room_is_refused(tmp_path):
    with pytest.raises(GeneratorError, match="too few"):
        generate(1000, 10, 1, tmp_path, change=Change(AT_MS, 0.001))


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="share"):
        Change(AT_MS, share)
