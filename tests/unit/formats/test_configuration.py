"""The configuration file's reader."""

import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from deploy.local import settings
from deploy.local.layout import Layout, TcpPorts
from deploy.local.softhsm import SoftToken
from hsm_bridge.wire import CALLERS
from pipeline.formats.checked_table import ConfigInvalid
from pipeline.formats.configuration import S3, BridgeCaller, Config, load, load_from_environment, parse
from pipeline.formats.secret_file import read_secret

NO_SOCKET = {"socket_dir": None, "port": None}


def embedded(state: Path) -> dict[str, Any]:
    """What `up` writes, as a table."""
    token = SoftToken(state / "libsofthsm2.so", state / "softhsm2.conf", state / "token", state / "token-pin")
    path = state / "qerds.toml"
    settings.write(path, settings.sections(Layout(state), TcpPorts(8400), state / "run", token))
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
        ("mail", "colour", "red", "unknown key mail.colour; known here: connections_max, from_address, host"),
        ("mail", "conections_max", 8, r"unknown key mail.conections_max; did you mean mail.connections_max\?"),
        ("", "gatewy", {}, r"unknown key gatewy; did you mean gateway\?"),
        ("", "colour", "red", "unknown key colour"),
        ("gateway", "port", "8400", r"gateway.port must be a whole number from 1 to 65535"),
        ("gateway", "document_bytes_max", 0, r"gateway.document_bytes_max must be a whole number from 1 to 1073741824"),
        (
            "gateway",
            "document_bytes_max",
            2**30 + 1,
            r"gateway.document_bytes_max must be a whole number from 1 to 1073741824",
        ),
        ("gateway", "port", True, r"gateway.port must be a whole number from 1 to 65535"),
        ("gateway", "port", 65_536, "gateway.port must be a whole number from 1 to 65535"),
        ("gateway", "public_url", "http://127.0.0.1:8400/", "without a final slash"),
        ("mail", "security", "maybe", "mail.security must be one of none, starttls, tls"),
        ("mail", "host", "", "mail.host must be a text, not empty"),
        ("", "mode", "qualified", "can only run in mode non_qualified"),
        ("", "database", "here", "database must be a table"),
        ("mail", "mails_per_second_max", 0, "mail.mails_per_second_max must be a whole number, at least 1"),
        ("mail", "connections_max", 101, "mail.connections_max must be a whole number from 1 to 100"),
        ("token", "sessions", 0, "token.sessions must be a whole number from 1 to 64"),
        ("token", "sessions", 65, "token.sessions must be a whole number from 1 to 64"),
        ("token", "session", 2, r"unknown key token.session; did you mean token.sessions\?"),
        ("token", "module", "", "token.module must be a path"),
        ("bridge", "allowed_uids", {"seal": [-1]}, "bridge.allowed_uids.seal must be a list of whole numbers"),
        (
            "bridge",
            "allowed_uids",
            {"seals": [1]},
            r"allowed_uids.seals; did you mean bridge.allowed_uids.seal\?",
        ),
        ("", "embedded", False, "for an embedded installation only"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, section: str, key: str, value: object, says: str) -> None:
    """One wrong key refuses the whole file, and the message names that key."""
    table = embedded(tmp_path)
    (table[section] if section else table)[key] = value
    with pytest.raises(ConfigInvalid, match=says):
        parse(table)


def test_an_operator_adds_options_to_an_embedded_installation(tmp_path: Path) -> None:
    """STATE/options.toml is read at every start; what `up` decides itself is refused there, and so is a wrong name."""
    options = tmp_path / "options.toml"
    options.write_text("[token]\nsessions = 2\n[mail]\nmails_per_second_max = 30\n")
    config = parse(embedded(tmp_path))
    assert (config.token.sessions, config.mail.mails_per_second_max) == (2, 30)
    assert config.objects.place == tmp_path / "objects"
    for text, says in (
        ("[gateway]\nport = 1\n", r"options\.toml: gateway\.port is set by \./qerds up; take it out"),
        ('mode = "qualified"\n', r"options\.toml: mode is no section that takes options"),
        ("[token]\nsession = 2\n", r"unknown key token\.session; did you mean token\.sessions\?"),
        ("[tokens]\nsessions = 2\n", r"unknown key tokens; did you mean token\?"),
        ("[token]\nsessions = \n", r"options\.toml is not TOML"),
    ):
        options.write_text(text)
        with pytest.raises(ConfigInvalid, match=says):
            parse(embedded(tmp_path))


