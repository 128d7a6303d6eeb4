"""Every option: what the structs have, what docs/configuration.md says, what each process reads."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_origin

import msgspec
import pytest

import deploy.local.identity_provider.__main__ as identity_provider
import deploy.local.mail_catcher.__main__ as mail_catcher
import gateway.__main__ as gateway
import hsm_bridge.__main__ as bridge
import pipeline.__main__ as stages
from hsm_bridge.token import ceremony
from pipeline.adapters.postgres import migrate
from pipeline.formats.checked_table import section_of, words
from pipeline.formats.configuration import Config, parse
from pipeline.operate import command

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "configuration.md"
READERS = {
    "gateway": (gateway, "load_from_environment"),
    "bridge": (bridge, "load_from_environment"),
    "stages": (stages, "load_from_environment"),
    "migrate": (migrate, "load_from_environment"),
    "verbs": (command, "load"),
    "ceremony": (ceremony, "load"),
    "mail catcher": (mail_catcher, "load_from_environment"),
    "identity provider": (identity_provider, "load_from_environment"),
}


class Option(NamedTuple):
    """One key, as a row of the page has it."""

    section: str
    key: str
    kind: str
    default: str


def options(kind: type[msgspec.Struct] = Config, section: str = "") -> Iterator[Option]:
    """Every option of the structs; a section of its own has no row but its heading, an optional one has both."""
    for field in msgspec.structs.fields(kind):
        inner = section_of(field.type)
        if inner is None or section:
            yield Option(section, field.name, words(field.type), default_of(field))
        if inner is not None:
            yield from options(inner, section_name(section, field))


def section_name(section: str, field: msgspec.structs.FieldInfo) -> str:
    """The heading of a section; NAME stands for the operator's, where there may be several."""
    return f"{section}.{field.name}{'.NAME' if get_origin(field.type) is dict else ''}".strip(".")


def default_of(field: msgspec.structs.FieldInfo) -> str:
    """The column `default`."""
    if field.required:
        return "needed"
    if field.default is msgspec.NODEFAULT or field.default is None:
        return "none"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def documented() -> Iterator[Option]:
    """Every row of the page's tables."""
    section = ""
    for line in PAGE.read_text().splitlines():
        if heading := re.fullmatch(r"## `\[(.+)\]`", line):
            section = heading[1]
        elif row := re.fullmatch(r"\| `(\w+)` \| ([^|]+) \| ([^|]+) \| .+ \|", line):
            yield Option(section, row[1], row[2], row[3])


def full() -> Mapping[str, Any]:
    """full.toml."""
    return tomllib.loads((HERE / "full.toml").read_text())


def full_but(name: str) -> Mapping[str, Any]:
    """full.toml with the sections of another file instead."""
    return {**full(), **tomllib.loads((HERE / name).read_text())}


def changed(value: msgspec.Struct, section: str = "") -> Iterator[tuple[str, str]]:
    """The options that are not at their default."""
    for field in msgspec.structs.fields(type(value)):
        inner = getattr(value, field.name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        named = inner.values() if isinstance(inner, dict) else [inner]
        for struct in named:
            if isinstance(struct, msgspec.Struct):
                yield from changed(struct, section_name(section, field))
        if inner != default:
            yield section, field.name


def test_the_page_has_every_option_and_no_other() -> None:
    """Section, key, type and default are those of the structs, in their order."""
    assert list(documented()) == list(options())


@pytest.mark.parametrize("process", READERS)
def test_every_process_reads_a_full_file(process: str) -> None:
    """An option that one process knows is known to all: none is kept from starting by another's."""
    module, name = READERS[process]
    file = HERE / "full.toml"
    config = vars(module)[name]({"QERDS_CONFIG": str(file)} if name == "load_from_environment" else file)
    assert config == parse(full())
    assert (config.token.sessions, config.mail.connections_max) == (2, 16)


def test_the_full_files_have_every_option() -> None:
    """Each option is set to something else than its default in one of them: a new one has to be added there."""
    files = (full(), full_but("full_embedded.toml"), full_but("full_socket.toml"))
    seen = {option for file in files for option in changed(parse(file))}
    assert {(option.section, option.key) for option in options()} <= seen
