"""Which seeds to run: QERDS_SEEDS=7, QERDS_SEEDS=100:400, or --seed 7 to see one again."""

import os

import pytest

SEEDS = range(200)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="run the simulation with this seed only")


def seeds(config: pytest.Config) -> range:
    """The seeds of this session."""
    one = config.getoption("--seed", default=None)
    if one is not None:
        return range(one, one + 1)
    first, colon, last = os.environ.get("QERDS_SEEDS", f"0:{SEEDS.stop}").partition(":")
    return range(int(first), int(last) if colon else int(first) + 1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", seeds(metafunc.config))
