"""What went wrong on the way to a venue, in words that say whose fault it is and what to do."""

import asyncio
import socket
import ssl
from typing import Final, NamedTuple
from urllib.parse import urlsplit

FATAL_STATUS: Final = frozenset({400, 401, 404, 407, 410, 451})
"""Answers that a repetition does not change."""


class Trouble(NamedTuple):
    """A failed attempt: the reason for a person, and whether trying again cannot help."""

    reason: str
    is_fatal: bool = False


def explain(error: BaseException, url: str, proxy: str | None = None) -> Trouble:
    """Return what an error of a connection or request means.

    Parameters
    ----------
    error : BaseException
        As raised by ``websockets``, ``httpx``, or the socket below them.
    url : str
        Where it was to go.
    proxy : str, optional
        The proxy that was on the way, as configured or found in the environment.
    """
    host = urlsplit(url).netloc or url
    way = f"{host} by proxy {_without_password(proxy)}" if proxy else host
    for cause in _chain(error):
        found = _explain_one(cause, host, way)
        if found is not None:
            return found
    return Trouble(f"{way}: {type(error).__name__}: {error}".rstrip(": "))


def explain_status(status: int, url: str, text: str = "") -> Trouble:
    """Return what an HTTP answer other than success means."""
    host = urlsplit(url).netloc
    said = f" ({text.strip()[:200]})" if text.strip() else ""
    meaning = {
        400: "the request is wrong: check the symbols",
        401: "this address wants a login",
        403: "refused; a firewall in between or the venue's own blocks this address or region",
        404: "there is no such address: check the venue and its mirrors",
        407: "the proxy wants a login: put user and password into its address",
        410: "this address was retired",
        418: "banned for a while for too many requests",
        429: "too many requests",
        451: "not available where this machine is: the venue blocks the country; use another venue or region",
        503: "the venue is overloaded or under maintenance",
    }.get(status, "unexpected answer" if status < 500 else "the venue has a fault")
    return Trouble(f"{host}: HTTP {status}, {meaning}{said}", status in FATAL_STATUS)


def _chain(error: BaseException) -> list[BaseException]:
    """Return the error and what it came from, the innermost that says most first."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def _explain_one(error: BaseException, host: str, way: str) -> Trouble | None:
    kind = type(error).__name__
    response = getattr(error, "response", None)
    if kind == "InvalidProxyStatus":
        status = int(response.status_code)  # type: ignore[union-attr]  # websockets gives it one
        if status == 407:
            return Trouble(f"{way}: the proxy wants a login: put user and password into its address", True)
        return Trouble(f"{way}: the proxy answers HTTP {status} and does not let this host through; ask for it")
    if kind in {"InvalidProxy", "ProxyError", "InvalidProxyMessage"}:
        return Trouble(f"{way}: the proxy cannot be used: {error}", kind == "InvalidProxy")
    if kind == "InvalidStatus":
        return explain_status(int(response.status_code), f"//{host}", _text(response))  # type: ignore[union-attr]
    if kind == "InvalidURI":
        return Trouble(f"{host}: not the address of a WebSocket: {error}", True)
    if kind in {"InvalidUpgrade", "InvalidMessage", "InvalidHeader", "NegotiationError"}:
        return Trouble(
            f"{way}: answers, but not as a WebSocket ({error}); a proxy or firewall in between may answer for it"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return Trouble(
            f"{way}: the certificate is not trusted ({error.verify_message}); a proxy that opens TLS needs its own "
            "certificate in SSL_CERT_FILE",
            True,
        )
    if isinstance(error, ssl.SSLError):
        return Trouble(f"{way}: no TLS there ({error.reason}); a firewall or a plain-text port answers")
    if isinstance(error, socket.gaierror):
        return Trouble(f"{host}: the name cannot be resolved ({error.strerror}); no network, or DNS is blocked")
    if isinstance(error, ConnectionRefusedError):
        return Trouble(f"{way}: connection refused; nothing listens there, or a firewall rejects it")
    if isinstance(error, ConnectionResetError):
        return Trouble(f"{way}: connection reset by the other side or by something in between")
    if isinstance(error, TimeoutError | asyncio.TimeoutError) or kind in {
        "ConnectTimeout",
        "ReadTimeout",
        "PoolTimeout",
    }:
        return Trouble(f"{way}: no answer in time; the network is slow, or a firewall drops packets")
    if kind in {"ConnectionClosedError", "ConnectionClosedOK"}:
        received = getattr(error, "rcvd", None)
        if received is None:
            return Trouble(f"{host}: the connection broke off without a closing frame")
        return Trouble(f"{host}: closed by the venue with code {received.code}{_because(received.reason)}")
    return None


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _text(response: object) -> str:
    body = getattr(response, "body", b"") or b""
    return bytes(body).decode(errors="replace")


def _without_password(proxy: str) -> str:
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.hostname}:{parts.port}" if parts.hostname else "of the environment"
