"""What a user is told when an endpoint cannot be used at the start: one line with the way out."""

from judges.base import JudgeError
from judges.clients import (
    CallConnectionError,
    CallError,
    CallStatusError,
    CallTimeoutError,
    CertificateError,
    NoSuchHostError,
    NotHTTPError,
)


def unusable(
    url: str, error: CallError, *, start: str, who: str = "nothing", key: str = "", has_key: bool = False
) -> JudgeError:
    """The error to raise.

    Args:
        url: The endpoint's address.
        error: What its first call met.
        start: How to start the server, where nothing answers.
        who: Says that it does not.
        key: The environment variable with its key, where it has one.
        has_key: Whether a key was sent.
    """
    status = error.status if isinstance(error, CallStatusError) else 0
    if status in (401, 403):
        what = "refuses the key" if has_key else "wants a key"
        return JudgeError(f"{url} {what} ({error})" + (f": set {key}" if key else ""))
    if 300 <= status < 400:
        return JudgeError(f"{url} cannot be used ({error}): prompts are not sent on, write the address that is meant")
    for kind, way_out in _WAYS_OUT.items():
        if isinstance(error, kind):
            return JudgeError(f"{url} cannot be used ({error}): {way_out}")
    if isinstance(error, CallConnectionError | CallTimeoutError):
        return JudgeError(f"{who} answers at {url} ({error}): {start}")
    return JudgeError(f"{url} cannot be used ({error})")


_WAYS_OUT: dict[type[CallError], str] = {
    CertificateError: "if you trust it, set SSL_CERT_FILE=FILE.pem to its certificate or that of its authority",
    NoSuchHostError: "correct the address",
    NotHTTPError: "correct the port, or write https:// for http:// or the reverse",
}
