"""Traffic as a model sees it: a history's own features, answered by a model, with or without a new kind of attack."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from features.catalogue import FEATURE_NAMES, FEATURE_SET, FEATURES
from features.offline import build_table
from features.times import format_rfc3339
from lifecycle.traffic import Traffic, _Outcome, traffic_of
from local.generator import START_MS, generate
from local.regime import Change
from scoring.decision import decide
from scoring.model import Model
from scoring.training import SplitOptions, train

DAY_MS = 86_400_000
CHANGE_DAY = 90


class Story(NamedTuple):
    """A history with a change in its middle, a model from before it, and one that knows it.

    Attributes:
        table: feature table of all of it, with `ms`, in order of time.
        champion: model folder; trained on what lies before the change.
        challenger: model folder; trained up to three weeks after it.
    """

    table: pl.DataFrame
    champion: Path
    challenger: Path

    def days(self, first: float, stop: float) -> pl.DataFrame:
        first_ms, stop_ms = START_MS + first * DAY_MS, START_MS + stop * DAY_MS
        return self.table.filter((pl.col("ms") >= first_ms) & (pl.col("ms") < stop_ms))


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story")
    generate(108_000, 200, 5, folder / "history", change=Change(START_MS + CHANGE_DAY * DAY_MS, 0.03))
    build_table(folder / "history", folder / "all.parquet")
    moment = pl.col("event_time").dt.epoch("ms").alias("ms")
    made = Story(
        pl.read_parquet(folder / "all.parquet").with_columns(moment).sort("ms"),
        folder / "champion",
        folder / "challenger",
    )
    for stop, out, split in ((CHANGE_DAY, made.champion, None), (111, made.challenger, SplitOptions(0.85, 0.07, 1.0))):
        made.days(0, stop).drop("ms").write_parquet(folder / "part.parquet")
        train(folder / "part.parquet", out, seed=1, split=split)
    return made


@pytest.fixture(scope="session")
def champion(story: Story) -> Model:
    return Model.load(story.champion)


@pytest.fixture(scope="session")
def challenger(story: Story) -> Model:
    return Model.load(story.challenger)


def outcomes(rows: pl.DataFrame, model: Model, shadow: Model | None = None) -> list[dict[str, Any]]:
    """What `processed_transactions` would hold of rows of a feature table."""
    x = rows.select(FEATURE_NAMES).cast(pl.Float64).to_numpy()
    said = [(one, one.predict(x)) for one in (model, shadow) if one is not None]
    judged = [(one.version, p.tolist(), decide(p, one.thresholds)) for one, p in said]
    made = []
    for row, (values, transaction, card, ms) in enumerate(
        zip(x.tolist(), rows["transaction_id"].to_list(), rows["card_id"].to_list(), rows["ms"].to_list(), strict=True)
    ):
        features = {f.name: int(v) if f.dtype == "int64" else v for f, v in zip(FEATURES, values, strict=True)}
        opinions = [
            {"model": name, "probability": p[row], "score": int(scores[row]), "outcome": verdicts[row]}
            for name, p, (scores, verdicts) in judged
        ]
        fraud = {**opinions[0], "feature_set": FEATURE_SET, "features": features}
        if shadow is not None:
            fraud["shadow"] = opinions[1]
        made.append(
            {
                "transaction_id": transaction, "card_id": card, "type": "authorization", "currency": "USD",
                "amount_minor": round(features["amount"] * 100), "event_time": format_rfc3339(ms), "country": "US",
                "fraud": fraud,
            }
        )  # fmt: skip
    return made


def traffic(rows: pl.DataFrame, model: Model, shadow: Model | None = None) -> Traffic:
    """The same as columns."""
    import msgspec

    return traffic_of([msgspec.convert(one, _Outcome) for one in outcomes(rows, model, shadow)])


def labels_of(rows: pl.DataFrame) -> np.ndarray:
    """The truth, in the order of `traffic`."""
    return rows["is_fraud"].cast(pl.Int64).to_numpy()
