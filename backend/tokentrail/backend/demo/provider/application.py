"""The provider as a bare ASGI application.

    POST /v1/...        the formats
    GET  /ledger        what was sent so far (`Ledger.document`)
    GET  /healthz       `ok`

Anything else is answered with 404 in OpenAI's words. No key is checked beyond its presence, none is kept.
"""

import asyncio
import hashlib
import json
import random
import string
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tokentrail.backend.demo.provider import asgi, models, reply, request
from tokentrail.backend.demo.provider._base import Chunk, Format, Json, Prompt, Refusal, Reply
from tokentrail.backend.demo.provider.anthropic_messages import AnthropicMessages
from tokentrail.backend.demo.provider.ledger import CUT, ERROR, SENT, Ledger, Told
from tokentrail.backend.demo.provider.openai_chat import OpenAIChat
from tokentrail.backend.demo.provider.openai_embeddings import OpenAIEmbeddings
from tokentrail.backend.demo.provider.openai_responses import OpenAIResponses
from tokentrail.backend.demo.provider.vendors import VENDORS, Allowance, Vendor
from tokentrail.semconv import providers

FORMATS: tuple[Format, ...] = (OpenAIChat(), OpenAIResponses(), OpenAIEmbeddings(), AnthropicMessages())
MAX_BODY_BYTES = 32 * 1024 * 1024
"""Larger requests are refused with 413; Anthropic's limit."""
MAX_COUNTED_PROMPTS = 100_000
"""Distinct prompts whose attempts are counted; past it the counting starts anew."""
_HEADERS_AT = 0.6
"""Share of the time to the first token after which the status line and the first, empty chunk leave."""
_FAULT_AT_CHUNK = 6
"""Chunk of a stream at which a fault inside it strikes, from 0."""
_TAGS = ("helicone-", "tokentrail-")
_JSON = {"content-type": "application/json"}
_SSE = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


@dataclass(frozen=True, slots=True)
class Settings:
    """How the provider behaves. Raises `ValueError` on values outside their range."""

    seed: int = 1
    speed: float = 1.0
    """Factor on the pace: 10 is ten times as fast. From 0.1 to 1000."""
    fault_rate: float = 0.0
    """Share of requests that fail by the provider's own fault, 0 to 1."""

    def __post_init__(self) -> None:
        if not 0.1 <= self.speed <= 1000:
            raise ValueError(f"speed is {self.speed}: choose a factor from 0.1 to 1000")
        if not 0 <= self.fault_rate <= 1:
            raise ValueError(f"fault_rate is {self.fault_rate}: choose a share from 0 to 1")


@dataclass(frozen=True, slots=True)
class _Pace:
    first_token_s: float
    per_token_s: float


@dataclass(slots=True)
class _Exchange:
    """One request on its way through the application."""

    send: asgi.Send
    vendor: Vendor
    request_id: str
    gone: "asyncio.Task[None]"
    """Done when the client went away."""
    model: str = ""
    number: int = 0
    """In the ledger; 0 before it was entered."""
    started_s: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    @property
    def age_s(self) -> float:
        return asyncio.get_running_loop().time() - self.started_s

    async def wait_until(self, due_s: float) -> bool:
        """Wait for a point in time after the start; true when the client went away meanwhile."""
        delay_s = due_s - self.age_s
        if delay_s > 0:
            await asyncio.wait({self.gone}, timeout=delay_s)
        else:
            await asyncio.sleep(0)  # lets a disconnect be noticed at any speed
        return self.gone.done()


