"""The ways in which LangChain keeps a conversation within a window, as its documentation has them.

Each takes a `Setting` and returns an agent. All of them have Anthropic's prompt caching switched on, as
the package offers it.
"""

from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, SummarizationMiddleware, before_model
from langchain_anthropic.middleware import AnthropicPromptCachingMiddleware
from langchain_core.messages import RemoveMessage
from langchain_core.messages.utils import count_tokens_approximately, trim_messages
from langgraph.graph.message import REMOVE_ALL_MESSAGES


class Counting(AgentMiddleware):
    """Counts the turns that the model is asked for."""

    def __init__(self):
        super().__init__()
        self.turns = 0

    def wrap_model_call(self, request, handler):
        self.turns += 1
        return handler(request)


@dataclass
class Setting:
    model: Any
    tool: Any
    system: str
    # The tokens that the conversation may have.
    budget: int
    counting: Counting

    def agent(self, *middleware):
        return create_agent(
            self.model,
            [self.tool],
            system_prompt=self.system,
            middleware=[*middleware, self.counting, AnthropicPromptCachingMiddleware()],
        )


def replaced(messages):
    return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *messages]}


def full(setting):
    """Sends the whole history, every time."""
    return setting.agent()


def trim(setting):
    """`trim_messages` as its reference recommends it: the last messages, begun by a human one."""

    @before_model
    def trimming(state, runtime):
        kept = trim_messages(
            state["messages"],
            strategy="last",
            token_counter=count_tokens_approximately,
            max_tokens=setting.budget,
            start_on="human",
            end_on=("human", "tool"),
            include_system=True,
        )
        return replaced(kept) if len(kept) < len(state["messages"]) else None

    return setting.agent(trimming)


def trim_after_task(setting):
    """Keeps the first message, as the guide to short-term memory does, and trims what follows it."""

    @before_model
    def trimming(state, runtime):
        task, *rest = state["messages"]
        kept = trim_messages(
            rest,
            strategy="last",
            token_counter=count_tokens_approximately,
            max_tokens=setting.budget - count_tokens_approximately([task]),
            start_on="ai",
            end_on=("human", "tool"),
        )
        return replaced([task, *kept]) if len(kept) < len(rest) else None

    return setting.agent(trimming)


def summarize(setting):
    """`SummarizationMiddleware` with the whole of what is to go shown to the summarizer."""
    return setting.agent(
        SummarizationMiddleware(
            setting.model,
            trigger=("fraction", 0.8),
            keep=("fraction", 0.3),
            trim_tokens_to_summarize=None,
        )
    )


def summarize_by_default(setting):
    """`SummarizationMiddleware` with its defaults: the last 20 messages stay, and the summarizer is
    shown no more than 4,000 tokens."""
    return setting.agent(SummarizationMiddleware(setting.model, trigger=("fraction", 0.8)))


def deep_agent(setting):
    """Deep Agents with their defaults: the history goes into a file, which the agent can search."""
    from deepagents import create_deep_agent

    return create_deep_agent(
        setting.model,
        [setting.tool],
        system_prompt=setting.system,
        middleware=[setting.counting],
    )


STRATEGIES = {
    "full": full,
    "trim": trim,
    "trim-after-task": trim_after_task,
    "summarize": summarize,
    "summarize-by-default": summarize_by_default,
    "deep-agent": deep_agent,
}
