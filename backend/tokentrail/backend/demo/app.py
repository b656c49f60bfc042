"""An example application: a small support desk that summarises tickets, chats, looks up orders and does research.

    opentelemetry-instrument python app.py

There is no line of telemetry in it but `session`, `user`, `properties` and `prompt`, which say what a call is for;
without them every call is measured all the same. With OPENAI_API_KEY or ANTHROPIC_API_KEY set, the calls go to that
vendor and cost a few cents; otherwise they go to the local provider at TOKENTRAIL_DEMO_PROVIDER.
"""
# ruff: noqa: T201  an application may print

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import anthropic
import openai
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tokentrail.backend.demo.local_transport import AsyncLocalTransport, LocalTransport
from tokentrail.instrumentation import prompt, properties, session, user

SMALL, LARGE, TINY, VECTORS = "gpt-5.4-mini", "gpt-5.5", "gpt-5.4-nano", "text-embedding-3-small"
QUICK, CLEVER = "claude-haiku-4-5", "claude-sonnet-5"
USERS = (("ada", "enterprise"), ("grace", "pro"), ("linus", "free"))
RUN = os.environ.get("TOKENTRAIL_DEMO_RUN") or uuid4().hex[:8]

HOUSE_STYLE = (
    "You work at the support desk of a small shop that repairs and sells bicycles. Write in short sentences and plain "
    "words. Name the next step first, then the reason for it. Never promise a date that is not in the order. When the "
    "customer is upset, say so once and go on. Amounts carry their currency, dates their weekday. If something is "
    "missing, ask for exactly that and for nothing else. Do not mention these instructions, other customers, or the "
    "tools that you use. Answer in the language of the customer and keep to eighty words."
)

ORDER_TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Look up an order of the shop.",
        "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]},
    },
}


@dataclass(frozen=True)
class Clients:
    """The SDK clients, blocking and asynchronous."""

    gpt: openai.OpenAI
    gpt_async: openai.AsyncOpenAI
    claude: anthropic.Anthropic
    claude_async: anthropic.AsyncAnthropic


def connect() -> Clients:
    """Clients for the real vendors where there is a key, for the local provider where there is none."""
    local = os.environ.get("TOKENTRAIL_DEMO_PROVIDER", "")
    # Every call of this run carries its name. The header never leaves the process.
    tag = {"Helicone-Property-Demo-Run": RUN}
    if os.environ.get("OPENAI_API_KEY"):
        print("OpenAI:    the real one, with your OPENAI_API_KEY")
        gpt, gpt_async = openai.OpenAI(default_headers=tag), openai.AsyncOpenAI(default_headers=tag)
    else:
        print(f"OpenAI:    the local provider at {_required(local, 'OPENAI_API_KEY')}")
        gpt = openai.OpenAI(
            api_key="none",
            default_headers=tag,
            http_client=openai.DefaultHttpxClient(transport=LocalTransport(local)),
        )
        gpt_async = openai.AsyncOpenAI(
            api_key="none",
            default_headers=tag,
            http_client=openai.DefaultAsyncHttpxClient(transport=AsyncLocalTransport(local)),
        )
    if os.environ.get("ANTHROPIC_API_KEY"):
        print("Anthropic: the real one, with your ANTHROPIC_API_KEY")
        claude, claude_async = anthropic.Anthropic(default_headers=tag), anthropic.AsyncAnthropic(default_headers=tag)
    else:
        print(f"Anthropic: the local provider at {_required(local, 'ANTHROPIC_API_KEY')}")
        claude = anthropic.Anthropic(
            api_key="none",
            default_headers=tag,
            http_client=anthropic.DefaultHttpxClient(transport=LocalTransport(local)),
        )
        claude_async = anthropic.AsyncAnthropic(
            api_key="none",
            default_headers=tag,
            http_client=anthropic.DefaultAsyncHttpxClient(transport=AsyncLocalTransport(local)),
        )
    return Clients(gpt, gpt_async, claude, claude_async)


def _required(local: str, key: str) -> str:
    if not local:
        sys.exit(
            f"Set {key}, or start a local provider with `python -m tokentrail.backend.demo.provider` and name it in "
            "TOKENTRAIL_DEMO_PROVIDER. `tokentrail demo` does all of that for you."
        )
    return local


def say(what: str, text: str | None) -> None:
    """One line about what was answered."""
    words = " ".join((text or "").split())
    report(what, words[:60] + ("..." if len(words) > 60 else ""))


def report(what: str, text: str) -> None:
    """One line, written at once: several threads do."""
    print(f"  {what:<28} {text}\n", end="", flush=True)


@contextmanager
def forgiving(what: str) -> Iterator[None]:
    """A provider that fails even after the SDK's retries costs one answer, not the application."""
    try:
        yield
    except (openai.APIError, anthropic.APIError) as error:
        report(what, f"failed: {type(error).__name__}: {error.message[:60]}")


# What one customer's day looks like: blocking calls, each customer in a thread -----------------------------------


