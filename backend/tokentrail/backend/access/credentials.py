"""The key in an Authorization header: `Bearer <key>`, or `Basic` with the key as password and any user name.

RFC 6750 section 2.1, RFC 7617. Basic is what Grafana's data sources and Prometheus' scrape configurations offer.
"""

import binascii
from base64 import b64decode
from typing import Final

from tokentrail.backend.access.errors import MalformedKeyError, MissingKeyError

MAX_HEADER_BYTES: Final = 1024
"""A key has 80 characters; longer headers are not even looked at."""

_HOW: Final = "Authorization: Bearer <key>, or basic authentication with the key as password"


def read_authorization(values: list[bytes]) -> str:
    """The key in the values of the Authorization header, of which there is to be one; not yet known to be a key.

    Raises `MissingKeyError` and `MalformedKeyError`.
    """
    if not values:
        raise MissingKeyError(f"this needs a key: {_HOW}")
    if len(values) > 1:
        raise MalformedKeyError("there is more than one Authorization header")
    (value,) = values
    if len(value) > MAX_HEADER_BYTES:
        raise MalformedKeyError("the Authorization header is too long for a key")
    scheme, _, rest = value.strip().partition(b" ")
    match scheme.lower():
        case b"bearer":
            return rest.strip().decode("latin-1")
        case b"basic":
            return _password(rest.strip())
    raise MalformedKeyError(f"the Authorization header has another scheme: expected {_HOW}")


def _password(encoded: bytes) -> str:
    try:
        user_and_password = b64decode(encoded, validate=True)
    except binascii.Error:
        raise MalformedKeyError("the basic authentication is not valid base64") from None
    return user_and_password.partition(b":")[2].decode("latin-1")
