"""A page of the portal, as a browser would read it."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Links and forms of a page, and whether anything in it would need an inline exception of the policy."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[tuple[str, str]] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in ("a", "link") and "href" in values:
            self.links.append(values["href"])
        if tag == "form":
            self.forms.append((values.get("method", "get"), values.get("action", "")))
        if tag in ("script", "style") or "style" in values or any(name.startswith("on") for name in values):
            self.inline.append(tag)
