"""The registry of models: runs, versions, names in use, in MLflow (SQLite in a folder, or any server)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from features.errors import ModelError
from lifecycle.lineage import Lineage, lineage_of, metrics_of, params_of, read_manifest, signature
from lifecycle.mlflow_edge import local_uri, make_client, mapped_errors
from scoring.registry_uri import DEFAULT_NAME, ModelName, check_folder, keep_copy, point

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
PREVIOUS: Final = "previous"
_EXPERIMENT: Final = "fraudstream"
_ARTIFACTS: Final = "model"
_SIGNATURE: Final = "MLmodel"
_PAGE: Final = 200


class Version(msgspec.Struct, frozen=True):
    """One registered model.

    Attributes:
        name: of the registered model.
        number: counts from 1.
        model: version as in outcomes.
        aliases: names in use that mean it.
        created_ms: when it was registered, epoch milliseconds.
        run_id: of its run.
        tags: lineage, and what was recorded of it later.
    """

    name: str
    number: int
    model: str
    aliases: tuple[str, ...]
    created_ms: int
    run_id: str
    tags: dict[str, str]

    @property
    def folder(self) -> str:
        """The name of its copy on this machine."""
        return f"{self.name}-{self.number}-{self.model}"


class Registry:
    """Models under one name.

    Args:
        uri: server or database; empty: SQLite in the folder.
        folder: copies and links on this machine.
        name: of the registered model.
    """

    def __init__(self, uri: str, folder: Path, name: str = DEFAULT_NAME) -> None:
        self.folder, self.name = folder, name
        self._uri = uri
        self._client: MlflowClient = make_client(uri, folder)
        self._address = uri or local_uri(folder)

    def register(self, model: Path, *, ruleset: str, extra: Mapping[str, str] | None = None) -> Version:
        """Take a model folder in, with everything that is known of it.

        Args:
            model: folder as `fraudstream train` writes it.
            ruleset: version of the rules in force, or `none`.
            extra: further tags.

        Raises:
            ModelError: the folder holds no model, or a damaged one.
            ServerUnavailable: the registry does not answer.
        """
        check_folder(model)
        manifest = read_manifest(model)
        lineage = lineage_of(manifest, ruleset)
        with mapped_errors(self._address), tempfile.TemporaryDirectory(prefix="fraudstream-") as folder:
            run_id = self._run(lineage.model)
            for key, value in params_of(manifest, lineage).items():
                self._client.log_param(run_id, key, value)
            for key, figure in metrics_of(manifest.metrics).items():
                self._client.log_metric(run_id, key, figure)
            staged = Path(folder) / _ARTIFACTS
            shutil.copytree(model, staged, ignore=shutil.ignore_patterns(".*"))
            (staged / _SIGNATURE).write_text(signature(manifest.features), encoding="utf-8")
            self._client.log_artifacts(run_id, str(staged), _ARTIFACTS)
            made = self._version(run_id, lineage, extra or {})
            self._client.set_terminated(run_id)
            copy = keep_copy(staged, self.folder, made.folder)
        point(self.folder, ModelName(self.name, str(made.number)), copy)
        return made

    def versions(self) -> list[Version]:
        """All of them, the newest first; none where nothing was registered."""
        with mapped_errors(self._address):
            aliases = self._aliases()
            found = self._client.search_model_versions(f"name = '{self.name}'", max_results=_PAGE)
            made = [_version_of(one, aliases) for one in found]
        return sorted(made, key=lambda one: one.number, reverse=True)

    def find(self, ref: str) -> Version:
        """A model by alias, number or version as in outcomes; raises ModelError where there is none."""
        wanted = ref.removeprefix("v")
        for one in self.versions():
            if ref in one.aliases or wanted == str(one.number) or ref == one.model:
                return one
        raise ModelError(f"the registry has no model {ref} under the name {self.name}; see `fraudstream model list`")

    def holder(self, alias: str) -> Version | None:
        """Who holds an alias now."""
        return next((one for one in self.versions() if alias in one.aliases), None)

    def metrics(self, version: Version) -> dict[str, float]:
        """The figures of a model's run."""
        with mapped_errors(self._address):
            return dict(self._client.get_run(version.run_id).data.metrics)

    def tag(self, version: Version, **tags: str) -> None:
        """Record something of a model."""
        with mapped_errors(self._address):
            for key, value in tags.items():
                self._client.set_model_version_tag(self.name, str(version.number), key, value)

    def attach(self, version: Version, file: str, text: str) -> None:
        """Keep a text with a model's run."""
        with mapped_errors(self._address):
            self._client.log_text(version.run_id, text, file)

    def call(self, alias: str, version: Version) -> Path:
        """Let an alias mean a model from now on: in the registry, then on this machine.

        Returns:
            The copy that workers read.
        """
        copy = self.fetch(version)
        with mapped_errors(self._address):
            self._client.set_registered_model_alias(self.name, alias, str(version.number))
        point(self.folder, ModelName(self.name, alias), copy)
        return copy

    def uncall(self, alias: str) -> None:
        """Let an alias mean nothing."""
        with mapped_errors(self._address):
            self._client.delete_registered_model_alias(self.name, alias)
        (self.folder / ModelName(self.name, alias).link).unlink(missing_ok=True)

    def fetch(self, version: Version) -> Path:
        """The copy of a model on this machine, taken from the registry where there is none.

        Raises:
            ModelError: what the registry holds is damaged.
            ServerUnavailable: the registry does not answer.
        """
        kept = self.folder / "models" / version.folder
        if kept.is_dir():
            check_folder(kept)
            return kept
        with tempfile.TemporaryDirectory(prefix="fraudstream-") as folder:
            with mapped_errors(self._address):
                taken = Path(self._client.download_artifacts(version.run_id, _ARTIFACTS, folder))
            copy = keep_copy(taken, self.folder, version.folder)
        point(self.folder, ModelName(self.name, str(version.number)), copy)
        return copy

    def pull(self) -> dict[str, Version]:
        """Bring the links of this machine to what the registry says; returns alias -> model of those that moved."""
        moved = {}
        for version in self.versions():
            for alias in version.aliases:
                copy, name = self.fetch(version), ModelName(self.name, alias)
                if (self.folder / name.link).resolve() != copy.resolve():
                    point(self.folder, name, copy)
                    moved[alias] = version
        return moved

    def _run(self, title: str) -> str:
        known = self._client.get_experiment_by_name(_EXPERIMENT)
        if known is None:
            place = None if self._uri else (self.folder / "artifacts").resolve().as_uri()
            experiment = self._client.create_experiment(_EXPERIMENT, artifact_location=place)
        else:
            experiment = known.experiment_id
        return str(self._client.create_run(experiment, run_name=title).info.run_id)

    def _version(self, run_id: str, lineage: Lineage, extra: Mapping[str, str]) -> Version:
        if not self._client.search_registered_models(f"name = '{self.name}'"):
            self._client.create_registered_model(self.name)
        source = f"{self._client.get_run(run_id).info.artifact_uri}/{_ARTIFACTS}"
        tags: dict[str, Any] = {**msgspec.to_builtins(lineage), **extra}
        return _version_of(self._client.create_model_version(self.name, source, run_id=run_id, tags=tags), {})

    def _aliases(self) -> dict[str, int]:
        if not self._client.search_registered_models(f"name = '{self.name}'"):
            return {}
        return {alias: int(number) for alias, number in self._client.get_registered_model(self.name).aliases.items()}


def _version_of(found: ModelVersion, aliases: Mapping[str, int]) -> Version:
    number, tags = int(found.version), dict(found.tags)
    held = tuple(sorted(alias for alias, holder in aliases.items() if holder == number))
    created = int(found.creation_timestamp)
    return Version(found.name, number, tags.get("model", "unknown"), held, created, str(found.run_id), tags)
