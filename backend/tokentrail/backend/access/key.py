"""Keys: what is handed out once, and what is kept of it.

    tt_<id>_<secret>     id      12 hex digits, to find the key by; no secret
                         secret  64 hex digits, 256 random bits

Kept is the SHA-256 of the whole text. That is enough, and a slow hash (scrypt) would be a fault here: those make up for
what people choose, whereas 256 random bits cannot be guessed at any speed, and a key is checked with every request,
where a flood of wrong ones must cost next to nothing. The id in front of the secret is what a salt would be.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tokentrail.backend.access.caller import Caller, Role, stored_project

ID_BYTES: Final = 6
SECRET_BYTES: Final = 32
ID_PATTERN: Final = re.compile(r"[0-9a-f]{12}", re.ASCII)
HASH_PATTERN: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TEXT: Final = re.compile(r"tt_([0-9a-f]{12})_[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key."""

    id: str
    """`ID_PATTERN`."""
    name: str
    role: Role
    project: str
    """A name, or `caller.EVERY_PROJECT`."""
    sha256: str
    """`HASH_PATTERN`: of the text that was handed out."""
    created: datetime
    """With a time zone."""

    @property
    def caller(self) -> Caller:
        """Who has the key."""
        return Caller(self.name, self.role, stored_project(self.project))

    def matches(self, text: str) -> bool:
        """Whether `text` is this key; takes the same time whatever is wrong with it."""
        return hmac.compare_digest(_hash(text), self.sha256)


def new_key(name: str, role: Role, project: str, created: datetime) -> tuple[Key, str]:
    """A new key, and its text: the one time that it exists."""
    identifier = secrets.token_hex(ID_BYTES)
    text = f"tt_{identifier}_{secrets.token_hex(SECRET_BYTES)}"
    return Key(identifier, name, role, project, _hash(text), created), text


def id_of(text: str) -> str | None:
    """The id in the text of a key, `None` for what cannot be one."""
    match = _TEXT.fullmatch(text)
    return match[1] if match else None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
