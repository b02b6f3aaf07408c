"""An MCP server that lists the tools of a JSON file, as they are there, and can do nothing."""

import json
import sys


def answer(request):
    if request["method"] == "initialize":
        info = {"name": "listed", "version": "1"}
        version = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
        return {"result": {**version, "serverInfo": info}}
    if request["method"] == "tools/list":
        with open(sys.argv[1], encoding="utf-8") as file:
            return {"result": {"tools": json.load(file)}}
    return {"error": {"code": -32601, "message": "no such method"}}


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer(request)}), flush=True)
