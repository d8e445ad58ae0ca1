"""Models of a registry that is a server: taken to this machine before a role starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import structlog

from features.errors import ModelError
from scoring.registry_uri import is_registry_uri, resolve_model
from streams.settings import Settings

_PULL_S: Final = 60.0

log = structlog.get_logger(__name__)


def pull_if_remote(settings: Settings) -> None:
    """Bring the links of this machine up to date, where FRAUD_REGISTRY is a server and a model is named by it.

    In a process of its own: MLflow takes a second and 100 MB, which a role would keep for its life.

    Raises:
        ModelError: the registry is out of reach, and there is no copy of an earlier time.
    """
    names = [uri for uri in (settings.model, settings.challenger) if is_registry_uri(uri)]
    if not settings.registry.get_secret_value() or not names:
        return
    try:
        subprocess.run(
            [sys.executable, "-m", "fraudstream", "model", "pull"], check=True, timeout=_PULL_S, capture_output=True
        )
    except (OSError, subprocess.SubprocessError) as exc:
        said = (getattr(exc, "stderr", None) or b"").decode(errors="replace").strip().splitlines()
        problem = said[-1] if said else type(exc).__name__
        for uri in names:
            try:
                folder = resolve_model(uri, Path(settings.registry_dir))
            except ModelError as missing:
                raise ModelError(f"{missing}; the registry did not answer: {problem}") from exc
            log.warning("registry_away", problem=problem, variable="FRAUD_REGISTRY", model=uri, used=folder.name)
