"""The shortest application: `opentelemetry-instrument python quickstart.py`, with OPENAI_API_KEY set."""

from openai import OpenAI

from tokentrail.instrumentation import session, user

with user("ada"), session("first-steps", path="/hello"):  # optional: who makes the call, and what for
    answer = OpenAI().chat.completions.create(
        model="gpt-5.4-mini", messages=[{"role": "user", "content": "Say hello in one short sentence."}]
    )
    print(answer.choices[0].message.content)  # noqa: T201  it is what the example is for
