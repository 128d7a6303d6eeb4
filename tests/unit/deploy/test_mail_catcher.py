"""The mail catcher: real SMTP in, files and pages out."""

import asyncio
import email.message
import email.policy
import re
import smtplib
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

from deploy.local.layout import HOST
from deploy.local.mail_catcher.pages import WITHOUT_KEY, application
from deploy.local.mail_catcher.relay import protocol
from deploy.local.mail_catcher.spool import Spool, decode
from deploy.local.mail_catcher.waiting import WaitingMail, act_of
from tests.words import reserved_words_in

pytestmark = pytest.mark.anyio

KEY = "the-key_1"
LINK = "http://127.0.0.1:8400/n/abc-DEF_1?x=1&y=2"


def notice(subject: str = "Une lettre vous attend — à retirer") -> email.message.EmailMessage:
    message = email.message.EmailMessage()
    message["From"] = "notice@registered.example"
    message["To"] = "zoé@recipient.example"
    message["Subject"] = subject
    message["Message-ID"] = "<1@registered.example>"
    message.set_content(f"Bonjour <Zoé>,\n\nsuivez {LINK}.\n", charset="utf-8", cte="quoted-printable")
    return message


@pytest.fixture
def smtp_port(tmp_path: Path) -> Iterator[int]:
    """A running relay, in a loop of its own in another thread."""
    started, stop = threading.Event(), threading.Event()
    port: list[int] = []

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: protocol(Spool(tmp_path)), HOST, 0)
        port.append(server.sockets[0].getsockname()[1])
        started.set()
        async with server:
            await anyio.to_thread.run_sync(stop.wait)

    thread = threading.Thread(target=anyio.run, args=(serve,))
    thread.start()
    assert started.wait(10)
    yield port[0]
    stop.set()
    thread.join()


