"""LiteLLM with its own OpenTelemetry callback: it writes what it knows after the call, to the span that is current.

Started like a worker; see `scenario`.
"""

import logging
import os
import time

import litellm  # type: ignore[import-not-found]  # installed beside the environment

from frameworks.scenario import MODEL, Stage, play

_LOGGED_S = 0.5
"""The callback runs in the background."""


def blocking(stage: Stage) -> None:
    """Two calls in an open span, which the callback makes look like a call, and one that it makes a span for."""
    settings = {"model": f"openai/{MODEL}", "api_base": f"{stage.url}/v1", "api_key": "none"}
    with stage.scene("in-a-span"):
        for question in ("Why do parrots talk?", "And crows?"):
            litellm.completion(messages=[{"role": "user", "content": question}], **settings)
            time.sleep(_LOGGED_S)
    os.environ["USE_OTEL_LITELLM_REQUEST_SPAN"] = "true"
    with stage.scene("with-a-span-of-its-own"):
        litellm.completion(messages=[{"role": "user", "content": "And cats?"}], **settings)
        time.sleep(_LOGGED_S)


async def asynchronous(stage: Stage) -> None:
    """Nothing."""


if __name__ == "__main__":
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)  # it warns that its proxy is not installed
    litellm.callbacks = ["otel"]
    play("litellm", blocking, asynchronous)
