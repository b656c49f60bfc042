"""TLS for both ports: the certificate, its key, and the authorities whose clients may come at all (mTLS).

Certificates are renewed while the backend runs: the files are looked at when a client connects, and connections that
begin after a change have the new ones, for OTLP/HTTP through `SSLContext.sni_callback`, which may put another context
in place and is called for every handshake, and for OTLP/gRPC by its own means. Versions that do not fit together, as
between the writing of two files, leave those of before in place.
"""

import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from tokentrail.backend.access.errors import TlsError
from tokentrail.backend.access.watched import Watched

_ALPN: Final = ["http/1.1"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where they are, all PEM."""

    certificate: Path
    """With the certificates between it and the authority, in this order."""
    key: Path
    """Of the certificate, without a password."""
    client_ca: Path | None = None
    """Certificates of authorities; with them every client needs a certificate of theirs."""


@dataclass(frozen=True, slots=True)
class Material:
    """What is in the files, known to fit together."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    context: ssl.SSLContext
    """A server's context of these."""


class Tls:
    """TLS by `files`. The constructor raises `TlsError`, nothing else does later. Thread-safe."""

    def __init__(self, files: TlsFiles) -> None:
        paths = [path for path in (files.certificate, files.key, files.client_ca) if path is not None]
        self.files = files
        self._watched = Watched(paths, lambda: load(files), TlsError, self._changed)

    def current(self) -> Material:
        """What is in force for a connection that begins now."""
        return self._watched.get()

    def context(self) -> ssl.SSLContext:
        """A context that always serves with `current`, for the whole life of a server. Call once."""
        context = self.current().context

        def serve_current(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self.current().context

        context.sni_callback = serve_current
        return context

    def is_current(self) -> bool:
        """Whether the files as they are now are in force."""
        self._watched.refresh()
        return self._watched.is_current

    def loaded_at_s(self) -> float:
        """When what is in force was read, seconds since the epoch."""
        return self._watched.loaded_at_s

    def _changed(self, error: Exception | None) -> None:
        if error is None:
            _log.info("the certificate %s is in force", self.files.certificate)
        else:
            _log.error("files of TLS were not taken over, those of before stay in force: %s", error)


def load(files: TlsFiles) -> Material:
    """What is in `files`. Raises `TlsError` for what cannot be read, does not fit together or has a password."""
    client_ca = None if files.client_ca is None else _read(files.client_ca)
    certificate, key = _read(files.certificate), _read(files.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except ssl.SSLError as error:
        raise TlsError(
            f"the certificate {files.certificate} and the key {files.key} cannot be used together: "
            f"{error.reason or 'one of them is not PEM'}"
        ) from None
    except OSError as error:
        raise TlsError(f"{files.certificate} or {files.key} cannot be read: {error.strerror}") from None
    if files.client_ca is not None:
        _require_clients(context, files.client_ca)
    return Material(certificate, key, client_ca, context)


def _require_clients(context: ssl.SSLContext, client_ca: Path) -> None:
    try:
        context.load_verify_locations(client_ca)
    except (ssl.SSLError, OSError) as error:
        raise TlsError(f"{client_ca} has no certificate of an authority: {error.strerror or error}") from None
    context.verify_mode = ssl.CERT_REQUIRED
    # A session that is taken up again is not verified again: none is, so that an authority that is taken out is out.
    # Python can switch that off for TLS 1.3 alone.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(f"{path} cannot be read: {error.strerror}") from None


def _no_password() -> NoReturn:
    raise TlsError("the key of TLS has a password, which nobody is here to type: store it without one")
