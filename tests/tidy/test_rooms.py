"""The map of rooms is that of the code."""

import pytest

from tests.tidy.rooms import HOUSES, PAGE, ROOT, WITHOUT_CODE, rows, storeys, table, written


def test_the_page_shows_the_rooms_that_there_are() -> None:
    """Whoever looks for the place of a change finds every room, with the words of its own docstring."""
    assert written(PAGE.read_text()) == table(), "run: python -m tests.tidy.rooms"


def test_every_room_says_what_lives_there() -> None:
    """No line of the map is empty: a room has a docstring."""
    assert not [row for row in rows() if row.endswith("|  |")]


@pytest.mark.parametrize("house", HOUSES)
def test_no_room_is_missing(house: str) -> None:
    """Each folder and file at the top of a house is on one storey of the map, and on one only."""
    there = {path.stem for path in (ROOT / house).iterdir() if (path / "__init__.py").is_file() or path.suffix == ".py"}
    shown = [room for rooms in storeys(house).values() for room in rooms]
    assert sorted(shown) == sorted(there - {"__init__"})


def test_no_folder_without_code_is_missing() -> None:
    """Templates and catalogues are looked for, too."""
    folders = [path for house in HOUSES for path in (ROOT / house).iterdir() if path.is_dir()]
    without = [path for path in folders if not (path / "__init__.py").is_file() and path.name != "__pycache__"]
    assert {str(path.relative_to(ROOT)) for path in without} == set(WITHOUT_CODE)
