"""An MCP server with a tool of each effect class, whose effects are lines of a ledger file."""

import json
import os
import sys
import time

LEDGER = sys.argv[1]


def lines():
    if not os.path.exists(LEDGER):
        return []
    with open(LEDGER) as ledger:
        return [json.loads(line) for line in ledger]


def land(tool, name, key=None):
    with open(LEDGER, "a") as ledger:
        ledger.write(json.dumps({"tool": tool, "name": name, "key": key}) + "\n")
        ledger.flush()
        os.fsync(ledger.fileno())


def dawdle():
    """Where a file says so, once: tells that the call has begun, and takes its time before it lands."""
    if os.path.exists("slow"):
        with open("slow") as slow:
            seconds = float(slow.read())
        os.remove("slow")
        open("begun", "w").close()
        time.sleep(seconds)


def call(tool, arguments):
    name = arguments["name"]
    if tool == "look":
        return {"name": name, "value": "the value of " + name}
    if tool == "put":
        key = arguments["key"]
        if not any(line["key"] == key for line in lines()):
            land("put", name, key)
        return {"name": name, "done": "put"}
    if tool == "find":
        return {"found": any(line["tool"] == "pay" and line["name"] == name for line in lines())}
    if tool in ("pay", "send"):
        dawdle()
        land(tool, name)
        return {"name": name, "done": tool}
    raise KeyError(tool)


def schema(*names):
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": list(names),
    }


TOOLS = [
    {"name": "look", "description": "Looks something up.", "inputSchema": schema("name")},
    {"name": "put", "description": "Puts something.", "inputSchema": schema("name", "key")},
    {"name": "pay", "description": "Pays something.", "inputSchema": schema("name")},
    {"name": "find", "description": "Tells whether it is paid.", "inputSchema": schema("name")},
    {"name": "send", "description": "Sends something.", "inputSchema": schema("name")},
]


def answer(request):
    method = request["method"]
    if method == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "ledger", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        params = request["params"]
        result = call(params["name"], params.get("arguments", {}))
        text = json.dumps(result)
        return {"content": [{"type": "text", "text": text}], "structuredContent": result}
    return None


for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    result = answer(request)
    reply = {"jsonrpc": "2.0", "id": request["id"]}
    if result is None:
        reply["error"] = {"code": -32601, "message": "no such method"}
    else:
        reply["result"] = result
    print(json.dumps(reply), flush=True)