class LocalProvider:
    """The application. Everything in it runs on one event loop."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.ledger = Ledger()
        self._formats = {form.path: form for form in FORMATS}
        self._cache = reply.PromptCache()
        self._allowance = Allowance()
        self._attempts: Counter[str] = Counter()

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        match scope["method"], scope["path"]:
            case "GET", "/ledger":
                await asgi.answer(send, 200, _JSON, _encode(self.ledger.document()))
            case "GET", "/healthz":
                await asgi.answer(send, 200, {"content-type": "text/plain"}, b"ok\n")
            case _:
                await self._serve(scope, receive, send)

    async def _serve(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        form = self._formats.get(scope["path"])
        vendor = VENDORS[form.vendor if form else providers.OPENAI]
        body = await asgi.read_body(receive, MAX_BODY_BYTES)
        gone = asyncio.create_task(asgi.wait_until_gone(receive))
        exchange = _Exchange(send, vendor, vendor.request_id(), gone)
        try:
            form = _check_route(form, scope)
            headers = asgi.read_headers(scope)
            prompt = form.read(self._begin(exchange, form, headers, body))
            model = models.find(form.vendor, prompt.model, embeddings=form.path.endswith("embeddings"))
            await self._generate(exchange, form, prompt, model, body or b"")
        except Refusal as refusal:
            await self._refuse(exchange, refusal)
        finally:
            gone.cancel()

    def _begin(self, exchange: _Exchange, form: Format, headers: Mapping[str, str], body: bytes | None) -> Json:
        """Enter the request in the ledger; its body as an object. Raises `Refusal`."""
        parsed = _parse(body)
        named: Json = parsed if isinstance(parsed, dict) else {}
        model = named.get("model")
        exchange.model = model if isinstance(model, str) else ""
        exchange.number = self.ledger.begin(
            provider=form.vendor,
            endpoint=form.path,
            model=exchange.model,
            stream=named.get("stream") is True,
            request_id=exchange.request_id,
            tagged=tuple(sorted(name for name in headers if name.startswith(_TAGS))),
        )
        exchange.vendor.check_key(headers)
        if body is None:
            raise Refusal(413, "request_too_large", f"Request exceeds the maximum size of {MAX_BODY_BYTES} bytes")
        if not isinstance(parsed, dict):
            raise Refusal(400, request.INVALID, "We could not parse the JSON body of your request.")
        return named

    async def _generate(
        self, exchange: _Exchange, form: Format, prompt: Prompt, model: models.Model, body: bytes
    ) -> None:
        rng = self._draw(form, body)
        pace = _Pace(
            rng.uniform(*model.first_token_s) / self.settings.speed,
            1 / (rng.uniform(*model.tokens_per_s) * self.settings.speed),
        )
        fails = rng.random() < self.settings.fault_rate
        fault, inside = exchange.vendor.fault(prompt.stream, rng) if fails else (None, False)
        if fault and not inside:
            await exchange.wait_until(pace.first_token_s)
            raise fault
        answer = self._compose(form, prompt, model, rng)
        if prompt.stream:
            await self._stream(exchange, form.events(answer), answer, pace, fault)
        else:
            await self._send(exchange, form.encode(answer), answer, pace)

    def _draw(self, form: Format, body: bytes) -> random.Random:
        """Randomness that depends on the seed, the prompt and how often it came: a retry may fare better."""
        digest = hashlib.sha256(body).hexdigest()
        if len(self._attempts) >= MAX_COUNTED_PROMPTS:
            self._attempts.clear()
        self._attempts[digest] += 1
        seed = f"{self.settings.seed}:{form.path}:{digest}:{self._attempts[digest]}"
        return random.Random(seed)  # noqa: S311  an example, not a secret

    def _compose(self, form: Format, prompt: Prompt, model: models.Model, rng: random.Random) -> Reply:
        if model.dimensions:
            told = Told(input_tokens=sum(reply.count_tokens(text) for text in prompt.texts))
            return Reply(prompt, model.snapshot, "", 0, (), (), told, "", prompt.dimensions or model.dimensions)
        choices, reasoning, told = reply.compose(prompt, rng, self._cache.look_up(prompt))
        salt = "".join(rng.choices(string.ascii_letters + string.digits, k=64))
        # The response id comes from no seed: no two answers ever share one.
        return Reply(prompt, model.snapshot, form.new_response_id(), int(time.time()), choices, reasoning, told, salt)

    async def _send(self, exchange: _Exchange, document: Json, answer: Reply, pace: _Pace) -> None:
        """The plain answer, when all of it would have been generated."""
        if await exchange.wait_until(pace.first_token_s + answer.told.output_tokens * pace.per_token_s):
            self.ledger.end(exchange.number, CUT)
            return
        # Entered before the bytes leave: a client that has its answer may ask for the ledger at once.
        self.ledger.answer(exchange.number, 200, answer.response_id)
        self.ledger.tell(exchange.number, answer.told)
        self.ledger.end(exchange.number, SENT)
        await asgi.answer(exchange.send, 200, {**_JSON, **self._headers(exchange, answer)}, _encode(document))

    async def _stream(
        self, exchange: _Exchange, chunks: Iterator[Chunk], answer: Reply, pace: _Pace, fault: Refusal | None
    ) -> None:
        """The chunks, each when it is due, until the client is gone or the fault strikes."""
        due_s = pace.first_token_s * _HEADERS_AT
        spoken = False
        for position, chunk in enumerate(chunks):
            if chunk.tokens:
                # Hidden reasoning arrives with the first token and delays it.
                waited = chunk.tokens if spoken else chunk.tokens - 1
                due_s = (due_s if spoken else pace.first_token_s) + waited * pace.per_token_s
                spoken = True
            if await exchange.wait_until(due_s):
                self.ledger.end(exchange.number, CUT)
                return
            if position == 0:
                self.ledger.answer(exchange.number, 200, answer.response_id)
                await asgi.start(exchange.send, 200, {**_SSE, **self._headers(exchange, answer)})
            if fault and position == _FAULT_AT_CHUNK:
                self.ledger.end(exchange.number, ERROR, fault.kind)
                event = b"event: error\ndata: " + _encode(exchange.vendor.error(fault, exchange.request_id)) + b"\n\n"
                await asgi.write(exchange.send, event, more=False)
                return
            if chunk.told:
                self.ledger.tell(exchange.number, chunk.told)
            await asgi.write(exchange.send, chunk.data, more=True)
        self.ledger.end(exchange.number, SENT)
        await asgi.write(exchange.send, b"", more=False)

    async def _refuse(self, exchange: _Exchange, refusal: Refusal) -> None:
        headers = {**_JSON, **self._headers(exchange, None)}
        if refusal.retry_after_s is not None:
            # Both spellings that the SDKs read; the finer one keeps to the speed.
            wait_s = refusal.retry_after_s / self.settings.speed
            headers["retry-after"] = str(max(round(wait_s), 1))
            headers["retry-after-ms"] = str(max(round(wait_s * 1000), 1))
        self.ledger.answer(exchange.number, refusal.status)
        self.ledger.end(exchange.number, ERROR, refusal.kind)
        body = _encode(exchange.vendor.error(refusal, exchange.request_id))
        await asgi.answer(exchange.send, refusal.status, headers, body)

    def _headers(self, exchange: _Exchange, answer: Reply | None) -> dict[str, str]:
        tokens = answer.told.input_tokens + answer.told.output_tokens if answer else 0
        left = self._allowance.use(exchange.model, tokens)
        return exchange.vendor.headers(exchange.request_id, left, round(exchange.age_s * 1000))


def _check_route(form: Format | None, scope: asgi.Scope) -> Format:
    if form is None:
        raise Refusal(404, request.INVALID, f"Invalid URL ({scope['method']} {scope['path']})")
    if scope["method"] != "POST":
        raise Refusal(405, request.INVALID, f"Not allowed to {scope['method']} on {form.path}")
    return form


def _parse(body: bytes | None) -> object:
    try:
        return json.loads(body or b"")
    except (ValueError, RecursionError):
        return None


def _encode(body: Json) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