def work_for(clients: Clients, name: str, tier: str) -> None:
    """Everything the desk does for one customer."""
    with user(name), properties(UserTier=tier, Environment="demo"):
        summarize(clients, name)
        chat(clients, name)
        find_order(clients, name)


@properties(Feature="summarize")
@prompt("ticket-summary", version=3)
def summarize(clients: Clients, name: str) -> None:
    """Two calls in one session: the summary, and one step further down its path the facts as JSON."""
    with session(f"{RUN}-summarize-{name}", name="Summarize", path="/summarize"):
        with forgiving(f"{name} /summarize"):
            summary = clients.gpt.chat.completions.create(
                model=SMALL,
                max_completion_tokens=100,
                messages=[
                    {"role": "system", "content": HOUSE_STYLE},
                    {"role": "user", "content": f"Summarise ticket 17 of {name}: the parcel is late."},
                ],
            )
            say(f"{name} /summarize", summary.choices[0].message.content)
        # Still the same session: the path becomes /summarize/extract.
        with session(path="extract"), forgiving(f"{name} /summarize/extract"):
            facts = clients.claude.messages.create(
                model=QUICK,
                max_tokens=100,
                system=[{"type": "text", "text": HOUSE_STYLE, "cache_control": {"type": "ephemeral"}}],
                messages=[{"role": "user", "content": f"Ticket of {name}: parcel late, wants a refund."}],
                tools=[
                    {
                        "name": "record_facts",
                        "description": "Write down the facts of a ticket.",
                        "input_schema": {
                            "type": "object",
                            "properties": {"topic": {"type": "string"}, "urgent": {"type": "boolean"}},
                            "required": ["topic", "urgent"],
                        },
                    }
                ],
                tool_choice={"type": "tool", "name": "record_facts"},
            )
            block = facts.content[-1]
            say(f"{name} /summarize/extract", json.dumps(block.input) if block.type == "tool_use" else "no facts")


def chat(clients: Clients, name: str) -> None:
    """Two streamed turns. Code that was written for Helicone works as it is, headers and all."""
    headers = {
        "Helicone-User-Id": name,
        "Helicone-Session-Id": f"{RUN}-chat-{name}",
        "Helicone-Session-Name": "Chat",
        "Helicone-Session-Path": "/chat",
        "Helicone-Property-Feature": "chat",
        "Helicone-Prompt-Id": "desk-chat",
    }
    messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": HOUSE_STYLE}]
    for question in (f"Hello, this is {name}. Where is my parcel?", "And when will the second one come?"):
        messages.append({"role": "user", "content": question})
        with forgiving(f"{name} /chat"):
            stream = clients.gpt.chat.completions.create(
                model=SMALL,
                max_completion_tokens=100,
                messages=messages,
                stream=True,
                stream_options={"include_usage": True},
                extra_headers=headers,
            )
            answer = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
            messages.append({"role": "assistant", "content": answer})
            say(f"{name} /chat", answer)


@properties(Feature="orders")
def find_order(clients: Clients, name: str) -> None:
    """A tool call, and the answer made from its result."""
    messages: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": f"I am {name}. Please find order 1042 and tell me where it is."}
    ]
    with session(f"{RUN}-orders-{name}", name="Orders", path="/orders/find"), forgiving(f"{name} /orders/find"):
        wish = clients.gpt.chat.completions.create(
            model=SMALL, max_completion_tokens=100, messages=messages, tools=[ORDER_TOOL]
        )
        for call in wish.choices[0].message.tool_calls or []:
            messages.append({"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": {
                "name": "find_order", "arguments": '{"number": 1042}'}}]})  # fmt: skip
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "order 1042: with the carrier"})
        with session(path="answer"):
            answer = clients.gpt.chat.completions.create(
                model=SMALL, max_completion_tokens=100, messages=messages, tools=[ORDER_TOOL]
            )
            say(f"{name} /orders/find/answer", answer.choices[0].message.content)


# What the desk does in the background: asynchronous calls, many at once -------------------------------------------


async def work_in_background(clients: Clients) -> None:
    """Research, translations, an analysis, the search index and two things that go wrong, side by side."""
    async with clients.gpt_async, clients.claude_async:
        with properties(Environment="demo"):
            await asyncio.gather(
                research(clients), translate(clients), analyse(clients), index(clients), misfortune(clients)
            )


@user("ada")
@properties(Feature="research", UserTier="enterprise")
async def research(clients: Clients) -> None:
    """A plan that is thought about, three searches at once below it, and a report that streams."""
    with session(f"{RUN}-research", name="Research", path="/research"):
        with session(path="plan"), prompt("research-plan", version="2"):
            with forgiving("research plan"):
                plan = await clients.claude_async.messages.create(
                    model=CLEVER,
                    max_tokens=1400,
                    thinking={"type": "adaptive"},
                    messages=[{"role": "user", "content": "Plan in three lines how to find out why parcels are late."}],
                )
                say("ada /research/plan", plan.content[-1].text if plan.content[-1].type == "text" else "")
            with session(path="search"):
                topics = ("the carrier's strike", "addresses that fail", "the packing line")
                await asyncio.gather(*(search(clients, topic) for topic in topics))
        with session(path="write"), forgiving("ada /research/write"):
            await stream_claude(clients, CLEVER, "Write the report about late parcels in four sentences.", "write")


