"""Tokentrail's instrumentation: every call of a language model becomes an OpenTelemetry span.

Nothing needs to be imported for that: run the application under `opentelemetry-instrument`. This module is for code
that wants to say whose call it is, or sets up OpenTelemetry itself:

    from tokentrail.instrumentation import TokentrailInstrumentor, prompt, properties, session, user

    TokentrailInstrumentor().instrument()          # without opentelemetry-instrument

    with session("5f0c", name="research", path="/plan"), user("u-17"), properties(Feature="chat"):
        client.chat.completions.create(...)
"""

from tokentrail.instrumentation.context import prompt, properties, session, user
from tokentrail.instrumentation.instrumentor import TokentrailInstrumentor, flush

__all__ = ["TokentrailInstrumentor", "flush", "prompt", "properties", "session", "user"]
