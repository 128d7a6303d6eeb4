"""The page that shows caught mails, and the same as JSON.

Owns     / (list), /mails/ID, /mails/ID.eml, /api/mails, /api/mails/ID, /api/waiting (for deploy/local/recipients.py),
         each below /KEY
Rules    every user of the machine reaches this port, so there is nothing here without the key, which one user can read
         mails are other people's bytes: everything is escaped, nothing in them is executed or loaded
"""

import re
import secrets
from dataclasses import asdict
from html import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.local.mail_catcher.spool import LINK, MAIL_ID, CaughtMail, Spool, decode

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
WITHOUT_KEY = "Nothing is shown at this address: the one that ./qerds up and ./qerds status print has a key in it.\n"
REFRESH_SECONDS = 5
PLAIN_SECONDS = re.compile(r"\d{1,3}(\.\d{1,3})?", re.ASCII)
STYLE = """
:root { color-scheme: light dark; --ink: #1c2127; --soft: #5f6b7a; --line: #d9dee4; --back: #f6f7f9; --card: #fff;
  --link: #0b57b7 }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaee; --soft: #9aa6b4; --line: #343c46; --back: #14181d;
  --card: #1c2229; --link: #7db4ff } }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 56rem; margin: 0 auto; padding: 2rem 1rem 4rem }
h1 { font-size: 1.4rem; margin: 0 0 .25rem } p { margin: .25rem 0 1rem } .soft { color: var(--soft) }
a { color: var(--link) }
ul { list-style: none; margin: 1.5rem 0; padding: 0; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card) }
li + li { border-top: 1px solid var(--line) }
li a { display: block; padding: .75rem 1rem; color: inherit; text-decoration: none }
li a:hover { background: var(--back) }
li a:focus-visible { outline: 2px solid var(--link); outline-offset: -2px }
li strong { display: block } li span { color: var(--soft); font-size: .875rem; overflow-wrap: anywhere }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 1rem 0 } dt { color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; padding: 1rem; font: .95rem/1.5 ui-monospace, monospace }
"""


class Keyed:
    """An application below /KEY; what is asked without the key gets the same answer, whatever it is."""

    def __init__(self, inner: ASGIApp, key: str) -> None:
        self._inner = inner
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # its own life; of web sockets it has none
            await self._inner(scope, receive, send)
            return
        root, _, rest = str(scope["path"]).removeprefix("/").partition("/")
        if secrets.compare_digest(root.encode(errors="replace"), self._key):
            await self._inner({**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}, receive, send)
        else:
            await PlainTextResponse(WITHOUT_KEY, 404, HEADERS)(scope, receive, send)


def application(spool: Spool, key: str) -> ASGIApp:
    """The ASGI application, for who has the key."""
    home = f"/{key}"

    async def listing(request: Request) -> Response:
        return _page(home, "Caught mails", _listing(home, list(spool.newest_first())), refresh=True)

    async def show(request: Request) -> Response:
        mail_id, raw_wanted = request.path_params["mail_id"].removesuffix(".eml"), request.url.path.endswith(".eml")
        content = spool.raw(mail_id)
        if content is None:
            body = f"<h1>No such mail</h1><p><a href='{home}/'>All mails</a></p>"
            return _page(home, "No such mail", body, status=404)
        if raw_wanted:
            return PlainTextResponse(content, headers=HEADERS)
        mail = decode(mail_id, content)
        return _page(home, mail.subject, _mail(home, mail))

    async def api_list(request: Request) -> Response:
        return JSONResponse({"items": [mail.as_json() for mail in spool.newest_first()]}, headers=HEADERS)

    async def api_show(request: Request) -> Response:
        mail_id = request.path_params["mail_id"]
        content = spool.raw(mail_id)
        if content is None:
            return JSONResponse({"title": "no such mail", "status": 404}, status_code=404, headers=HEADERS)
        return JSONResponse(decode(mail_id, content).as_json(), headers=HEADERS)

    async def waiting(request: Request) -> Response:
        text = request.query_params.get("wait", "0")
        seconds = float(text) if PLAIN_SECONDS.fullmatch(text) else 0.0
        items = [asdict(mail) for mail in await spool.waiting.wait(seconds)]
        return JSONResponse({"items": items}, headers=HEADERS)

    async def put_away(request: Request) -> Response:
        if MAIL_ID.fullmatch(mail_id := request.path_params["mail_id"]):
            spool.waiting.put_away(mail_id)
        return Response(status_code=204, headers=HEADERS)

    async def style(request: Request) -> Response:
        return Response(STYLE, media_type="text/css", headers=HEADERS)

    pages = Starlette(
        routes=[
            Route("/", listing),
            Route("/mails/{mail_id}", show),
            Route("/api/mails", api_list),
            Route("/api/mails/{mail_id}", api_show),
            Route("/api/waiting", waiting),
            Route("/api/waiting/{mail_id}", put_away, methods=["DELETE"]),
            Route("/style.css", style),
        ]
    )
    return Keyed(pages, key)


def _page(home: str, title: str, body: str, *, refresh: bool = False, status: int = 200) -> HTMLResponse:
    again = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">' if refresh else ""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{again}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="{home}/style.css"></head>'
        f"<body><main>{body}</main></body></html>",
        status_code=status,
        headers=HEADERS,
    )


def _listing(home: str, mails: list[CaughtMail]) -> str:
    rows = "".join(
        f'<li><a href="{home}/mails/{mail.id}"><strong>{escape(mail.subject)}</strong>'
        f"<span>to {escape(mail.to)} · {escape(mail.date)}</span></a></li>"
        for mail in mails
    )
    return (
        "<h1>Caught mails</h1>"
        '<p class="soft">Every mail that this installation sends ends here; none leaves this machine. '
        "Addresses bounces@… are refused for ever, later@… for now; accepts@, refuses@ and mismatch@ under .example "
        "are people who act by themselves.</p>"
        + (f"<ul>{rows}</ul>" if rows else "<p>No mail yet. This page looks again every few seconds.</p>")
    )


def _mail(home: str, mail: CaughtMail) -> str:
    about = (("From", mail.sender), ("To", mail.to), ("Date", mail.date), ("Message-ID", mail.message_id))
    rows = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in about if value)
    return (
        f'<p><a href="{home}/">← All mails</a></p><h1>{escape(mail.subject)}</h1><dl>{rows}</dl>'
        f'<pre>{_linked(mail.text)}</pre><p><a href="{home}/mails/{mail.id}.eml">As it came (.eml)</a></p>'
    )


def _linked(text: str) -> str:
    """Escaped text in which addresses can be followed."""
    parts, at = [], 0
    for match in LINK.finditer(text):
        address = escape(match[0], quote=True)
        parts += [escape(text[at : match.start()]), f'<a href="{address}" rel="noreferrer">{address}</a>']
        at = match.end()
    return "".join([*parts, escape(text[at:])])
