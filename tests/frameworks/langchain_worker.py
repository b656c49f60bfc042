"""LangChain and LangGraph: a chat model, an agent with a tool, a batch in threads, a graph with parallel nodes."""

import operator
from typing import Annotated, TypedDict

from langchain.agents import create_agent  # type: ignore[import-not-found]  # installed beside the environment
from langchain.chat_models import init_chat_model  # type: ignore[import-not-found]
from langchain_anthropic import ChatAnthropic  # type: ignore[import-not-found]
from langchain_openai import ChatOpenAI, OpenAIEmbeddings  # type: ignore[import-not-found]
from langgraph.graph import END, START, StateGraph  # type: ignore[import-not-found]

from frameworks.scenario import CLAUDE, MODEL, QUESTION, UNKNOWN_MODEL, Stage, get_weather, play


class State(TypedDict):
    """What the nodes of the graph share."""

    lines: Annotated[list[str], operator.add]


def _graph() -> object:
    """Two nodes side by side, which LangGraph runs in threads."""
    model = ChatOpenAI(model=MODEL)

    def joke(state: State) -> State:
        return {"lines": [model.invoke("Tell me a joke.").text]}

    def poem(state: State) -> State:
        return {"lines": [model.invoke("Write me a poem.").text]}

    graph = StateGraph(State)
    for name, node in (("joke", joke), ("poem", poem)):
        graph.add_node(name, node)
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph.compile()


def blocking(stage: Stage) -> None:
    """Scenes without an event loop."""
    with stage.scene("invoke") as outcome:
        outcome["result"] = init_chat_model(f"openai:{MODEL}").invoke("Why do parrots talk?").text
    with stage.scene("agent") as outcome:
        agent = create_agent(f"openai:{MODEL}", tools=[get_weather], system_prompt="You are a helpful assistant.")
        state = agent.invoke({"messages": [{"role": "user", "content": QUESTION}]})
        outcome["result"] = state["messages"][-1].text
    with stage.scene("claude-agent") as outcome:
        agent = create_agent(f"anthropic:{CLAUDE}", tools=[get_weather])
        state = agent.invoke({"messages": [{"role": "user", "content": QUESTION}]})
        outcome["result"] = state["messages"][-1].text
    with stage.scene("stream") as outcome:
        outcome["result"] = "".join(chunk.text for chunk in ChatOpenAI(model=MODEL).stream("Why do parrots talk?"))
    with stage.scene("claude-stream") as outcome:
        outcome["result"] = "".join(chunk.text for chunk in ChatAnthropic(model_name=CLAUDE).stream("Why?"))
    with stage.scene("batch-in-threads") as outcome:
        answers = ChatOpenAI(model=MODEL).batch(["One", "Two", "Three"], config={"max_concurrency": 3})
        outcome["result"] = answers[-1].text
    with stage.scene("graph-in-threads") as outcome:
        outcome["result"] = _graph().invoke({"lines": []})["lines"][0]  # type: ignore[attr-defined]  # untyped
    with stage.scene("responses-api") as outcome:
        outcome["result"] = ChatOpenAI(model=MODEL, use_responses_api=True).invoke("Why do parrots talk?").text
    with stage.scene("embeddings") as outcome:
        # The check would fetch the vocabulary of the tokenizer.
        embeddings = OpenAIEmbeddings(model="text-embedding-3-small", check_embedding_ctx_length=False)
        outcome["result"] = len(embeddings.embed_query("parrots"))
    with stage.scene("error"):
        ChatOpenAI(model=UNKNOWN_MODEL).invoke("Why?")


async def asynchronous(stage: Stage) -> None:
    """Scenes in an event loop."""
    with stage.scene("async-agent-stream") as outcome:
        agent = create_agent(f"openai:{MODEL}", tools=[get_weather])
        pieces = []
        messages = {"messages": [{"role": "user", "content": QUESTION}]}
        async for piece, _ in agent.astream(messages, stream_mode="messages"):
            if piece.type == "AIMessageChunk":
                pieces.append(piece.text)
        outcome["result"] = "".join(pieces)
    with stage.scene("async-batch") as outcome:
        answers = await ChatAnthropic(model_name=CLAUDE).abatch(["One", "Two"])
        outcome["result"] = answers[-1].text
    with stage.scene("stream-left-early"):
        async for chunk in ChatOpenAI(model=MODEL).astream("Why do parrots talk?"):
            if chunk.text:
                break


if __name__ == "__main__":
    play("langchain", blocking, asynchronous)
