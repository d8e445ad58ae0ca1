"""The commands as a data scientist meets them; one road from end to end on real servers."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import msgspec
import polars as pl
import pytest

from features.errors import ModelError
from fraudstream.pulled import pull_if_remote
from lifecycle.lineage import read_manifest
from local.generator import generate
from scoring.manifest import MANIFEST_FILE
from scoring.registry_uri import ModelName, keep_copy, point
from streams.settings import load_settings
from tests.fraudstream.test_cli import run
from tests.support import wait_until


def variant(model: Path, out: Path) -> Path:
    """The same trees with other thresholds: another model, at the price of a copy."""
    shutil.copytree(model, out)
    manifest = read_manifest(model)
    limits = msgspec.structs.replace(manifest.thresholds, review=manifest.thresholds.review / 4)
    (out / MANIFEST_FILE).write_bytes(msgspec.structs.replace(manifest, thresholds=limits).encode())
    return out


@pytest.fixture
def settings(monkeypatch, tmp_path):
    def made(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("FRAUD_REGISTRY_DIR", str(tmp_path / "registry"))
        return load_settings(None)

    return made


def test_a_role_beside_a_registry_that_is_away_uses_its_last_copy_and_says_so(model_dir, settings, tmp_path, capsys):
    chosen = settings(FRAUD_MODEL="models:/fraud@champion", FRAUD_REGISTRY="http://127.0.0.1:9")

    with pytest.raises(ModelError, match="the registry did not answer"):
        pull_if_remote(chosen)
    copy = keep_copy(model_dir, tmp_path / "registry", "fraud-1-x")
    point(tmp_path / "registry", ModelName("fraud", "champion"), copy)
    pull_if_remote(chosen)

    assert "registry_away" in capsys.readouterr().out


def test_a_role_that_names_a_folder_asks_no_registry(settings):
    pull_if_remote(settings(FRAUD_MODEL="model", FRAUD_REGISTRY="http://127.0.0.1:9"))


def test_commands_say_what_is_missing(tmp_path):
    empty = run(tmp_path, "model", "list")
    none = run(tmp_path, "model", "promote")
    away = run(tmp_path, "watch", "--outcomes", "nowhere.jsonl", "--labels", "none", FRAUD_MODEL="registry:champion")

    assert "model register" in empty.stdout
    assert none.returncode == 66
    assert "model list" in none.stderr
    assert away.returncode == 66
    assert "FRAUD_REGISTRY_DIR" in away.stderr


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> pl.DataFrame:
    """Some days of a busy history, as many of them fraud as a test needs."""
    folder = tmp_path_factory.mktemp("days")
    generate(60_000, 120, 8, folder)
    return pl.read_parquet(folder).sort("event_time").head(6_000)


@pytest.mark.slow
def test_a_model_goes_from_a_folder_into_running_workers_and_back(make_pipeline, model_dir, days, opensearch_client):
    pipeline = make_pipeline(
        FRAUD_MODEL="models:/fraud@champion",
        FRAUD_CHALLENGER="models:/fraud@challenger",
        FRAUD_REGISTRY_DIR="registry",
        FRAUD_LIFECYCLE="plan.yaml",
    )
    (pipeline.folder / "plan.yaml").write_text(
        "gates: {parity_transactions: 1000, predict_cost_ratio: 20}\nretrain: {maturity_days: 0}\n"
    )
    other = variant(model_dir, pipeline.folder / "other")
    pipeline.run("model", "register", str(model_dir), "--as", "champion")
    pipeline.run("model", "register", str(other), "--as", "challenger")
    one, two = (read_manifest(folder).version for folder in (model_dir, other))
    role = pipeline.start().wait_ready()

    def decides(version: str) -> bool:
        return f'model="{version}"' in role.get("/metrics")[1]

    fields = days.drop("is_fraud", "attack_id", "attack_position").with_columns(
        pl.col("amount").cast(pl.String), pl.col("event_time").dt.epoch("ms")
    )
    rows = [(row["card_id"], msgspec.json.encode(row)) for row in fields.iter_rows(named=True)]
    pipeline.publish(rows)
    answers = pipeline.read("processed_transactions", len(rows))
    truth = days.select("card_id", "transaction_id", "is_fraud")
    truth.write_csv(pipeline.folder / "truth.csv")

    assert decides(one)
    assert {(a.value["fraud"]["model"], a.value["fraud"]["shadow"]["model"]) for a in answers} == {(one, two)}
    live = ("--outcomes", "topic", "--labels", "truth.csv", "--json")
    found = json.loads(pipeline.run("model", "compare", *live, "--html", "shadow.html").stdout)
    assert found["rows"] == len(rows)
    assert found["judgement"]["frauds"] == days["is_fraud"].sum()
    assert found["judgement"]["average_precision"]["value"] == 0
    assert sum(flips["caught_more"] for flips in found["flips"]) > 0
    assert (pipeline.folder / "shadow.html").read_text().startswith("<!doctype html>")

    seen = json.loads(pipeline.run("watch", *live, "--index").stdout)
    assert seen["rows"] == seen["scored"] == len(rows)
    index = f"{pipeline.prefix}operations"
    opensearch_client.indices.refresh(index=f"{index}*")
    drift = opensearch_client.count(index=index, body={"query": {"term": {"kind": "drift"}}})
    assert drift["count"] == len(seen["columns"])

    promoted = json.loads(pipeline.run("model", "promote", "--json").stdout)
    assert promoted["accepted"]
    assert "feature parity" in {gate["name"] for gate in promoted["gates"]}
    began_s = time.monotonic()
    wait_until(lambda: decides(two), 20)
    assert time.monotonic() - began_s < 20
    pipeline.run("model", "rollback", "--reason", "a test")
    wait_until(lambda: decides(one), 20)
    assert role.stop() == 0
