"""The table of operations against the items that ask for them."""

from typing import get_type_hints

import pytest

from hsm_bridge import wire
from hsm_bridge.operations.table import OPERATIONS, TABLE, Operation
from hsm_bridge.operations.vault import Done


def test_every_item_has_one_row_and_every_row_an_item() -> None:
    """What outsiders can write down is what the bridge knows, once."""
    assert {row.item for row in TABLE} == set(wire.Item.__subclasses__())
    assert len(OPERATIONS) == len(TABLE)


@pytest.mark.parametrize("row", TABLE, ids=[row.item.op for row in TABLE])
def test_an_operation_answers_what_its_item_names(row: Operation) -> None:
    """The work takes this item and answers with the class that the asker will decode."""
    hints = get_type_hints(row.work)
    assert (hints["item"], hints["return"]) == (row.item, Done[row.item.answer])  # type: ignore[name-defined]
