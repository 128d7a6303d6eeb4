"""Every address of the public check."""

from gateway.addresses import Address, Row
from gateway.limits import CHECK_SECONDS, REQUEST_SECONDS
from gateway.pages.headers import security_headers
from gateway.pages.rendering import Pages
from gateway.rates import Rate, by_region
from gateway.verify.page import UPLOAD_BYTES_MAX, VerifyPages
from gateway.verify.ports import VerifyPorts


def routes(ports: VerifyPorts, pages: Pages) -> list[Row]:
    """To be mounted at the root of the gateway's application."""
    checking, guarded = VerifyPages(ports, pages), security_headers(ports.config)
    rates = [Rate("checks", 60, 60), Rate("checks-region", 120, 60, by_region)]
    return [
        Address("GET", "/verify", checking.choose_language, REQUEST_SECONDS, middleware=guarded),
        Address("POST", "/verify", checking.judge, CHECK_SECONDS, UPLOAD_BYTES_MAX, rates=rates, middleware=guarded),
        Address("GET", "/{language}/verify", checking.form, REQUEST_SECONDS, middleware=guarded),
        Address(
            "POST",
            "/{language}/verify",
            checking.judge,
            CHECK_SECONDS,
            UPLOAD_BYTES_MAX,
            rates=rates,
            middleware=guarded,
        ),
    ]
