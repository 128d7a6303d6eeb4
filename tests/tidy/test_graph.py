"""The drawing of the pipeline in the documentation is the one that the tables print."""

from pathlib import Path

from pipeline.__main__ import graph

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "ARCHITECTURE.md"


def test_the_documented_graph_is_the_one_that_runs() -> None:
    """Generated text is checked for drift, not trusted."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    drawn = text.split("<!-- graph -->")[1].split("<!-- /graph -->")[0]
    assert drawn.strip().strip("`").strip() == graph()
