"""The soak run's judging: what is flat, what grows, and what was lost."""

from __future__ import annotations

import math
import random

import pytest

from soak.judge import Bound, judge
from soak.load import RETENTION_MS, Plan
from soak.run import Counts, Sample, bounds, judged
from soak.scrape import parsed, quantile, total

AT_S = [10.0 * i for i in range(1, 361)]


def noise(seed: int, size: float) -> list[float]:
    rng = random.Random(seed)
    return [rng.uniform(-size, size) for _ in AT_S]


@pytest.mark.parametrize("seed", range(5))
def test_a_noisy_flat_series_is_flat(seed):
    verdict = judge(AT_S, [200 + n for n in noise(seed, 6)], Bound(share=0.05, absolute=8))

    assert verdict.is_flat
    assert abs(verdict.level - 200) < 2


@pytest.mark.parametrize("seed", range(5))
def test_a_slow_leak_is_found_in_the_noise(seed):
    verdict = judge(AT_S, [200 + t / 60 + n for t, n in zip(AT_S, noise(seed, 6), strict=True)], Bound(share=0.05))

    assert not verdict.is_flat
    assert verdict.per_hour == pytest.approx(60, rel=0.15)


def test_filling_the_windows_first_is_no_growth():
    filling = [min(t / 600, 1.0) * 150 for t in AT_S]

    assert judge(AT_S, filling, Bound(share=0.03)).is_flat


def test_shrinking_is_no_growth():
    assert judge(AT_S, [500 - t / 10 for t in AT_S], Bound(share=0.01)).is_flat


def test_one_spike_is_no_growth():
    values = [100.0] * len(AT_S)
    values[-3] = 5_000.0

    assert judge(AT_S, values, Bound(share=0.01)).is_flat


def test_a_collected_heap_is_judged_by_what_is_left():
    saw = [50.0 + i % 30 * 8 for i in range(len(AT_S))]
    leaking = [value + t / 10 for value, t in zip(saw, AT_S, strict=True)]
    bound = Bound(share=0.25, absolute=10, how="least")

    assert judge(AT_S, saw, bound).is_flat
    assert not judge(AT_S, leaking, bound).is_flat


def test_a_flat_lag_that_is_too_long_does_not_hold():
    assert judge(AT_S, [900.0] * len(AT_S), Bound(absolute=100, most=1000)).is_flat
    assert not judge(AT_S, [1_100.0] * len(AT_S), Bound(absolute=100, most=1000)).is_flat


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 8, [math.nan] * 360])
def test_too_little_is_never_flat(values):
    assert not judge(AT_S[: len(values)], values, Bound(share=1)).is_flat


def sample(at_s: float, **changed: float) -> Sample:
    flat = dict.fromkeys(set(Sample.__struct_fields__) - {"at_s"}, 50.0)
    return Sample(**{**flat, "at_s": at_s, **changed})


def test_every_bound_is_on_a_series_that_is_sampled():
    assert set(bounds(400)) <= set(Sample.__struct_fields__)
    assert all(verdict.is_flat for verdict in judged([sample(t) for t in AT_S], 400).values())


def test_the_one_series_that_grows_is_named():
    verdicts = judged([sample(t, redis_used=50 + t / 100) for t in AT_S], 400)

    assert [name for name, verdict in verdicts.items() if not verdict.is_flat] == ["redis_used"]


@pytest.mark.parametrize("changed", [{"in_topic": 9}, {"outcomes": 11}, {"documents": 9}, {"sent": 11}])
def test_counts_must_be_equal(changed):
    whole = {"sent": 10, "in_topic": 10, "outcomes": 10, "documents": 10}

    assert Counts(**whole).nothing_lost
    assert not Counts(**{**whole, **changed}).nothing_lost


def test_a_plan_passes_its_windows_in_the_past_and_at_a_natural_density():
    plan = Plan(3600, 400, 6)
    now_ms = 1_800_000_000_000
    ends_ms = plan.start_ms(now_ms) + plan.seconds * 1000 * plan.speed

    assert plan.speed * plan.seconds == pytest.approx(6 * RETENTION_MS / 1000)
    assert ends_ms < now_ms
    per_card_and_day = plan.rate * plan.seconds / plan.cards / (6 * RETENTION_MS / 86_400_000)
    assert per_card_and_day == pytest.approx(3.6, rel=0.01)


BEFORE = """\
# TYPE fraud_end_to_end_seconds histogram
fraud_end_to_end_seconds_bucket{le="0.01"} 100
fraud_end_to_end_seconds_bucket{le="0.1"} 100
fraud_end_to_end_seconds_bucket{le="+Inf"} 100
"""
AFTER = """\
# TYPE fraud_end_to_end_seconds histogram
fraud_end_to_end_seconds_bucket{le="0.01"} 150
fraud_end_to_end_seconds_bucket{le="0.1"} 200
fraud_end_to_end_seconds_bucket{le="+Inf"} 200
# TYPE fraud_consumer_lag gauge
fraud_consumer_lag{partition="0"} 3
fraud_consumer_lag{partition="1"} 4
"""


def test_quantiles_count_what_happened_between_two_looks():
    before, after = parsed(BEFORE), parsed(AFTER)

    assert quantile(0.5, before, after, "fraud_end_to_end_seconds") == pytest.approx(0.01)
    assert quantile(0.75, before, after, "fraud_end_to_end_seconds") == pytest.approx(0.055)
    assert math.isnan(quantile(0.99, after, after, "fraud_end_to_end_seconds"))
    assert total(after, "fraud_consumer_lag") == 7
    assert total(after, "nothing") == 0
