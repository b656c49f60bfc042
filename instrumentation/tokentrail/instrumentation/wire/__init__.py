"""The wire formats, in the order in which an unknown body is tried against them."""

from tokentrail.instrumentation.wire._base import WireFormat
from tokentrail.instrumentation.wire.anthropic_messages import AnthropicMessages
from tokentrail.instrumentation.wire.openai_chat import OpenAIChat
from tokentrail.instrumentation.wire.openai_embeddings import OpenAIEmbeddings
from tokentrail.instrumentation.wire.openai_responses import OpenAIResponses

OPENAI_CHAT = OpenAIChat()
OPENAI_RESPONSES = OpenAIResponses()
OPENAI_EMBEDDINGS = OpenAIEmbeddings()
ANTHROPIC_MESSAGES = AnthropicMessages()

WIRE_FORMATS: tuple[WireFormat, ...] = (OPENAI_CHAT, OPENAI_RESPONSES, OPENAI_EMBEDDINGS, ANTHROPIC_MESSAGES)