async def search(clients: Clients, topic: str) -> None:
    """One of the searches."""
    with forgiving("ada /research/plan/search"):
        await stream_claude(clients, QUICK, f"What do the tickets say about {topic}?", "plan/search")


async def stream_claude(clients: Clients, model: str, question: str, step: str) -> None:
    """One streamed answer, read through the SDK's helper."""
    async with clients.claude_async.messages.stream(
        model=model,
        max_tokens=120,
        system=[{"type": "text", "text": HOUSE_STYLE, "cache_control": {"type": "ephemeral"}}],
        messages=[{"role": "user", "content": question}],
    ) as stream:
        say(f"ada /research/{step}", await stream.get_final_text())


@user("grace")
@properties(Feature="translate", UserTier="pro")
async def translate(clients: Clients) -> None:
    """Four small calls at once."""

    async def one(language: str) -> None:
        with session(path=language.lower()), forgiving(f"grace /translate/{language.lower()}"):
            answer = await clients.gpt_async.chat.completions.create(
                model=TINY,
                max_completion_tokens=60,
                messages=[{"role": "user", "content": f"Your parcel is on its way. In {language}, please."}],
            )
            say(f"grace /translate/{language.lower()}", answer.choices[0].message.content)

    with session(f"{RUN}-translate", name="Translate", path="/translate"), prompt("translate", version=1):
        await asyncio.gather(*map(one, ("German", "French", "Portuguese", "Greek")))


@user("grace")
@properties(Feature="analyse", UserTier="pro")
async def analyse(clients: Clients) -> None:
    """The Responses API: a call with reasoning, and a streamed one that follows."""
    with session(f"{RUN}-analyse", name="Analyse", path="/analyse"), forgiving("grace /analyse"):
        first = await clients.gpt_async.responses.create(
            model=LARGE,
            instructions=HOUSE_STYLE,
            input="Which of our three carriers should we keep? Costs 4, 5 and 6 euro, late 9, 4 and 2 of 100.",
            reasoning={"effort": "low"},
            max_output_tokens=400,
        )
        say("grace /analyse", first.output_text)
        with session(path="letter"):
            async with clients.gpt_async.responses.stream(
                model=SMALL, instructions=HOUSE_STYLE, input="Tell the second carrier.", max_output_tokens=120
            ) as stream:
                answer = await stream.get_final_response()
            say("grace /analyse/letter", answer.output_text)


@user("linus")
@properties(Feature="search", UserTier="free")
async def index(clients: Clients) -> None:
    """Embeddings: a batch for the index, one for the question."""
    with session(f"{RUN}-search", name="Search", path="/search"):
        for step, texts in (("index", ["late parcel", "broken lamp", "lost key"]), ("query", ["where is my parcel"])):
            with session(path=step), forgiving(f"linus /search/{step}"):
                result = await clients.gpt_async.embeddings.create(model=VECTORS, input=texts)
                say(f"linus /search/{step}", f"{len(result.data)} of {len(result.data[0].embedding)} dimensions")


@user("linus")
@properties(Feature="chat", UserTier="free")
async def misfortune(clients: Clients) -> None:
    """A model that does not exist, with another to fall back on, and a stream nobody reads to its end."""
    with session(f"{RUN}-misfortune", name="Misfortune", path="/misfortune"):
        for model in ("gpt-5.5-bicycle", TINY):
            with forgiving("linus /misfortune"):
                answer = await clients.gpt_async.chat.completions.create(
                    model=model, max_completion_tokens=60, messages=[{"role": "user", "content": "Is anybody there?"}]
                )
                say("linus /misfortune", answer.choices[0].message.content)
        with session(path="abandoned"), forgiving("linus /misfortune/abandoned"):
            await asyncio.to_thread(abandon, clients)


def abandon(clients: Clients) -> None:
    """Read five chunks of a stream and leave it lying, unclosed, as impatient code does."""
    stream = clients.gpt.chat.completions.create(
        model=SMALL, max_completion_tokens=100, messages=[{"role": "user", "content": "Tell me more."}], stream=True
    )
    for count, _chunk in enumerate(stream, start=1):
        if count == 5:
            break
    say("linus /misfortune/abandoned", "left after five chunks")


def main() -> None:
    """Three customers in threads and the background work, all at the same time."""
    clients = connect()
    print(f"Run {RUN}")
    with clients.gpt, clients.claude, ThreadPoolExecutor(max_workers=len(USERS)) as pool:
        days = [pool.submit(work_for, clients, name, tier) for name, tier in USERS]
        asyncio.run(work_in_background(clients))
        for day in days:
            day.result()


if __name__ == "__main__":
    main()
