"""Templates to pages: one environment per language, and how dates, sizes and numbers read.

Rules    everything is escaped; an undefined name is an error, not an empty place; what a page may show is decided by
         the row types it is given (pipeline/stores/portal.py), not by the template
Elsewhere: headers (headers.py), which page (gateway/portal/letter.py)
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import partial
from pathlib import Path

from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from gateway.pages.language import LANGUAGES, Language, translations
from pipeline.delivery.deadlines import PARIS
from pipeline.delivery.number import spoken
from pipeline.evidence.events import WORDS
from pipeline.evidence.verification.table import CHECKS
from pipeline.formats.configuration import Config
from pipeline.formats.instants import time_text

TEMPLATES = Path(__file__).parent.parent / "templates"
LOCALE: Mapping[Language, str] = {"fr": "fr_FR", "en": "en_GB"}


class Pages:
    """All templates, ready in every language."""

    def __init__(self, config: Config) -> None:
        self._environments = {language: _environment(language, config) for language in LANGUAGES}

    def page(self, template: str, language: Language, status: int = 200, **values: object) -> HTMLResponse:
        """One page. `values` is all that the template can show, beside the provider's name."""
        text = self._environments[language].get_template(template).render(language=language, **values)
        return HTMLResponse(text, status)


def _environment(language: Language, config: Config) -> Environment:
    locale = LOCALE[language]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    environment.globals |= {
        "brand": config.provider.name,
        "demonstration": config.mode == "non_qualified",
        "other_language": "en" if language == "fr" else "fr",
    }
    filters: Mapping[str, Callable[..., str]] = {
        "event": lambda code: WORDS[code].heading.said(language),
        "check": lambda name: CHECKS[name].title.said(language),
        "day": partial(_day, locale),
        "moment": partial(_moment, locale),
        "instant": time_text,
        "size": partial(_size, locale),
        "spoken": spoken,
        "masked": masked,
    }
    environment.filters |= filters
    return environment


def masked(email: str) -> str:
    """An address that its owner recognises and a stranger does not learn: first letter and domain."""
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}•••@{domain}"


def _day(locale: str, day: date) -> str:
    return format_date(day, "full", locale=locale)


def _moment(locale: str, moment: datetime) -> str:
    """Date and time in Paris, to the second, with the offset: what a person may have to quote."""
    return format_datetime(moment, "d MMMM y, HH:mm:ss '(Paris, UTC'xxx')'", tzinfo=PARIS, locale=locale)


def _size(locale: str, count: int) -> str:
    if count < 1000:
        return f"{count} {'octets' if locale == 'fr_FR' else 'bytes'}"
    unit, factor = ("k", 1000) if count < 1_000_000 else ("M", 1_000_000)
    return f"{format_decimal(round(count / factor, 1), locale=locale)} {unit}{'o' if locale == 'fr_FR' else 'B'}"
