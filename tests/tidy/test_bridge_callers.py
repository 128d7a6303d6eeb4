"""What the type checker says to a stage that asks the bridge for something."""

from pathlib import Path

from hsm_bridge import wire
from hsm_bridge.operations.table import TABLE
from tests.tidy.type_checker import complaints

HEAD = """
from typing import Literal

from pipeline.ports.bridge import Bridge, wire
"""
ASK = """
async def ask_{number}(bridge: Bridge[Literal["{caller}"]], items: list[wire.{item}]) -> None:
    answers: list[wire.{answer} | wire.Denied] = list(await bridge.ask(items))
"""


def test_a_stage_may_write_down_only_what_its_caller_kind_may_ask(tmp_path: Path) -> None:
    """Each operation for each caller kind: an error exactly where the bridge would deny it, else the right answer."""
    cases = [(caller, row) for row in TABLE for caller in wire.CALLERS]
    planted = HEAD + "".join(
        ASK.format(number=number, caller=caller, item=row.item.__name__, answer=row.item.answer.__name__)
        for number, (caller, row) in enumerate(cases)
    )
    wrong, said = complaints({"asking": planted}, tmp_path)
    lines = planted.splitlines()
    asked = [number for number, line in enumerate(lines, 1) if "bridge.ask(" in line]
    denied = {line for line, (caller, row) in zip(asked, cases, strict=True) if caller not in row.callers}
    assert denied and wrong["asking"] == denied, said
