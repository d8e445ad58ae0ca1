"""Where a policy comes from: the model's folder, the rule files, and the folder of a challenger."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np

from features.catalogue import FEATURES
from features.decode import Decoder
from features.errors import ModelError, RulesError
from scoring.manifest import MANIFEST_FILE, MODEL_FILE
from scoring.model import Model
from scoring.policy import Batch, Policy, judge
from scoring.registry_uri import resolve_model
from scoring.rules.load import fingerprint, load_rules
from scoring.rules.ruleset import RuleSet
from scoring.stamp import stamp
from scoring.trees import MOST_ROWS
from streams.settings import Settings

Part = Literal["model", "rules", "challenger"]
PARTS: Final[tuple[Part, ...]] = ("model", "rules", "challenger")

SAMPLE: Final = b'{"transaction_id":"sample","card_id":"sample","amount":1,"currency":"EUR","event_time":1700000000000}'
"""A transaction that nothing can be wrong with."""


class PolicyFiles:
    """Loads policies, and tells when there is something new to load; every method blocks.

    Args:
        settings: name the files and the shares of a challenger.
    """

    def __init__(self, settings: Settings) -> None:
        self._names: dict[Part, str] = {
            part: name
            for part, name in zip(PARTS, (settings.model, settings.rules, settings.challenger), strict=True)
            if name
        }
        self._shares = settings.shadow_share, settings.canary_share
        self._registry_dir = Path(settings.registry_dir)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What a policy is made of."""
        return tuple(self._names)

    def load(self) -> Policy:
        """All parts.

        Raises:
            ModelError: a model cannot be used.
            RulesError: the rules cannot be used.
        """
        shadow_share, canary_share = self._shares
        policy = Policy(self._model("model"), shadow_share=shadow_share, canary_share=canary_share)
        for part in self.parts:
            if part != "model":
                policy = self.renewed(policy, part)
        return policy

    def renewed(self, policy: Policy, part: Part) -> Policy:
        """The policy with one part loaded anew, tried on a transaction; raises as `load` does."""
        new = self._rules() if part == "rules" else self._model(part)
        renewed: Policy = msgspec.structs.replace(policy, **{part: new})
        _try(renewed)
        return renewed

    def stamps(self, policy: Policy) -> dict[Part, str]:
        """Of each part a text that changes when its files do."""
        return {part: self._stamp(part, policy) for part in self.parts}

    def _stamp(self, part: Part, policy: Policy) -> str:
        if part == "rules":
            return fingerprint(Path(self._names[part]), policy.rules)
        try:
            folder = self._folder(part)
        except ModelError as exc:
            return f"none: {exc}"
        return stamp((folder / MANIFEST_FILE, folder / MODEL_FILE))

    def _rules(self) -> RuleSet:
        try:
            return load_rules(Path(self._names["rules"]))
        except RulesError as exc:
            raise RulesError(f"FRAUD_RULES: {exc}") from None

    def _model(self, part: Part) -> Model:
        try:
            return Model.load(self._folder(part))
        except ModelError as exc:
            if part == "model":
                raise
            raise ModelError(str(exc).replace("FRAUD_MODEL", "FRAUD_CHALLENGER")) from None

    def _folder(self, part: Part) -> Path:
        return resolve_model(self._names[part], self._registry_dir)


def _try(policy: Policy) -> None:
    """Decide something: one row, and more than the compiled trees take, so that XGBoost has its turn too."""
    transaction = Decoder(None).decode(SAMPLE)
    for n in (1, MOST_ROWS + 1):
        ones = np.ones(n, np.int64)
        judge(policy, Batch([transaction] * n, np.ones((n, len(FEATURES))), ones, ones * transaction.event_ms), {})
