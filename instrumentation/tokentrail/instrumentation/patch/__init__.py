"""Hooks on the client libraries that SDKs send their requests with, one module for each library."""

from types import ModuleType
from typing import Final

import wrapt

from tokentrail.instrumentation.exchange import Observer
from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.patch._base import Patch, watch
from tokentrail.instrumentation.patch.httpx_client import HttpxPatch

PATCHES: Final[tuple[Patch, ...]] = (HttpxPatch(),)

_hooked: set[str] = set()


def install(observer: Observer) -> None:
    """Have `observer` see the requests of every client, existing and new."""
    watch(observer)
    for patch in PATCHES:
        for name in patch.modules:
            if name not in _hooked:
                _hooked.add(name)
                wrapt.register_post_import_hook(_guarded(patch), name)


def uninstall() -> None:
    """Let every request pass unseen from now on."""
    watch(None)


class _guarded:  # noqa: N801  a function that keeps a patch
    def __init__(self, patch: Patch) -> None:
        self._patch = patch

    def __call__(self, module: ModuleType) -> None:
        with protect(f"hooking {module.__name__}"):
            self._patch.hook(module)
