"""What can be wrong with access.

AccessError
├── UnauthenticatedError   no key, or none that is known: who asks is to bring one
└── ForbiddenError         the key is known, and may not do this
KeyFileError               the file of keys, or what it is to be changed to
TlsError                   certificates and keys of TLS
"""

from typing import ClassVar


class AccessError(Exception):
    """A request is refused. The message is for its sender and never has anything of a key in it."""

    reason: ClassVar[str]
    """Label value of `metrics.AUTH_FAILURES`."""


class UnauthenticatedError(AccessError):
    """There is no key that would say who asks."""


class MissingKeyError(UnauthenticatedError):
    """The request has no key."""

    reason = "missing"


class MalformedKeyError(UnauthenticatedError):
    """What the request has cannot be a key."""

    reason = "malformed"


class UnknownKeyError(UnauthenticatedError):
    """The request has a key that is not, or no longer, known."""

    reason = "unknown"


class ForbiddenError(AccessError):
    """The role or the project of the key is not enough."""

    reason = "forbidden"


class KeyFileError(Exception):
    """The file of keys cannot be used; the message says where and why, and has nothing of a key in it."""


class TlsError(Exception):
    """Files of TLS cannot be used; the message names them and what is wrong."""
