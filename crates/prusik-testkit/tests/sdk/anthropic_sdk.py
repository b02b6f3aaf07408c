"""Reads the scripted server with Anthropic's official SDK. BASE_URL names the server.

Its script is `script.yaml` beside this file. The first requests fail with 529 and 429 before one
is answered, so that the SDK's own retries are part of what is read.
"""

import os

import anthropic

client = anthropic.Anthropic(base_url=os.environ["BASE_URL"], api_key="test-key", max_retries=2)

TOOLS = [
    {
        "name": "weather",
        "description": "Tells the weather of a city.",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    }
]


def ask(stream, messages):
    arguments = dict(
        model="scripted",
        max_tokens=4096,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        tools=TOOLS,
        thinking={"type": "enabled", "budget_tokens": 1024},
        messages=messages,
    )
    if not stream:
        return client.messages.create(**arguments)
    with client.messages.stream(**arguments) as events:
        kinds = [event.type for event in events]
        answer = events.get_final_message()
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds
    assert "text" in kinds, kinds
    return answer


def conversation(stream):
    messages = [{"role": "user", "content": f"How is the weather? stream={stream}"}]
    first = ask(stream, messages)
    assert first.stop_reason == "tool_use", first
    assert first.role == "assistant" and first.model == "scripted", first
    assert (first.usage.input_tokens, first.usage.output_tokens) == (100, 20), first.usage
    assert first.usage.cache_read_input_tokens == 7, first.usage
    assert first.usage.cache_creation_input_tokens == 5, first.usage
    thinking, text, zurich, bern = first.content
    assert thinking.type == "thinking" and thinking.thinking == "Let me see.", thinking
    assert thinking.signature, thinking
    assert text.text == "I look both up. Ünïcödé too.", text
    assert zurich.name == "weather" and zurich.input == {"city": "Zürich", "days": 3}, zurich
    assert bern.input == {"city": "Bern", "note": 'a "quoted" word'}, bern
    assert zurich.id != bern.id

    messages.append({"role": "assistant", "content": first.content})
    results = [
        {"type": "tool_result", "tool_use_id": zurich.id, "content": "dry"},
        {
            "type": "tool_result",
            "tool_use_id": bern.id,
            "is_error": True,
            "content": [{"type": "text", "text": "unknown"}],
        },
    ]
    messages.append({"role": "user", "content": results})
    second = ask(stream, messages)
    assert second.stop_reason == "end_turn", second
    assert second.content[-1].text == "It is dry and unknown", second

    try:
        ask(stream, messages[:-1])
    except anthropic.BadRequestError as error:
        assert "tool_result" in str(error) and zurich.id in str(error), error
    else:
        raise AssertionError("calls without results must be refused")


def errors():
    try:
        client.with_options(api_key="wrong-key").messages.create(
            model="scripted", max_tokens=10, messages=[{"role": "user", "content": "x"}]
        )
    except anthropic.AuthenticationError as error:
        assert error.status_code == 401 and "x-api-key" in str(error), error
    else:
        raise AssertionError("a wrong key must be refused")
    try:
        client.post("/v1/nothing", body={}, cast_to=object)
    except anthropic.NotFoundError as error:
        assert error.status_code == 404, error
    else:
        raise AssertionError("an unknown path must be refused")


conversation(stream=True)
conversation(stream=False)
errors()
print("anthropic", anthropic.__version__, "is content")
