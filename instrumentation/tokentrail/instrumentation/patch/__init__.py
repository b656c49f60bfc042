"""Hooks on the client libraries that SDKs send their requests with, one module for each library."""

from types import ModuleType
from typing import Final

import wrapt

from tokentrail.instrumentation.guard import protect
from tokentrail.instrumentation.observer import Observer
from tokentrail.instrumentation.patch._base import Patch, watch
from tokentrail.instrumentation.patch.aiohttp_client import AiohttpPatch
from tokentrail.instrumentation.patch.httpx_client import HttpxPatch
from tokentrail.instrumentation.patch.urllib3_client import Urllib3Patch
from tokentrail.semconv.pricing import load_price_list

PATCHES: Final[tuple[Patch, ...]] = (HttpxPatch(), Urllib3Patch(), AiohttpPatch())

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
        # Before any client can be made, and not in the background at the first call: the list's package imports httpx2,
        # and SDKs that look for it in `sys.modules` (openai 2.54) must not find it half imported by another thread.
        with protect("reading the price list"):
            load_price_list()
