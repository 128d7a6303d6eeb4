"""The configuration file's reader."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from deploy.local import settings
from deploy.local.layout import Layout, Ports
from deploy.local.softhsm import SoftToken
from pipeline.config import Config, ConfigInvalid, load, load_from_environment, parse, read_secret


def embedded(state: Path) -> dict[str, Any]:
    """What `up` writes, as a table."""
    token = SoftToken(state / "libsofthsm2.so", state / "softhsm2.conf", state / "token", state / "token-pin")
    path = state / "qerds.toml"
    settings.write(path, settings.sections(Layout(state), Ports(8400), state / "run", token))
    return tomllib.loads(path.read_text())


def test_what_up_writes_is_what_every_process_reads(tmp_path: Path) -> None:
    """The set-up's file parses whole, and each value arrives where the processes look for it."""
    embedded(tmp_path)
    config = load_from_environment({"QERDS_CONFIG": str(tmp_path / "qerds.toml")})
    assert isinstance(config, Config)
    assert (config.mode, config.embedded, config.mail.port) == ("non_qualified", True, 8402)
    assert config.database.socket_dir == tmp_path / "run" / "pg"
    assert config.gateway.public_url == "http://127.0.0.1:8400"
    assert config.bridge.allowed_uids == {}


@pytest.mark.parametrize(
    ("section", "key", "value", "says"),
    [
        ("mail", "colour", "red", "unknown key mail.colour"),
        ("", "colour", "red", "unknown key colour"),
        ("gateway", "port", "8400", r"gateway.port must be a non-empty int"),
        ("gateway", "port", True, r"gateway.port must be a non-empty int"),
        ("gateway", "port", 65_536, "is not a port"),
        ("gateway", "public_url", "http://127.0.0.1:8400/", "without a final slash"),
        ("mail", "security", "maybe", "mail.security must be one of none, starttls, tls"),
        ("mail", "host", "", "mail.host must be a non-empty str"),
        ("", "mode", "qualified", "can only run in mode non_qualified"),
        ("", "database", "here", "database must be a table"),
        ("bridge", "allowed_uids", {"seal": [-1]}, "bridge.allowed_uids.seal must be a list of user ids"),
        ("", "embedded", False, "for an embedded installation only"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, section: str, key: str, value: object, says: str) -> None:
    """One wrong key refuses the whole file, and the message names that key."""
    table = embedded(tmp_path)
    (table[section] if section else table)[key] = value
    with pytest.raises(ConfigInvalid, match=says):
        parse(table)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    """Nothing has a silent default that could differ between two processes."""
    table = embedded(tmp_path)
    del table["identity"]["minimum_level"]
    with pytest.raises(ConfigInvalid, match=r"missing key identity\.minimum_level"):
        parse(table)


def test_allowed_uids_arrive_as_numbers(tmp_path: Path) -> None:
    """Which OS users may call the bridge is a list per caller kind."""
    table = embedded(tmp_path)
    table["bridge"]["allowed_uids"] = {"seal": [1001, 0]}
    assert parse(table).bridge.allowed_uids == {"seal": (1001, 0)}


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    """No file, a file that is not TOML and a file far too large each end in one clear error."""
    (tmp_path / "odd").write_text("mode = ")
    (tmp_path / "large").write_text("#" * 300_000)
    for name, says in (("absent", "cannot read"), ("odd", "is not TOML"), ("large", "larger than")):
        with pytest.raises(ConfigInvalid, match=says):
            load(tmp_path / name)
    with pytest.raises(ConfigInvalid, match="QERDS_CONFIG is not set"):
        load_from_environment({})


def test_a_secret_that_everyone_can_read_is_refused(tmp_path: Path) -> None:
    """A password file with loose permissions stops the process that needs it, instead of working by accident."""
    secret = tmp_path / "secret"
    secret.write_text("hidden\n")
    secret.chmod(0o600)
    assert read_secret(secret) == "hidden"
    secret.chmod(0o644)
    with pytest.raises(ConfigInvalid, match="chmod 600"):
        read_secret(secret)


def test_a_role_name_is_no_path(tmp_path: Path) -> None:
    """A role name cannot lead out of the password directory."""
    config = parse(embedded(tmp_path))
    with pytest.raises(ConfigInvalid, match="not a plain name"):
        config.database.password("../token-pin")