def test_webhooks_to_this_machine_are_for_an_embedded_installation(tmp_path: Path) -> None:
    """Elsewhere a sender could have us post to our own loopback; without the section nobody can."""
    table = embedded(tmp_path)
    assert parse(table).webhooks.loopback_http is True
    del table["webhooks"]
    assert parse(table).webhooks.loopback_http is False
    real = {**embedded(tmp_path), "embedded": False}
    real["mail"] = {**real["mail"], "security": "tls"}
    real["identity"]["providers"] = {"franceconnect": real["identity"]["providers"]["embedded"]}
    with pytest.raises(ConfigInvalid, match=r"webhooks\.loopback_http is for an embedded installation only"):
        parse(real)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hosts": ["db1:5432"]}, "database.hosts and database.socket_dir exclude each other"),
        ({"hosts": ["db1:5432"], "socket_dir": None}, "database.hosts and database.port exclude each other"),
        ({"socket_dir": None}, "database needs hosts, or the socket_dir and the port of a socket"),
        ({"port": None}, "database needs hosts, or the socket_dir and the port of a socket"),
        ({"ca_file": "ca.pem"}, "database.ca_file is for hosts with TLS; take it out"),
        ({**NO_SOCKET, "hosts": []}, "database.hosts must be a list of 1 to 8 texts"),
        ({**NO_SOCKET, "hosts": ["db1:5432"] * 9}, "database.hosts must be a list of 1 to 8 texts"),
        ({**NO_SOCKET, "hosts": ["db1"]}, r"database\.hosts\[0\] must be a name and a port"),
        (
            {**NO_SOCKET, "hosts": ["127.0.0.1:1", "db1:1"], "tls": "none"},
            "database.tls = none is for hosts on loop",
        ),
        ({**NO_SOCKET, "hosts": ["[::1]:1"], "tls": "none", "ca_file": "c"}, "database.ca_file is for hosts with TLS"),
        ({**NO_SOCKET, "hosts": ["db1:1"], "tls": "require"}, "database.tls must be one of none, verify-full"),
    ],
)
def test_a_database_is_reached_in_one_way(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    """By hosts or by a socket; over the network never without TLS."""
    table = embedded(tmp_path)
    database = {name: value for name, value in {**table["database"], **changes}.items() if value is not None}
    with pytest.raises(ConfigInvalid, match=says):
        parse({**table, "database": database})


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    """Nothing has a silent default that could differ between two processes."""
    table = embedded(tmp_path)
    del table["identity"]["minimum_level"]
    with pytest.raises(ConfigInvalid, match=r"missing key identity\.minimum_level; it must be one of high, low"):
        parse(table)
    del table["mail"]
    with pytest.raises(ConfigInvalid, match="missing key mail; it must be a table"):
        parse(table)


def in_a_bucket(state: Path, **changes: str) -> dict[str, Any]:
    """What `up` writes where the operator's options name a bucket."""
    table = {"endpoint": "https://s3.example", "bucket": "letters", "region": "eu-1", "key_dir": str(state), **changes}
    lines = [f'{name} = "{value}"' for name, value in table.items()]
    (state / "options.toml").write_text("\n".join(["[objects]", 'kind = "s3"', "[objects.s3]", *lines]))
    return embedded(state)


def test_objects_in_a_bucket(tmp_path: Path) -> None:
    """An operator's bucket takes the place of the folder; the key of a process is in a file of its own."""
    place = parse(in_a_bucket(tmp_path)).objects.place
    assert isinstance(place, S3)
    assert place == S3("https://s3.example", "letters", "eu-1", tmp_path)
    key = tmp_path / "archive"
    key.write_text("key-id\nsecret\n")
    key.chmod(0o600)
    assert place.key("archive") == ("key-id", "secret")
    for text in ("key-id", "key-id\n\n", "key-id\nsecret\nmore\n"):
        key.write_text(text)
        with pytest.raises(ConfigInvalid, match="must hold two lines: the access key id, then the secret"):
            place.key("archive")
    with pytest.raises(ConfigInvalid, match="cannot read the secret"):
        place.key("seal")


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("http://s3.example", "must be an https address, but on loopback"),
        ("s3.example", "must be an https address, but on loopback"),
        ("https://s3.example/letters", "without a path: the bucket is named apart"),
        ("https://", "without a path"),
    ],
)
def test_an_endpoint_that_cannot_be_right(tmp_path: Path, endpoint: str, says: str) -> None:
    """Requests are signed, not secret: without TLS others would read which objects there are."""
    with pytest.raises(ConfigInvalid, match=says):
        parse(in_a_bucket(tmp_path, endpoint=endpoint))
    parse(in_a_bucket(tmp_path, endpoint="http://127.0.0.1:9000"))


def test_one_place_for_objects(tmp_path: Path) -> None:
    """The section of its kind, and no other; missing keys of a bucket are named."""
    table = in_a_bucket(tmp_path)
    for objects, says in (
        ({"kind": "local"}, "objects.kind = local needs objects.root"),
        ({"kind": "s3", "root": "here"}, "objects.kind = s3 needs objects.s3"),
        ({**table["objects"], "root": "here"}, "exclude each other"),
        ({"kind": "s3", "s3": {"endpoint": "https://s3.example"}}, r"missing key objects\.s3\.bucket"),
        ({"kind": "tape"}, "objects.kind must be one of local, s3"),
    ):
        with pytest.raises(ConfigInvalid, match=says):
            parse({**table, "objects": objects})


def test_the_bridge_knows_the_callers_that_may_be_named() -> None:
    """Each caller kind has its list of users, and no other name is taken for one."""
    assert get_args(BridgeCaller) == CALLERS


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
