"""The named queries, read from sql/*.sql once.

A file holds queries under `-- name: some_name` headings; the comment line after it says why. A query about "the"
mailbox writes `outbox."@stage"` and `outbox."@stage_running"`; it is made concrete for each stage of the routes, never
for a name from outside. tests/db/test_queries.py prepares every one of them.
"""

import re
from functools import cache
from pathlib import Path

from pipeline.delivery.routes import STAGES

_HEADING = re.compile(r"^-- name: ([a-z][a-z0-9_]*)$", re.MULTILINE)


@cache
def queries() -> dict[str, str]:
    """Every query by name; those about a mailbox once per stage, as `name@stage`. ValueError on a repeated name."""
    texts: dict[str, str] = {}
    for path in sorted(Path(__file__).with_name("sql").glob("*.sql")):
        pieces = _HEADING.split(path.read_text(encoding="utf-8"))
        for name, text in zip(pieces[1::2], pieces[2::2], strict=True):
            for key, query in _variants(name, text.strip()):
                if key in texts:
                    raise ValueError(f"two queries are named {key}")
                texts[key] = query
    return texts


def _variants(name: str, text: str) -> list[tuple[str, str]]:
    if '"@stage' not in text:
        return [(name, text)]
    return [(f"{name}@{stage}", text.replace("@stage", stage)) for stage in STAGES]
