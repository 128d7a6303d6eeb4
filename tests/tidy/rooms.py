"""The map of rooms in docs/ARCHITECTURE.md: storeys from the import contracts, words from the docstrings.

`python -m tests.tidy.rooms` writes it; tests/tidy/test_rooms.py says when it is no longer true.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "ARCHITECTURE.md"
BEGIN, END = "<!-- rooms -->\n", "<!-- /rooms -->\n"
HOUSES = ("pipeline", "gateway", "hsm_bridge")  # what has storeys
BESIDE = ("deploy.local",)
WITHOUT_CODE = {
    "gateway/templates": "The pages, with their words in English.",
    "gateway/locales": "The same words in French.",
    "gateway/static": "The style sheet of the pages.",
}


def contracts() -> list[dict[str, object]]:
    """Those of pyproject.toml."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return [dict(contract) for contract in table]


def storeys(house: str) -> dict[str, list[str]]:
    """The rooms of each storey, from the ground up; those that stand apart come last."""
    [contract] = [c for c in contracts() if c.get("containers") == [house]]
    layers, apart = contract["layers"], contract.get("exhaustive_ignores", [])
    if not isinstance(layers, list) or not isinstance(apart, list):
        raise TypeError(f"the storeys of {house} are lists")
    numbered = {str(number): re.findall(r"\w+", layer) for number, layer in enumerate(reversed(layers), 1)}
    return {**numbered, "apart": apart} if apart else numbered


def place(module: str) -> Path:
    """Folder or file of a room."""
    path = ROOT.joinpath(*module.split("."))
    return path if path.is_dir() else path.with_suffix(".py")


def says(module: str) -> str:
    """The first paragraph of a room's docstring."""
    path = place(module)
    source = (path / "__init__.py" if path.is_dir() else path).read_text()
    words = (ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0]
    return " ".join(re.split(r"\s{3,}", words.replace("\n", " "))[0].split())


def rows() -> Iterator[str]:
    """One line for each room."""
    for house in HOUSES:
        for number, rooms in storeys(house).items():
            for room in rooms:
                yield row(number, f"{house}.{room}")
        yield from (line("", folder, words) for folder, words in WITHOUT_CODE.items() if folder.startswith(f"{house}/"))
    for module in BESIDE:
        yield row("", module)


def row(storey: str, module: str) -> str:
    """The line of a room."""
    return line(storey, str(place(module).relative_to(ROOT)), says(module))


def line(storey: str, path: str, words: str) -> str:
    """A line of the table."""
    return f"| {storey} | `{path}` | {words} |"


def table() -> str:
    """As it stands in the page."""
    return "\n".join([f"{BEGIN}| storey | room | what lives there |", "|---|---|---|", *rows(), END])


def written(page: str) -> str:
    """The table that the page has now."""
    return page[page.index(BEGIN) : page.index(END) + len(END)]


if __name__ == "__main__":
    page = PAGE.read_text()
    PAGE.write_text(page.replace(written(page), table()))
