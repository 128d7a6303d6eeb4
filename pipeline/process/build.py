"""Which program this is."""

import importlib.metadata


def version() -> str:
    """Of the installed package; `source` in a checkout."""
    try:
        return importlib.metadata.version("qerds")
    except importlib.metadata.PackageNotFoundError:
        return "source"
