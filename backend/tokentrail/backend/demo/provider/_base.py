"""What a wire format of the provider is: it reads a request into a `Prompt` and writes a `Reply` as the vendor would.

Refusal    the request is answered with the vendor's error instead
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tokentrail.backend.demo.provider.ledger import Told

Json: TypeAlias = Mapping[str, object]


class Refusal(Exception):  # noqa: N818  it is an answer, nothing went wrong here
    """The vendor's error answer: status, type and words, and where OpenAI says so the parameter and code."""

    def __init__(
        self, status: int, kind: str, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s: float | None = None
        """Seconds until trying again makes sense, sent as `retry-after`; `None` sends no such header."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call, with the JSON schema of its arguments."""

    name: str
    schema: Json


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request, whatever format it came in."""

    model: str
    texts: tuple[str, ...]
    """Text of every message and tool definition, in order: what the input tokens are counted over."""
    instructions: str = ""
    """The system prompt: what the prompt cache keys on."""
    question: str = ""
    """The last text of the user."""
    cache: bool = False
    """The request lets `instructions` be cached."""
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or the name of a tool."""
    schema: Json | None = None
    """JSON schema that the answer must follow."""
    max_tokens: int | None = None
    effort: str = ""
    """`low`, `medium` or `high` reasoning; empty for none."""
    shows_reasoning: bool = False
    choices: int = 1
    stream: bool = False
    include_usage: bool = False
    dimensions: int = 0
    """Embeddings: wished length of each vector, 0 for the model's own."""
    base64: bool = False
    """Embeddings: vectors as base64 of little-endian float32."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: text, or a call of a tool. `pieces` are the tokens of whichever it is, joined by nothing."""

    pieces: tuple[str, ...]
    finish: str
    """`stop`, `length` or `tool`."""
    tool: str = ""
    """Name of the called tool; `pieces` are then its arguments as JSON."""

    @property
    def text(self) -> str:
        """The whole text, or the whole arguments."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever format it leaves in."""

    prompt: Prompt
    """The request it answers."""
    model: str
    """The model as the vendor names it in responses: a dated snapshot where there is one."""
    response_id: str
    created_s: int
    choices: tuple[Choice, ...]
    reasoning: tuple[str, ...]
    """Tokens of thought before the answer; empty without reasoning."""
    told: Told
    salt: str
    """Random letters for ids and padding inside the answer, 64 of them."""
    dimensions: int = 0
    """Embeddings: length of each vector."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One write to the stream."""

    data: bytes
    tokens: int = 0
    """Tokens generated since the chunk before: what the pace waits for."""
    told: Told | None = None
    """The usage that a client knows once it has read this chunk."""


class Format(Protocol):
    """One endpoint of one vendor."""

    @property
    def path(self) -> str:
        """Path of the endpoint."""

    @property
    def vendor(self) -> str:
        """Canonical provider name."""

    def new_response_id(self) -> str:
        """A new id of a response, in the vendor's form; empty where responses have none."""

    def read(self, body: Json) -> Prompt:
        """The request. Raises `Refusal` where the vendor would refuse it."""

    def encode(self, reply: Reply) -> Json:
        """The plain answer."""

    def events(self, reply: Reply) -> Iterator[Chunk]:
        """The streamed answer, from first to last byte."""
