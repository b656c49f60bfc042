"""What a person has read from the recordings: one exchange of each kind, for the second reading to agree with."""

from typing import Final

from support.expected import Choice, ToolCall

BY_HAND: Final[dict[str, dict[str, object]]] = {
    # Anthropic: the total is 100 + 5 written + 2 read.
    "api.anthropic.com.26": {
        "input_tokens": 107,
        "output_tokens": 21,
        "cache_read_tokens": 2,
        "cache_write_tokens": 5,
        "finish_reasons": ("stop",),
    },
    # Text and two tool calls in one stream, arguments in fragments.
    "api.anthropic.com.22": {
        "response_id": "msg_01JqiwuyYfmoZBJx1GLkqxLf",
        "stream": True,
        "input_tokens": 721,
        "output_tokens": 113,
        "finish_reasons": ("tool_call",),
        "choices": (
            Choice(
                "I'll check both the current weather and time in New York simultaneously right away!",
                tool_calls=(
                    ToolCall("toolu_01Mo5Ee5Yb7vrzaxSNS5DVuP", "get_weather", {"location": "New York, NY"}),
                    ToolCall("toolu_01GDAGw1KUdi1DCPPprMKGHR", "get_time", {"timezone": "America/New_York"}),
                ),
            ),
        ),
    },
    # Thinking counts come in the last event only.
    "api.anthropic.com.27": {
        "request_model": "claude-sonnet-4-5",
        "response_model": "claude-sonnet-4-5-20250929",
        "input_tokens": 50,
        "output_tokens": 93,
        "reasoning_tokens": 53,
    },
    # Groq's usage is in `x_groq`.
    "api.groq.com.1": {"provider": "groq", "input_tokens": 12, "output_tokens": 26, "finish_reasons": ("stop",)},
    # Mistral streams a tool call whole and without an index.
    "api.mistral.ai.5": {
        "provider": "mistral_ai",
        "input_tokens": 96,
        "output_tokens": 23,
        "choices": (Choice(tool_calls=(ToolCall("EscTeQY62", "get_weather", {"city": "San Francisco"}),)),),
    },
    # A stream without `stream_options.include_usage` has no usage at all.
    "api.openai.com.87": {"input_tokens": None, "output_tokens": None, "finish_reasons": ("tool_call",)},
    "api.openai.com.13": {
        "response_id": "resp_0770eba4b47ce2e60069d6f97bccc88195b7097d54b5a68b92",
        "input_tokens": 79,
        "output_tokens": 18,
        "finish_reasons": ("tool_call",),
        "request_id": "req_998ff47aa5fa4e6fac0ff1f65fda221f",
        "retry_count": 0,
        "user_text": "Get the profile for user 'user123'",
        "system_text": "You help manage user information. Use the get_user_profile tool to fetch user details.",
    },
    "api.openai.com.78": {
        "operation": "embeddings",
        "input_tokens": 20,
        "output_tokens": None,
        "finish_reasons": (),
        "response_model": "text-embedding-3-small",
    },
    "api.openai.com.99": {
        "input_tokens": 9,
        "output_tokens": 10,
        "cache_read_tokens": 1,
        "reasoning_tokens": 3,
        "choices": (Choice("Hello! How can I assist you today?"),),
    },
    # Legacy completions: the prompt is the user's. Anthropic's tell no usage, and stream it in pieces.
    "api.openai.com.43": {
        "operation": "text_completion",
        "input_tokens": 13,
        "output_tokens": 11,
        "choices": (Choice("\n\nFrance won the 2018 FIFA World Cup."),),
        "user_text": "Who won the World Cup in 2018?\n\nBEGIN RESPONSE:",
    },
    "api.anthropic.com.12": {
        "operation": "text_completion",
        "stream": True,
        "response_id": "compl_015dfgyiT7JLszAiMbGMtgeG",
        "response_model": "claude-2.1",
        "input_tokens": None,
        "finish_reasons": ("stop",),
        "choices": (Choice(" Light scatters blue."),),
    },
    # A template of a gateway names no model; the recording is still compressed.
    "api.portkey.ai.4": {
        "operation": "chat",
        "provider": "portkey",
        "request_model": "",
        "response_model": "gpt-4.1-2025-04-14",
        "request_id": "req_24c239d275655c5f601e70346c6cd0f6",
        "ratelimit": {
            "ratelimit_limit_requests": 10000,
            "ratelimit_limit_tokens": 30000000,
            "ratelimit_remaining_requests": 9999,
            "ratelimit_remaining_tokens": 29999965,
        },
    },
    "api.cohere.com.1": {
        "operation": "rerank",
        "provider": "cohere",
        "request_model": "rerank-english-v2.0",
        "response_id": "a2c52bb8-3297-4630-b008-62283af7dd4a",
        "input_tokens": None,
    },
    # Ollama: arguments are an object, thinking is beside the content.
    "127.0.0.1.7": {
        "provider": "ollama",
        "host": "127.0.0.1",
        "stream": False,
        "input_tokens": 292,
        "output_tokens": 143,
        "response_id": "",
        "choices": (
            Choice(
                reasoning=(
                    "Thinking Process:\n1.  **Identify User Intent**: The user wants to know the current weather in"
                    " Paris.\n2.  **Identify Required Tool**: The user explicitly instructed to use"
                    " `get_current_weather`.\n3.  **Check Tool Parameters**: `get_current_weather` requires a `city`"
                    ' parameter (string).\n4.  **Extract Parameters**: City = "Paris".\n5.  **Construct Tool Call**:'
                    ' `get_current_weather(city="Paris")`.\n6.  **Execute Tool Call**: Make the call.✅'
                ),
                tool_calls=(ToolCall("call_gsiiy8py", "get_current_weather", {"city": "Paris"}),),
            ),
        ),
    },
    "127.0.0.1.5": {"stream": True, "input_tokens": 21, "output_tokens": 889, "finish_reasons": ("stop",)},
    "127.0.0.1.4": {"error_type": "404", "error_message": "model 'nonexistent-model:latest' not found"},
    # Gemini: 75 of the prompt and 573 that code execution put into it; 414 of the answer and 117 thoughts.
    "generativelanguage.googleapis.com.3": {
        "operation": "generate_content",
        "provider": "gcp.gemini",
        "request_model": "gemini-2.5-flash",
        "response_id": "_TJPaqb9Ebm8jrEPzv2B4Qg",
        "input_tokens": 648,
        "output_tokens": 531,
        "reasoning_tokens": 117,
        "modalities": None,
        "finish_reasons": ("stop",),
    },
    # A stream of server-sent events, with an image of 258 tokens, whose counts grow from event to event.
    "generativelanguage.googleapis.com.33": {
        "stream": True,
        "input_tokens": 277,
        "output_tokens": 694,
        "reasoning_tokens": 570,
        "modalities": {"image.input": 258},
        "user_text": "Describe Image.",
    },
    # Two calls without an id, at Vertex, with numbers for enumerations.
    "aiplatform.googleapis.com.15": {
        "provider": "gcp.vertex_ai",
        "host": "us-central1-aiplatform.googleapis.com",
        "request_model": "gemini-2.5-pro",
        "input_tokens": 74,
        "output_tokens": 216,
        "finish_reasons": ("stop",),
        "choices": (
            Choice(
                tool_calls=(
                    ToolCall("", "get_current_weather", {"location": "New Delhi"}),
                    ToolCall("", "get_current_weather", {"location": "San Francisco"}),
                ),
            ),
        ),
    },
    # A stream that is a JSON array.
    "aiplatform.googleapis.com.2": {
        "stream": True,
        "input_tokens": 11,
        "output_tokens": 248,
        "reasoning_tokens": 232,
        "choices": (Choice("I told my wife she was drawing her eyebrows too high. She looked surprised."),),
    },
    "aiplatform.googleapis.com.20": {
        "status": 400,
        "error_type": "INVALID_ARGUMENT",
        "error_message": "Please use a valid role: user, model.",
        "user_text": "",
    },
    "generativelanguage.googleapis.com.25": {
        "operation": "embeddings",
        "request_model": "gemini-embedding-001",
        "input_tokens": None,
    },
    # Interactions: 266 of input, 258 of them an image; 3 of output and 57 thoughts; cut off at the limit.
    "generativelanguage.googleapis.com.55": {
        "stream": True,
        "request_model": "gemini-2.5-flash-lite",
        "response_id": "v1_ChduZUFFYXB6S0tkMjVzT0lQc2FUYzJBRRIXbmVBRWFwektLZDI1c09JUHNhVGMyQUU",
        "input_tokens": 266,
        "output_tokens": 60,
        "reasoning_tokens": 57,
        "modalities": {"image.input": 258},
        "finish_reasons": ("length",),
        "choices": (Choice("The image displays"),),
        "user_text": "Describe the image in one sentence.",
    },
    # An agent that was told to go to work: nothing has been generated.
    "generativelanguage.googleapis.com.51": {"request_model": "", "finish_reasons": (), "choices": ()},
    # Bedrock's converse, streamed: frames, a tool call in fragments.
    "bedrock-runtime.4": {
        "operation": "chat",
        "provider": "aws.bedrock",
        "host": "bedrock-runtime.us-east-1.amazonaws.com",
        "request_model": "anthropic.claude-3-haiku-20240307-v1:0",
        "response_model": "",
        "stream": True,
        "input_tokens": 353,
        "output_tokens": 38,
        "finish_reasons": ("tool_call",),
    },
    # Invoke: bodies of the model's own family; Anthropic's streams count 130, Bedrock's metrics 98.
    "bedrock-runtime.6": {
        "response_model": "claude-3-5-sonnet-20240620",
        "response_id": "msg_bdrk_01UgUptJTW7LFg8dn1kcyjpz",
        "stream": True,
        "input_tokens": 702,
        "output_tokens": 130,
        "system_text": "You're super friendly",
    },
    "bedrock-runtime.70": {
        "operation": "text_completion",
        "request_model": "amazon.titan-text-lite-v1",
        "input_tokens": 5,
        "output_tokens": 10,
        "finish_reasons": ("length",),
        "choices": (Choice(" comment\nHello! I am a computer program designed"),),
        "user_text": "Say this is a test",
    },
    # Cohere's and Mistral's bodies count nothing; the headers do.
    "bedrock-runtime.41": {
        "operation": "chat",
        "response_id": "379ed018/64bcb4c2-902c-4646-9e54-3e5e90c3b11e",
        "input_tokens": 5,
        "output_tokens": 5,
        "finish_reasons": ("stop",),
        "request_id": "4d1ce10c-03d3-4579-8bab-a0e4eb14a8d0",
    },
    "bedrock-runtime.44": {"operation": "text_completion", "input_tokens": 6, "output_tokens": 10},
    "bedrock-runtime.71": {
        "status": 400,
        "stream": True,
        "request_model": "does-not-exist",
        "error_type": "ValidationException",
        "error_message": "The provided model identifier is invalid.",
    },
    "api.openai.com.130": {"status": 404, "error_type": "model_not_found", "response_model": "", "input_tokens": None},
    # A recording whose body was lost: a success that says nothing.
    "api.openai.com.23": {"status": 200, "error_type": "", "response_id": "", "input_tokens": None, "choices": ()},
}
"""Read by a person from the recordings, by key."""
