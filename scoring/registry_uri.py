"""Models by name: what `models:/fraud@champion` points at on this machine, without the registry itself.

The registry's folder holds copies of models, which never change, and a symbolic link for every name in use. A promotion
moves the link in one step, so a process that asks again sees the old model or the new one, and never half of either.

    registry/
    ├── models/fraud-3-xgb-0123456789ab/   model.ubj, manifest.json, ...
    ├── fraud@champion -> models/fraud-3-xgb-0123456789ab
    └── fraud@3 -> models/fraud-3-xgb-0123456789ab
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from features.errors import ModelError
from scoring.manifest import MANIFEST_FILE, MODEL_FILE

DEFAULT_NAME: Final = "fraud"
_WORD: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_MODELS: Final = re.compile(rf"models:/(?P<name>{_WORD})(?:@(?P<alias>{_WORD})|/(?P<version>[0-9]+))")
_SHORT: Final = re.compile(rf"registry:(?:(?P<name>{_WORD})@)?(?P<alias>{_WORD})")
_SCHEMES: Final = ("models:", "registry:")


class ModelName(msgspec.Struct, frozen=True):
    """What a registry URI names.

    Attributes:
        name: of the registered model.
        ref: an alias, or a version number.
    """

    name: str
    ref: str

    @property
    def link(self) -> str:
        """The name of its link in the registry's folder."""
        return f"{self.name}@{self.ref}"


class _Digest(msgspec.Struct):
    model_sha256: str


def is_registry_uri(uri: str) -> bool:
    """Whether this names a model of the registry, and no folder.

    >>> is_registry_uri("models:/fraud@champion"), is_registry_uri("registry:champion"), is_registry_uri("model")
    (True, True, False)
    """
    return uri.startswith(_SCHEMES)


def parse_uri(uri: str) -> ModelName:
    """Read `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `registry:ALIAS` or `registry:NAME@ALIAS`.

    Raises:
        ModelError: it is none of them.

    >>> parse_uri("models:/fraud/3")
    ModelName(name='fraud', ref='3')
    >>> parse_uri("registry:champion").link
    'fraud@champion'
    """
    found = _MODELS.fullmatch(uri) or _SHORT.fullmatch(uri)
    if found is None:
        raise ModelError(
            f"FRAUD_MODEL: {uri} is no model of a registry; write models:/fraud@champion or models:/fraud/3"
        )
    parts = found.groupdict()
    return ModelName(parts["name"] or DEFAULT_NAME, parts["alias"] or parts["version"])


def resolve_model(uri: str, registry_dir: Path) -> Path:
    """The model folder that a setting means now: cheap enough to be asked every few seconds.

    Args:
        uri: a folder, or a registry URI.
        registry_dir: the registry's folder on this machine (FRAUD_REGISTRY_DIR).

    Returns:
        The folder as given; of a registry URI the copy that its link points at: another path after a promotion.

    Raises:
        ModelError: the URI cannot be read, or nothing is there under that name.
    """
    if not is_registry_uri(uri):
        return Path(uri)
    link = registry_dir / parse_uri(uri).link
    if not (link / MANIFEST_FILE).is_file():
        raise ModelError(
            f"FRAUD_MODEL: {uri}: nothing under that name in {registry_dir} (FRAUD_REGISTRY_DIR); "
            "see `fraudstream model list`, and take it from the registry with `fraudstream model pull`"
        )
    return link.resolve()


def keep_copy(source: Path, registry_dir: Path, folder: str) -> Path:
    """Copy a model folder into the registry's folder, checked, in one step; one that is there already stays.

    Args:
        source: model folder.
        registry_dir: the registry's folder on this machine.
        folder: name of the copy.

    Raises:
        ModelError: the model is damaged, or the folder cannot be written.
    """
    kept = registry_dir / "models" / folder
    if (kept / MANIFEST_FILE).is_file():
        check_folder(kept)
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder}-", dir=kept.parent))
        try:
            shutil.copytree(source, unfinished, dirs_exist_ok=True)
            check_folder(unfinished)
            unfinished.chmod(0o755)
            if not kept.is_dir():  # somebody else may have been faster, with the same bytes
                unfinished.rename(kept)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as exc:
        raise ModelError(f"FRAUD_REGISTRY_DIR: cannot write {kept}: {exc.strerror or exc}") from exc
    return kept


def point(registry_dir: Path, name: ModelName, target: Path) -> None:
    """Let a name mean a kept copy from now on, in one step.

    Raises:
        ModelError: the folder cannot be written.
    """
    link = registry_dir / name.link
    unfinished = registry_dir / f".{name.link}.{os.getpid()}"
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.symlink_to(target.relative_to(registry_dir))
        unfinished.replace(link)
    except OSError as exc:
        raise ModelError(f"FRAUD_REGISTRY_DIR: cannot write {link}: {exc.strerror or exc}") from exc


def check_folder(folder: Path) -> None:
    """See that a model's trees are those that its manifest was written for, whatever catalogue it was made for.

    Raises:
        ModelError: they are not, or a file is missing.
    """
    try:
        wanted = msgspec.json.decode((folder / MANIFEST_FILE).read_bytes(), type=_Digest).model_sha256
        found = hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()
    except OSError as exc:
        raise ModelError(f"no model in {folder} ({Path(exc.filename or folder).name}: {exc.strerror})") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ModelError(f"{folder}: {MANIFEST_FILE} is not a model manifest ({exc})") from exc
    if wanted != found:
        raise ModelError(f"{folder}: {MODEL_FILE} is not the file its manifest was written for (SHA-256 differs)")
