"""Certificates for tests, by the `openssl` command: an authority, and what it signs. Valid for days."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

NO_OPENSSL = "the openssl command is not there to make certificates with"


def has_openssl() -> bool:
    return shutil.which("openssl") is not None


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: Path
    key: Path

    def replace_with(self, other: "Pair") -> None:
        """Have these files hold what `other` holds, one after the other, as a renewal does."""
        for mine, theirs in ((self.certificate, other.certificate), (self.key, other.key)):
            beside = mine.with_suffix(".new")
            beside.write_bytes(theirs.read_bytes())
            beside.replace(mine)


class Authority:
    """An authority of its own, with its files in `directory`."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, name
        self._pair = Pair(directory / f"{name}.pem", directory / f"{name}.key")
        self._count = 0
        _openssl(
            *("req", "-x509", *_NEW_KEY, "-days", "3", "-subj", f"/CN={name}"),
            *("-keyout", self._pair.key, "-out", self._pair.certificate),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"),
        )

    @property
    def certificate(self) -> Path:
        return self._pair.certificate

    def sign(self, name: str) -> Pair:
        """A certificate for 127.0.0.1 and localhost, good for a server and for a client."""
        self._count += 1
        stem = self._directory / f"{self._name}-{name}-{self._count}"
        pair = Pair(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        request, extensions = stem.with_suffix(".csr"), stem.with_suffix(".ext")
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
        _openssl("req", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", pair.key, "-out", request)
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self._pair.certificate, "-CAkey", self._pair.key),
            *("-set_serial", str(self._count), "-days", "2", "-extfile", extensions, "-out", pair.certificate),
        )
        return pair


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