def client(spool: Spool) -> httpx.AsyncClient:
    """Of who has the key."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(application(spool, KEY)), base_url=f"http://mail/{KEY}")


def test_what_was_sent_is_what_is_kept(smtp_port: int, tmp_path: Path) -> None:
    """The .eml is the very bytes that came over SMTP, so that a canary cannot hide in a re-encoding."""
    content = notice().as_bytes(policy=email.policy.SMTP)
    with smtplib.SMTP(HOST, smtp_port) as relay:
        relay.sendmail("notice@registered.example", ["zoe@recipient.example"], content)
    (kept,) = tmp_path.glob("*.eml")
    assert kept.read_bytes() == content


@pytest.mark.parametrize(("address", "code"), [("bounces@x.example", 550), ("Later+7@x.example", 451)])
def test_two_addresses_are_refused(smtp_port: int, tmp_path: Path, address: str, code: int) -> None:
    """A refusal for ever and one for now can be provoked, over the real protocol."""
    with smtplib.SMTP(HOST, smtp_port) as relay, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        relay.sendmail("notice@registered.example", [address], b"Subject: x\r\n\r\nx")
    assert refused.value.recipients[address][0] == code
    assert not list(tmp_path.glob("*.eml"))


async def test_pages_show_subject_text_and_links(tmp_path: Path) -> None:
    """A person finds the mail in the list, reads its text and can follow its link; markup in it stays text."""
    spool = Spool(tmp_path)
    mail_id = spool.keep(notice().as_bytes())
    spool.keep(notice("<script>alert(1)</script>").as_bytes())
    async with client(spool) as http:
        listing = (await http.get("/")).text
        page = await http.get(f"/mails/{mail_id}")
        raw = await http.get(f"/mails/{mail_id}.eml")
    assert "Une lettre vous attend — à retirer" in listing
    assert "<script>" not in listing
    assert "Bonjour &lt;Zoé&gt;" in page.text
    assert f'<a href="{LINK.replace("&", "&amp;")}"' in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert raw.content == notice().as_bytes()
    assert reserved_words_in(listing + page.text) == []


async def test_programs_get_json(tmp_path: Path) -> None:
    """The demo and the tests read subject, text and links without parsing a page; newest first."""
    spool = Spool(tmp_path)
    spool.keep(notice("old").as_bytes())
    newest = spool.keep(notice().as_bytes())
    async with client(spool) as http:
        items = (await http.get("/api/mails")).json()["items"]
        one = (await http.get(f"/api/mails/{newest}")).json()
    assert items[0]["id"] == newest
    assert one == items[0]
    assert one["links"] == [LINK]
    assert one["to"] == "zoé@recipient.example"
    assert one["message_id"] == "<1@registered.example>"


@pytest.mark.parametrize("path", ["/mails/nothing", "/mails/..%2Fqerds.toml.eml", "/api/mails/0"])
async def test_unknown_mails_are_not_found(tmp_path: Path, path: str) -> None:
    """An id is looked up, never used as a path."""
    async with client(Spool(tmp_path)) as http:
        assert (await http.get(path)).status_code == 404


@pytest.mark.parametrize(
    "root", ["", "/the-key_", "/the-key_12", "/THE-KEY_1", "//the-key_1", "/%74he-key_2", "/\u00e9"]
)
async def test_without_the_key_nothing_is_shown(tmp_path: Path, root: str) -> None:
    """To another user of the machine, who reaches the port: no list, no mail, no API, not even whether it is there."""
    spool = Spool(tmp_path)
    mail_id = spool.keep(notice().as_bytes())
    paths = ["", "/", f"/mails/{mail_id}", f"/mails/{mail_id}.eml", "/api/mails", f"/api/mails/{mail_id}"]
    paths += ["/api/waiting", "/style.css"]
    transport = httpx.ASGITransport(application(spool, KEY))
    async with httpx.AsyncClient(transport=transport, base_url="http://mail") as http:
        answers = [await http.request(method, f"http://mail{root}{p}") for p in paths for method in ("GET", "DELETE")]
    assert {(a.status_code, a.text) for a in answers} == {(404, WITHOUT_KEY)}
    assert KEY not in WITHOUT_KEY


async def test_every_link_of_a_page_has_the_key(tmp_path: Path) -> None:
    """Whoever came in by the address goes on without it; nothing leaks it: no referrer is sent."""
    spool = Spool(tmp_path)
    mail_id = spool.keep(notice().as_bytes())
    async with client(spool) as http:
        pages = [await http.get(path) for path in ("", "/", f"/mails/{mail_id}", "/mails/nothing")]
        for page in pages:
            links = [a for a in re.findall(r"href=[\"']([^\"']+)", page.text) if not a.startswith("http")]
            assert links
            for link in links:
                assert (await http.get(f"http://mail{link}")).status_code == 200
            assert page.headers["referrer-policy"] == "no-referrer"


def test_an_odd_mail_is_shown_as_far_as_possible() -> None:
    """No header and an unknown charset do not take the page down."""
    odd = decode("x", b"Content-Type: text/plain; charset=klingon\r\n\r\nhello")
    assert (odd.subject, odd.text) == ("(no subject)", "hello")
    assert decode("x", b"Content-Type: text/html\r\n\r\n<p>hello").text == ""


def test_names_sort_by_arrival(tmp_path: Path) -> None:
    """The list is in order of arrival, also within one clock tick."""
    spool = Spool(tmp_path)
    ids = [spool.keep(b"Subject: x\r\n\r\n") for _ in range(50)]
    assert sorted(ids) == ids
    assert [mail.id for mail in spool.newest_first()] == ids[::-1]


@pytest.mark.parametrize(
    ("address", "act"),
    [
        ("accepts@recipient.example", "accepts"),
        ("Refuses+77-a.b@Deep.Under.EXAMPLE", "refuses"),
        ("mismatch+@example", "mismatch"),
        ("ignores@recipient.example", None),
        ("tsa-down@recipient.example", None),
        ("bounces@recipient.example", None),
        ("accepts@recipient.example.org", None),
        ("accepts@notexample", None),
        ("accepts.angela@recipient.example", None),
        ("x+accepts@recipient.example", None),
        ("accepts@a@b.example", None),
    ],
)
def test_who_acts_by_themselves(address: str, act: str | None) -> None:
    """Three local parts, any tag, and only domains that belong to nobody."""
    assert act_of(address) == act


def test_only_mails_to_those_wait(smtp_port: int, tmp_path: Path) -> None:
    """Over SMTP: the mail is kept as any other, and noted when it is for who acts; over a restart too."""
    with smtplib.SMTP(HOST, smtp_port) as relay:
        for address in ("zoe@recipient.example", "accepts+1@recipient.example", "ignores@recipient.example"):
            relay.sendmail("notice@registered.example", [address], b"To: " + address.encode() + b"\r\n\r\nx")
    kept = {decode(p.stem, p.read_bytes()).to: p.stem for p in tmp_path.glob("*.eml")}
    assert len(kept) == 3
    assert Spool(tmp_path).waiting.oldest() == [WaitingMail(kept["accepts+1@recipient.example"], "accepts")]


async def test_who_waits_is_rung(tmp_path: Path) -> None:
    """A reader hangs until there is something, and not beyond the catcher's end; putting away twice is once."""
    spool = Spool(tmp_path)
    seen: list[list[dict[str, str]]] = []

    async def reads() -> None:
        seen.append((await http.get("/api/waiting?wait=30")).json()["items"])

    async with client(spool) as http:
        assert (await http.get("/api/waiting")).json() == {"items": []}
        assert (await http.get("/api/waiting?wait=-1e9")).json() == {"items": []}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reads)
            await anyio.wait_all_tasks_blocked()
            mail_id = spool.keep(notice().as_bytes())
            spool.waiting.add(mail_id, "refuses@x.example")
        assert seen == [[{"id": mail_id, "act": "refuses"}]]
        for _ in range(2):
            assert (await http.delete(f"/api/waiting/{mail_id}")).status_code == 204
        assert (await http.delete("/api/waiting/*")).status_code == 204
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reads)
            await anyio.wait_all_tasks_blocked()
            spool.waiting.end()
        assert (await http.get("/api/waiting?wait=30")).json() == {"items": []}
    assert seen[1] == []
