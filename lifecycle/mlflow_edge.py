"""The edge to MLflow: imported when it is needed, silent, and its exceptions mapped to ours."""

# ruff: noqa: PLC0415 - MLflow takes a second to import, and only the registry's commands need it
from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from features.errors import ConfigError, ModelError, ServerUnavailable

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_VARIABLE: Final = "FRAUD_REGISTRY"
_USER: Final = re.compile(r"(?<=://)[^/@\s]*@")
_DATABASE: Final = "mlflow.db"
_QUIET: Final = ("mlflow", "alembic", "sqlalchemy", "git", "urllib3")
_LONGEST: Final = 200
_ENVIRONMENT: Final = {
    # Nothing leaves this machine but to the server that FRAUD_REGISTRY names.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}
_MISSING: Final = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE"}


def make_client(uri: str, folder: Path) -> MlflowClient:
    """A client of the registry; its database is made where it is a new file.

    Args:
        uri: server or database; empty: SQLite in the folder.
        folder: the registry's folder on this machine.

    Raises:
        ConfigError: MLflow is not installed, or the folder cannot be written.
        ServerUnavailable: the registry does not answer.
    """
    os.environ.update({name: value for name, value in _ENVIRONMENT.items() if name not in os.environ})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from mlflow.store.db import utils
            from mlflow.tracking import MlflowClient
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"{exc.name} is not installed; the registry needs: pip install 'fraudstream[registry]'"
        ) from exc
    for name in _QUIET:  # after the import, which sets them
        logging.getLogger(name).setLevel(logging.ERROR)
    # MLflow would try a database that is away for more than a minute.
    utils.MAX_RETRY_COUNT = 2
    address = uri or local_uri(folder)
    with mapped_errors(address):
        return MlflowClient(tracking_uri=address, registry_uri=address)


def local_uri(folder: Path) -> str:
    """The address of the registry that is a file in this folder, which is made where it is missing.

    Raises:
        ConfigError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"FRAUD_REGISTRY_DIR: cannot make {folder}: {exc.strerror or exc}") from exc
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"FRAUD_REGISTRY_DIR: {folder} cannot be written")
    return f"sqlite:///{folder.resolve() / _DATABASE}"


@contextmanager
def mapped_errors(address: str) -> Iterator[None]:
    """Let only our errors out of calls to MLflow.

    Raises:
        ServerUnavailable: the registry does not answer, or its database cannot be used.
        ModelError: what was asked for is not there.
    """
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with warnings.catch_warnings():
            # MLflow and SQLAlchemy warn each other of their next versions; the lock keeps them as they are.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    except MlflowException as exc:
        said = masked(str(exc).splitlines()[0])
        if exc.error_code in _MISSING:
            raise ModelError(f"{_VARIABLE}: {said}; see `fraudstream model list`") from exc
        raise _away(address, said) from exc
    except (SQLAlchemyError, RequestException, OSError) as exc:
        raise _away(address, masked(str(exc).splitlines()[0])) from exc


def masked(text: str) -> str:
    """A text without the users and passwords of its URLs."""
    return _USER.sub("****@", text)


def _away(address: str, said: str) -> ServerUnavailable:
    cause = said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."
    return ServerUnavailable(
        f"{_VARIABLE}: the registry at {masked(address)} cannot be used ({cause}); start it, or correct the variable"
    )
