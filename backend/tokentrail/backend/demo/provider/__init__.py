"""A local provider of language models: speaks the vendors' HTTP formats, invents the answers, keeps a ledger.

It answers OpenAI Chat Completions, Responses and Embeddings and Anthropic Messages, plain and streamed, at the pace
and with the headers, errors and faults of a real one. Nothing in it understands a prompt.
"""

from tokentrail.backend.demo.provider.application import LocalProvider, Settings
from tokentrail.backend.demo.provider.server import ServedProvider

__all__ = ["LocalProvider", "ServedProvider", "Settings"]
