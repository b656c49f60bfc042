"""The wire formats, in the order in which an unknown body is tried against them."""

from tokentrail.instrumentation.wire._base import WireFormat
from tokentrail.instrumentation.wire.anthropic_complete import AnthropicComplete
from tokentrail.instrumentation.wire.anthropic_messages import AnthropicMessages
from tokentrail.instrumentation.wire.bedrock_converse import BedrockConverse
from tokentrail.instrumentation.wire.bedrock_invoke import (
    BedrockEmbeddings,
    BedrockInvoke,
    BedrockRerank,
    BedrockText,
)
from tokentrail.instrumentation.wire.cohere_chat import CohereChat
from tokentrail.instrumentation.wire.cohere_chat_v1 import CohereChatV1
from tokentrail.instrumentation.wire.cohere_embed import CohereEmbed
from tokentrail.instrumentation.wire.cohere_rerank import CohereRerank
from tokentrail.instrumentation.wire.gemini_embeddings import GeminiEmbeddings
from tokentrail.instrumentation.wire.gemini_generate_content import GeminiGenerateContent
from tokentrail.instrumentation.wire.gemini_interactions import GeminiInteractions
from tokentrail.instrumentation.wire.generic_rerank import GenericRerank
from tokentrail.instrumentation.wire.imagen_predict import ImagenPredict
from tokentrail.instrumentation.wire.mistral_conversations import MistralConversations
from tokentrail.instrumentation.wire.mistral_fim import MistralFim
from tokentrail.instrumentation.wire.ollama_chat import OllamaChat
from tokentrail.instrumentation.wire.ollama_embed import OllamaEmbed, OllamaEmbeddings
from tokentrail.instrumentation.wire.ollama_generate import OllamaGenerate
from tokentrail.instrumentation.wire.openai_chat import OpenAIChat
from tokentrail.instrumentation.wire.openai_completions import OpenAICompletions
from tokentrail.instrumentation.wire.openai_embeddings import OpenAIEmbeddings
from tokentrail.instrumentation.wire.openai_images import OpenAIImages
from tokentrail.instrumentation.wire.openai_moderations import OpenAIModerations
from tokentrail.instrumentation.wire.openai_responses import OpenAIResponses
from tokentrail.instrumentation.wire.openai_speech import OpenAISpeech
from tokentrail.instrumentation.wire.openai_transcriptions import OpenAITranscriptions

OPENAI_CHAT = OpenAIChat()
OPENAI_RESPONSES = OpenAIResponses()
OPENAI_EMBEDDINGS = OpenAIEmbeddings()
ANTHROPIC_MESSAGES = AnthropicMessages()
GEMINI_GENERATE_CONTENT = GeminiGenerateContent()
GEMINI_EMBEDDINGS = GeminiEmbeddings()
GEMINI_INTERACTIONS = GeminiInteractions()
IMAGEN_PREDICT = ImagenPredict()
BEDROCK_CONVERSE = BedrockConverse()
BEDROCK_TEXT = BedrockText()
BEDROCK_EMBEDDINGS = BedrockEmbeddings()
BEDROCK_RERANK = BedrockRerank()
BEDROCK_INVOKE = BedrockInvoke(ANTHROPIC_MESSAGES, OPENAI_CHAT, BEDROCK_TEXT, BEDROCK_EMBEDDINGS, BEDROCK_RERANK)
COHERE_CHAT = CohereChat()
COHERE_CHAT_V1 = CohereChatV1()
COHERE_EMBED = CohereEmbed()
COHERE_RERANK = CohereRerank()
MISTRAL_FIM = MistralFim()
MISTRAL_CONVERSATIONS = MistralConversations()
OLLAMA_CHAT = OllamaChat()
OLLAMA_GENERATE = OllamaGenerate()
OLLAMA_EMBED = OllamaEmbed()
OLLAMA_EMBEDDINGS = OllamaEmbeddings()
ANTHROPIC_COMPLETE = AnthropicComplete()
OPENAI_COMPLETIONS = OpenAICompletions()
OPENAI_IMAGES = OpenAIImages()
OPENAI_MODERATIONS = OpenAIModerations()
OPENAI_SPEECH = OpenAISpeech()
OPENAI_TRANSCRIPTIONS = OpenAITranscriptions()
GENERIC_RERANK = GenericRerank()

WIRE_FORMATS: tuple[WireFormat, ...] = (
    OPENAI_CHAT,
    OPENAI_RESPONSES,
    OPENAI_EMBEDDINGS,
    ANTHROPIC_MESSAGES,
    GEMINI_GENERATE_CONTENT,
    GEMINI_EMBEDDINGS,
    GEMINI_INTERACTIONS,
    IMAGEN_PREDICT,
    BEDROCK_CONVERSE,
    BEDROCK_INVOKE,
    BEDROCK_TEXT,
    BEDROCK_EMBEDDINGS,
    BEDROCK_RERANK,
    COHERE_CHAT,
    COHERE_CHAT_V1,
    COHERE_EMBED,
    COHERE_RERANK,
    MISTRAL_FIM,
    MISTRAL_CONVERSATIONS,
    OLLAMA_CHAT,
    OLLAMA_GENERATE,
    OLLAMA_EMBED,
    OLLAMA_EMBEDDINGS,
    ANTHROPIC_COMPLETE,
    OPENAI_COMPLETIONS,
    OPENAI_IMAGES,
    OPENAI_MODERATIONS,
    OPENAI_SPEECH,
    OPENAI_TRANSCRIPTIONS,
    GENERIC_RERANK,
)
