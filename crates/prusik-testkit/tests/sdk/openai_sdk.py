"""Reads the scripted server with OpenAI's official SDK. BASE_URL names the server.

Its script is `script.yaml` beside this file. The first requests fail with 503 and 429 before one
is answered, so that the SDK's own retries are part of what is read.
"""

import json
import os

import openai

client = openai.OpenAI(base_url=os.environ["BASE_URL"] + "/v1", api_key="test-key", max_retries=2)

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tells the weather of a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


def ask(stream, messages):
    """Returns the whole completion, put together by the SDK where it is streamed."""
    arguments = dict(model="scripted", messages=messages, tools=TOOLS)
    if not stream:
        return client.chat.completions.create(**arguments)
    with client.chat.completions.stream(
        **arguments, stream_options={"include_usage": True}
    ) as events:
        kinds = [event.type for event in events]
        answer = events.get_final_completion()
    assert "chunk" in kinds, kinds
    return answer


def conversation(stream):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": f"How is the weather? stream={stream}"},
    ]
    first = ask(stream, messages)
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls", first
    assert choice.message.role == "assistant" and first.model == "scripted", first
    assert choice.message.content == "I look both up. Ünïcödé too.", choice
    assert first.usage.prompt_tokens == 112, first.usage
    assert first.usage.completion_tokens == 20 and first.usage.total_tokens == 132, first.usage
    assert first.usage.prompt_tokens_details.cached_tokens == 7, first.usage
    zurich, bern = choice.message.tool_calls
    assert zurich.type == "function" and zurich.function.name == "weather", zurich
    assert json.loads(zurich.function.arguments) == {"city": "Zürich", "days": 3}, zurich
    assert json.loads(bern.function.arguments) == {"city": "Bern", "note": 'a "quoted" word'}, bern
    assert zurich.id != bern.id

    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in (zurich, bern)
    ]
    messages.append(
        {"role": "assistant", "content": choice.message.content, "tool_calls": calls}
    )
    messages.append({"role": "tool", "tool_call_id": zurich.id, "content": "dry"})
    unanswered = list(messages)
    messages.append({"role": "tool", "tool_call_id": bern.id, "content": "unknown"})
    second = ask(stream, messages)
    assert second.choices[0].finish_reason == "stop", second
    assert second.choices[0].message.content == "It is dry and unknown", second

    try:
        ask(stream, unanswered)
    except openai.BadRequestError as error:
        assert bern.id in str(error), error
    else:
        raise AssertionError("calls without results must be refused")


def raw_stream():
    """The SDK's lower layer: chunks as they come, without usage unless it is asked for."""
    chunks = list(
        client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": "raw"}], stream=True
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant", chunks[0]
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "tool_calls", chunks[-1]


def errors():
    assert [model.id for model in client.models.list()] == ["scripted"]
    try:
        client.post("/nothing", body={}, cast_to=object)
    except openai.NotFoundError as error:
        assert error.status_code == 404, error
    else:
        raise AssertionError("an unknown path must be refused")
    try:
        client.with_options(api_key="wrong-key").models.list()
    except openai.AuthenticationError as error:
        assert error.code == "invalid_api_key", error
    else:
        raise AssertionError("a wrong key must be refused")


conversation(stream=True)
conversation(stream=False)
raw_stream()
errors()
print("openai", openai.__version__, "is content")
