"""A very plain browser, for walking through pages as a person without scripts would: links, forms, cookies.

Owns     reading forms and links out of a page, and keeping cookies as a browser keeps them on a loopback address (which
         counts as secure: `Secure` and `__Host-` cookies are sent over plain HTTP there)
Rules    follows redirects, remembers every page it saw; a form is sent with the fields that the page gave it
Elsewhere: what the pages mean (recipient.py)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from types import TracebackType
from urllib.parse import urljoin, urlsplit

import httpx

TIMEOUT_SECONDS = 20.0
REDIRECTS_MAX = 10


class PageUnexpected(Exception):
    """The page does not offer what the walk needs next; the text says which."""


@dataclass
class PageForm:
    """One form of a page, with the values it would send as it stands."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    """Collects forms, links and text."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[PageForm] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        elif tag == "form":
            self.forms.append(PageForm(attributes.get("method", "get").lower(), attributes.get("action", "")))
        elif self.forms and tag in ("input", "button") and attributes.get("name"):
            chosen = attributes.get("type") not in ("radio", "checkbox") or "checked" in attributes
            if chosen:
                self.forms[-1].fields[attributes["name"]] = attributes.get("value", "")
        elif tag == "select":
            self._select = attributes.get("name", "")
        elif self.forms and tag == "option" and self._select:
            self.forms[-1].fields.setdefault(self._select, attributes.get("value", ""))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@dataclass(frozen=True, slots=True)
class Page:
    """What came back at the end of the redirects."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    forms: tuple[PageForm, ...]
    links: tuple[str, ...]
    text: str

    def form(self, ending: str) -> PageForm:
        """The form whose action ends so."""
        for form in self.forms:
            if (form.action or self.url).split("?")[0].endswith(ending):
                return form
        raise PageUnexpected(f"{self.url} ({self.status}) has no form to {ending}")

    def link(self, part: str) -> str:
        """The first link that contains `part`, absolute."""
        for link in self.links:
            if part in link:
                return urljoin(self.url, link)
        raise PageUnexpected(f"{self.url} ({self.status}) has no link with {part}")


class PersonBrowser:
    """One person's browser."""

    def __init__(self, language: str = "en") -> None:
        self._http = httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False)
        self._cookies: dict[str, dict[str, str]] = {}
        self._language = language
        self.seen: list[Page] = []

    def __enter__(self) -> "PersonBrowser":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, url: str) -> Page:
        """Open an address."""
        return self._open("GET", url, None, None)

    def submit(self, page: Page, form: PageForm, **values: str) -> Page:
        """Send a form of `page`, with some fields filled in."""
        target = urljoin(page.url, form.action)
        data = {**form.fields, **values}
        if form.method == "get":
            return self._open("GET", str(httpx.URL(target, params=data)), None, page.url)
        return self._open("POST", target, data, page.url)

    def _open(self, method: str, url: str, data: Mapping[str, str] | None, came_from: str | None) -> Page:
        for _ in range(REDIRECTS_MAX):
            answer = self._http.request(method, url, data=data, headers=self._headers(url, method, came_from))
            self._keep_cookies(url, answer)
            if answer.status_code not in (301, 302, 303, 307, 308):
                page = _page(url, answer)
                self.seen.append(page)
                return page
            url = urljoin(url, answer.headers["location"])
            if answer.status_code not in (307, 308):
                method, data = "GET", None
        raise PageUnexpected(f"more than {REDIRECTS_MAX} redirects at {url}")

    def _headers(self, url: str, method: str, came_from: str | None) -> dict[str, str]:
        headers = {"accept": "text/html", "accept-language": self._language}
        cookies = self._cookies.get(_host(url), {})
        if cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        if method == "POST" and came_from:
            same = _origin(came_from) == _origin(url)
            headers |= {"origin": _origin(came_from), "sec-fetch-site": "same-origin" if same else "cross-site"}
        return headers

    def _keep_cookies(self, url: str, answer: httpx.Response) -> None:
        jar = self._cookies.setdefault(_host(url), {})
        for line in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0" or not morsel.value:
                    jar.pop(name, None)
                else:
                    jar[name] = morsel.value


def _page(url: str, answer: httpx.Response) -> Page:
    reader = _Reader()
    if answer.headers.get("content-type", "").startswith("text/html"):
        reader.feed(answer.text)
    text = " ".join(" ".join(reader.text).split())
    return Page(
        url, answer.status_code, dict(answer.headers), answer.content, tuple(reader.forms), tuple(reader.links), text
    )


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
