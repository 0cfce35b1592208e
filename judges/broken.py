"""What went wrong with a connection, as one of our errors."""

import socket
import ssl
from collections.abc import Iterator

from judges.clients import (
    CallBodyError,
    CallConnectionError,
    CallError,
    CallTimeoutError,
    CertificateError,
    NoSuchHostError,
    NotHTTPError,
)

_MUTE = "the connection ended without an answer in HTTP"


def connection_failure(error: BaseException) -> CallError:
    """The error to raise for one of an HTTP library, in a few words that never hold a header.

    Libraries wrap what the system says in layers of their own, of which the innermost knows best.
    """
    layers = [*_layers(error)]
    known = next(filter(None, (_tls_or_name(layer) or _http(layer) for layer in reversed(layers))), None)
    if known is not None:
        return known
    said = next((one_line(str(layer)) for layer in reversed(layers) if str(layer)), "")
    return CallConnectionError(_MUTE if "without sending a response" in said else said or type(error).__name__)


def _tls_or_name(layer: BaseException) -> CallError | None:
    if isinstance(layer, ssl.SSLCertVerificationError):
        return CertificateError(f"its certificate is not trusted: {layer.verify_message or 'verification failed'}")
    if isinstance(layer, ssl.SSLError):
        return NotHTTPError(f"no TLS is spoken there: {(layer.reason or str(layer)).replace('_', ' ').lower()}")
    if isinstance(layer, socket.gaierror):
        return NoSuchHostError(f"no such host: {layer.strerror or layer}")
    return None


def _http(layer: BaseException) -> CallError | None:
    import httpx2

    if isinstance(layer, httpx2.ConnectTimeout):
        return CallConnectionError("no connection in time")
    if isinstance(layer, httpx2.TimeoutException):
        return CallTimeoutError("no answer in time")
    if isinstance(layer, httpx2.DecodingError):
        return CallBodyError(f"the body is not encoded as it says: {one_line(str(layer))}")
    if isinstance(layer, httpx2.RemoteProtocolError) and str(layer).startswith("illegal"):
        return NotHTTPError(f"what answers speaks no HTTP: {one_line(str(layer))}")
    return None


def _layers(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, the outermost first."""
    layer: BaseException | None = error
    while layer is not None:
        yield layer
        layer = layer.__cause__ or layer.__context__


def one_line(text: str) -> str:
    """The text on one line of at most 200 characters."""
    return " ".join(text.split())[:200]
