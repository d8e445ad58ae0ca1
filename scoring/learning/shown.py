"""What a training says on a terminal, beside the tables of an evaluation."""

from __future__ import annotations

from rich.table import Table

from scoring.learning.details import Details


def baselines(found: Details) -> Table:
    """The model beside what it must beat."""
    table = Table(title="The model and what it must beat, on the test part")
    table.add_column("")
    for head in ("average precision", "ROC AUC", *(f"recall at {rate:.1%}" for rate in found.rates)):
        table.add_column(head, justify="right")
    for one in (found.model_line, *found.rivals):
        recall = (f"{share:.1%}" for share in one.recall)
        table.add_row(one.name, f"{one.average_precision:.3f}", f"{one.roc_auc:.3f}", *recall)
    return table
