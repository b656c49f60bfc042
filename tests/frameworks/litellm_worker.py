"""LiteLLM: completions of two vendors and of a local host, over httpx and over its own aiohttp transport."""

import litellm  # type: ignore[import-not-found]  # installed beside the environment

from frameworks.scenario import CLAUDE, MODEL, QUESTION, UNKNOWN_MODEL, Stage, play

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def _messages(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _text(chunk: object) -> str:
    return chunk.choices[0].delta.content or ""  # type: ignore[attr-defined]  # untyped


def blocking(stage: Stage) -> None:
    """Scenes without an event loop: over httpx."""
    local = {"api_base": f"{stage.url}/v1", "api_key": "none"}
    with stage.scene("completion") as outcome:
        answer = litellm.completion(model=f"openai/{MODEL}", messages=_messages("Why do parrots talk?"))
        outcome["result"] = answer.choices[0].message.content
    with stage.scene("tool") as outcome:
        answer = litellm.completion(model=f"openai/{MODEL}", messages=_messages(QUESTION), tools=[TOOL])
        outcome["result"] = answer.choices[0].message.tool_calls[0].function.name
    with stage.scene("claude") as outcome:
        answer = litellm.completion(model=f"anthropic/{CLAUDE}", messages=_messages("Why?"))
        outcome["result"] = answer.choices[0].message.content
    with stage.scene("claude-stream") as outcome:
        chunks = litellm.completion(model=f"anthropic/{CLAUDE}", messages=_messages("Why?"), stream=True)
        outcome["result"] = "".join(map(_text, chunks))
    with stage.scene("local-host") as outcome:
        # As for vLLM, LM Studio or any other server that speaks this format.
        answer = litellm.completion(model=f"hosted_vllm/{MODEL}", messages=_messages("Why?"), **local)
        outcome["result"] = answer.choices[0].message.content
    with stage.scene("local-stream") as outcome:
        chunks = litellm.completion(model=f"openai/{MODEL}", messages=_messages("Why?"), stream=True, **local)
        outcome["result"] = "".join(map(_text, chunks))
    with stage.scene("error"):
        litellm.completion(model=f"openai/{UNKNOWN_MODEL}", messages=_messages("Why?"))


async def asynchronous(stage: Stage) -> None:
    """Scenes in an event loop: over aiohttp, unless told otherwise. That transport is not rerouted: by address."""
    openai = {"api_base": f"{stage.url}/v1", "api_key": "none"}
    anthropic = {"api_base": stage.url, "api_key": "none"}
    with stage.scene("aiohttp") as outcome:
        answer = await litellm.acompletion(model=f"openai/{MODEL}", messages=_messages("Why?"), **openai)
        outcome["result"] = answer.choices[0].message.content
    with stage.scene("aiohttp-stream") as outcome:
        chunks = await litellm.acompletion(model=f"openai/{MODEL}", messages=_messages("Why?"), stream=True, **openai)
        outcome["result"] = "".join([_text(chunk) async for chunk in chunks])
    with stage.scene("aiohttp-claude") as outcome:
        answer = await litellm.acompletion(model=f"anthropic/{CLAUDE}", messages=_messages("Why?"), **anthropic)
        outcome["result"] = answer.choices[0].message.content
    with stage.scene("aiohttp-claude-stream") as outcome:
        chunks = await litellm.acompletion(
            model=f"anthropic/{CLAUDE}", messages=_messages("Why?"), stream=True, **anthropic
        )
        outcome["result"] = "".join([_text(chunk) async for chunk in chunks])
    with stage.scene("aiohttp-error"):
        await litellm.acompletion(model=f"openai/{UNKNOWN_MODEL}", messages=_messages("Why?"), **openai)
    litellm.disable_aiohttp_transport = True
    with stage.scene("httpx-async") as outcome:
        answer = await litellm.acompletion(model=f"openai/{MODEL}", messages=_messages("Why not?"), api_key="other")
        outcome["result"] = answer.choices[0].message.content


if __name__ == "__main__":
    litellm.suppress_debug_info = True  # it prints an advertisement where a call fails
    play("litellm", blocking, asynchronous)
