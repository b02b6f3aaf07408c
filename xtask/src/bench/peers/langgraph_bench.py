"""The benchmark's turns in LangGraph: a model node and a tool node, a checkpoint after each.

Usage: langgraph_bench.py DATABASE TURNS ANSWER_BYTES RESULT_BYTES
Prints one JSON object.
"""

import json
import operator
import os
import random
import sqlite3
import string
import sys
import time
from typing import Annotated, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

path, turns, answer_bytes, result_bytes = sys.argv[1], *map(int, sys.argv[2:5])
ALPHABET = string.ascii_letters + string.digits + "+/"
noise = random.Random(7)


def text(size):
    return "".join(noise.choices(ALPHABET, k=size))


# Drawn beforehand, so that drawing is not measured.
answers = [text(answer_bytes) for _ in range(turns)]
results = [text(result_bytes) for _ in range(turns)]


class State(TypedDict):
    messages: Annotated[list, operator.add]
    turn: int


def model(state):
    turn = state["turn"]
    if turn == turns:
        return {"messages": [{"role": "assistant", "content": "That was the last item."}]}
    return {"messages": [{"role": "assistant", "content": answers[turn], "call": turn}]}


def tool(state):
    turn = state["turn"]
    return {"messages": [{"role": "tool", "content": results[turn], "call": turn}], "turn": turn + 1}


def after_model(state):
    return "tool" if "call" in state["messages"][-1] else END


graph = StateGraph(State)
graph.add_node("model", model)
graph.add_node("tool", tool)
graph.add_edge(START, "model")
graph.add_conditional_edges("model", after_model, ["tool", END])
graph.add_edge("tool", "model")

connection = sqlite3.connect(path, check_same_thread=False)
saver = SqliteSaver(connection)
saver.setup()
connection.execute("PRAGMA synchronous = FULL")
assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
app = graph.compile(checkpointer=saver)
config = {"configurable": {"thread_id": "bench"}, "recursion_limit": 2 * turns + 10}

begun = time.perf_counter()
final = app.invoke({"messages": [], "turn": 0}, config, durability="sync")
seconds = time.perf_counter() - begun
assert final["turn"] == turns and len(final["messages"]) == 2 * turns + 1

connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.close()
print(json.dumps({"turns_per_second": turns / seconds, "stored_bytes": os.path.getsize(path)}))
