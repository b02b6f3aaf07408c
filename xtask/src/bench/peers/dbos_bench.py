"""The benchmark's turns in DBOS: a workflow with two steps a turn, each step's output durable.

Usage: dbos_bench.py DATABASE TURNS ANSWER_BYTES RESULT_BYTES
Prints one JSON object.
"""

import json
import os
import random
import sqlite3
import string
import sys
import time

from dbos import DBOS
from sqlalchemy import Engine, event

path, turns, answer_bytes, result_bytes = sys.argv[1], *map(int, sys.argv[2:5])
ALPHABET = string.ascii_letters + string.digits + "+/"
noise = random.Random(7)


def text(size):
    return "".join(noise.choices(ALPHABET, k=size))


# Drawn beforehand, so that drawing is not measured.
answers = [text(answer_bytes) for _ in range(turns)]
results = [text(result_bytes) for _ in range(turns)]


@event.listens_for(Engine, "connect")
def durable(connection, _record):
    # Its own default is a rollback journal, which is slower.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{path}", "log_level": "ERROR"})


@DBOS.step()
def model(turn):
    return {"role": "assistant", "content": answers[turn], "call": turn}


@DBOS.step()
def tool(turn):
    return {"role": "tool", "content": results[turn], "call": turn}


@DBOS.workflow()
def agent():
    messages = []
    for turn in range(turns):
        messages.append(model(turn))
        messages.append(tool(turn))
    return len(messages)


DBOS.launch()
begun = time.perf_counter()
count = agent()
seconds = time.perf_counter() - begun
assert count == 2 * turns
DBOS.destroy()

connection = sqlite3.connect(path)
rows = connection.execute("SELECT count(*) FROM operation_outputs").fetchone()[0]
assert rows == 2 * turns, rows
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.close()
print(json.dumps({"turns_per_second": turns / seconds, "stored_bytes": os.path.getsize(path)}))
