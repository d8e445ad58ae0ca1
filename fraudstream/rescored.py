"""What `fraudstream replay --rescore` found, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.repair.rescore import Report


def lines(report: Report, took_s: float) -> Iterator[str]:
    """The report, most important first."""
    yield (
        f"{report.compared:,} outcomes compared, {report.identical:,} identical, {report.different:,} different, "
        f"{report.missing:,} missing, {report.repeated:,} repeated ({report.repeated_otherwise:,} otherwise), "
        f"{took_s:.1f} s"
    )
    for count, what in (
        (report.features_only, "of another model or rule set: features compared, decisions not"),
        (report.other_feature_set, "of other features: not compared"),
        (report.degraded, "scored without history, as they say: not compared"),
        (report.hot, "of hot cards, different within what folding may make of weekly features"),
        (report.beyond_grace, "beyond the grace, as they say, and different"),
    ):
        if count:
            yield f"  {count:,} {what}"
    for field, count in report.by_field.most_common():
        yield f"  {field}: {count:,} different"
    for example in report.examples:
        said = "; ".join(f"{d.field} {d.published} published, {d.computed} computed" for d in example.found[:5])
        yield f"  partition {example.partition} offset {example.offset}: {said}"
