"""The table of operations against the items that ask for them."""

from typing import get_args, get_type_hints

import pytest

from hsm_bridge import wire
from hsm_bridge.operations.table import OPERATIONS, TABLE, Operation
from hsm_bridge.operations.vault import Done
from pipeline.delivery.routes import STAGES


def test_every_item_has_one_row_and_every_row_an_item() -> None:
    """What outsiders can write down is what the bridge knows, once."""
    assert {row.item for row in TABLE} == set(wire.Item.__subclasses__())
    assert len(OPERATIONS) == len(TABLE)


@pytest.mark.parametrize("row", TABLE, ids=[row.item.op for row in TABLE])
def test_an_operation_answers_what_its_item_names(row: Operation) -> None:
    """The work takes this item and answers with the class that the asker will decode."""
    hints = get_type_hints(row.work)
    assert (hints["item"], hints["return"]) == (row.item, Done[row.item.answer])  # type: ignore[name-defined]


def test_a_caller_is_a_stage_the_gateway_or_an_operator() -> None:
    """The bridge cannot read the map of stages, and a type needs literals: the names are the same."""
    assert set(get_args(wire.Caller)) - {"gateway", "operator"} <= set(STAGES)
