"""Long work with LangChain and LangGraph: one agent, one way to keep its context within a window.

Usage: run.py STRATEGY --server URL [--window-tokens N] [--report FILE]

The server is `scripted-server --long`. It plays the model, and it says what the task is, what each
call of the tool brings, and what the report should say. So the same bytes go through every strategy,
and through Prusik. The report of the run is one JSON object, printed or written.
"""

import argparse
import functools
import json
import sys
import time
import typing
import urllib.error
import urllib.request

# langchain-core asks for the same hints again for each block of each message, which is most of the
# time that a long history takes. They are remembered here; no byte that is sent depends on it.
typing.get_type_hints = functools.cache(typing.get_type_hints)

from langchain_anthropic import ChatAnthropic
from langchain_core.tools import StructuredTool

import strategies

# What an answer may take up of the window; the strategies leave it free.
ANSWER_TOKENS = 2_000


def get(server, path):
    with urllib.request.urlopen(server + path) as response:
        return response.read().decode()


def work_tool(server, described):
    """The scenario's tool; the server performs it, so that its bytes are the same for everybody."""

    def work(step: int) -> str:
        try:
            return get(server, f"/long/work?step={step}")
        except urllib.error.HTTPError:
            return "there is no such step"

    return StructuredTool.from_function(
        work,
        name=described["name"],
        description=described["description"],
        args_schema=described["input_schema"],
    )


def chat_model(server, window_tokens):
    profile = {"max_input_tokens": window_tokens, "max_output_tokens": ANSWER_TOKENS, "tool_calling": True}
    return ChatAnthropic(
        model="claude-sonnet-4-5",
        api_key="any",
        base_url=server,
        max_tokens=ANSWER_TOKENS,
        max_retries=0,
        profile=profile,
    )


def marks(said, expected):
    """Compares the report with what it should be, fact by fact."""
    try:
        facts = json.loads(said)
    except (TypeError, ValueError):
        facts = {}
    mark = lambda fact: "right" if facts.get(fact) == expected[fact] else "wrong" if facts.get(fact) else "unknown"
    return {fact: mark(fact) for fact in expected}


def run(name, server, window_tokens):
    scenario = json.loads(get(server, "/long/scenario"))
    model = chat_model(server, window_tokens)
    counting = strategies.Counting()
    # What the conversation may take: the window without the answer, the system prompt and the tool.
    fixed = len(scenario["system"]) + len(json.dumps(scenario["tool"]))
    budget = window_tokens - ANSWER_TOKENS - fixed // 4
    tool = work_tool(server, scenario["tool"])
    agent = strategies.STRATEGIES[name](
        strategies.Setting(model, tool, scenario["system"], budget, counting)
    )
    task = {"messages": [{"role": "user", "content": scenario["task"]}]}
    # Each turn is a handful of nodes.
    config = {"recursion_limit": 10 * scenario["steps"] + 100}
    begun, error, said = time.perf_counter(), None, None
    try:
        said = agent.invoke(task, config)["messages"][-1].text
    except Exception as caught:  # whatever ends the run is what the report is about
        error = f"{type(caught).__name__}: {caught}"[:500]
    return {
        "strategy": name,
        "steps": scenario["steps"],
        "window_tokens": window_tokens,
        "turns": counting.turns,
        "seconds": round(time.perf_counter() - begun, 1),
        "said": said,
        "error": error,
        "marks": marks(said, scenario["expected"]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("strategy", choices=list(strategies.STRATEGIES))
    parser.add_argument("--server", required=True)
    parser.add_argument("--window-tokens", type=int, default=20_000)
    parser.add_argument("--report")
    args = parser.parse_args()
    text = json.dumps(run(args.strategy, args.server, args.window_tokens))
    if args.report:
        with open(args.report, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
