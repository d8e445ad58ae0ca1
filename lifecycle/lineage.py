"""Where a model comes from: the words under which the registry keeps it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from features.errors import ModelError
from scoring.manifest import MANIFEST_FILE, FeatureColumn, Manifest
from scoring.report import Report

_GIT_S: Final = 5.0
_KINDS: Final = {"int64": "long", "float64": "double"}


class Lineage(msgspec.Struct, frozen=True):
    """What a model was made from.

    Attributes:
        model: version, as in outcomes.
        data: fingerprint of the training table.
        rows: of it.
        feature_set: version of the catalogue.
        ruleset: version of the rules in force when it was registered, or `none`.
        code: version of the package, and the commit where it runs from a checkout.
    """

    model: str
    data: str
    rows: str
    feature_set: str
    ruleset: str
    code: str


def read_manifest(folder: Path) -> Manifest:
    """A manifest as it stands, whatever catalogue it was made for; raises ModelError where it is none."""
    try:
        return msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=Manifest)
    except OSError as exc:
        raise ModelError(f"no model in {folder} ({MANIFEST_FILE}: {exc.strerror})") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ModelError(f"{folder}: {MANIFEST_FILE} is not a model manifest ({exc})") from exc


def lineage_of(manifest: Manifest, ruleset: str) -> Lineage:
    """What is known of a model's origin."""
    return Lineage(
        manifest.version, manifest.data_fingerprint, str(manifest.rows), manifest.feature_set, ruleset, code_version()
    )


def code_version() -> str:
    """The package's version, and the commit of the checkout that it runs from, if it runs from one."""
    here = Path(__file__).resolve().parent
    try:
        said = subprocess.run(  # noqa: S603 - fixed words
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607 - git of the PATH
            capture_output=True, text=True, check=True, timeout=_GIT_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return version("fraudstream")
    return f"{version('fraudstream')}+{said.stdout.strip()}"


def metrics_of(report: Report) -> dict[str, float]:
    """The figures of an evaluation under the names of gates and of the registry."""
    named = {
        "average_precision": report.average_precision,
        "roc_auc": report.roc_auc,
        "value_detection_rate": report.value_detection_rate,
        "card_precision": report.card_precision,
        "flagged_ordinary": report.ordinary.flagged_rate,
        "flagged_fraud": report.fraud.flagged_rate,
    }
    for point in report.at_rates:
        rate = f"{point.false_positive_rate:g}"
        named[f"recall_at_{rate}"] = point.recall
        for place, caught in enumerate(point.recall_by_position[:4], start=1):
            if caught is not None:
                named[f"recall_{place}_at_{rate}"] = caught
    return {name: float(value) for name, value in named.items() if np.isfinite(value)}


def signature(columns: tuple[FeatureColumn, ...]) -> str:
    """The `MLmodel` file of a model folder: input and output columns, in the words of MLflow."""
    inputs = [{"type": _KINDS.get(one.dtype, "double"), "name": one.name, "required": True} for one in columns]
    outputs = [{"type": "float", "name": "probability", "required": True}]
    content = {
        "artifact_path": "model",
        "flavors": {"fraudstream": {"data": "model.ubj", "manifest": "manifest.json"}},
        "signature": {"inputs": msgspec.json.encode(inputs).decode(), "outputs": msgspec.json.encode(outputs).decode()},
    }
    return msgspec.yaml.encode(content).decode()


def params_of(manifest: Manifest, lineage: Lineage) -> Mapping[str, str]:
    """What a run is said to have been started with."""
    chosen = {f"xgboost.{name}": str(value) for name, value in manifest.parameters.items()}
    return {**chosen, "seed": str(manifest.seed), "rounds": str(manifest.rounds), **msgspec.to_builtins(lineage)}
