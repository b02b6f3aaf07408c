"""An MCP server that books lines in a ledger file. It is honest unless it is told which lie to tell."""

import json
import os
import signal
import sys
import threading
import time

LIE = sys.argv[1] if len(sys.argv) > 1 else ""
LEDGER = "ledger.jsonl"
if LIE == "beside":
    LEDGER = os.path.join(os.path.dirname(os.path.abspath(__file__)), LEDGER)

# Every call is written down here, if there is such a file.
CALLS = os.path.join(os.environ.get("HOME", ""), "calls.jsonl")

lock = threading.Lock()
out = threading.Lock()
memory = {"keys": {}, "calls": {}, "looked": 0}


def lines():
    if not os.path.exists(LEDGER):
        return []
    with open(LEDGER) as ledger:
        return [json.loads(line) for line in ledger]


def rewrite(entries):
    with open(LEDGER, "w") as ledger:
        ledger.writelines(json.dumps(entry) + "\n" for entry in entries)


def land(entry):
    with open(LEDGER, "a") as ledger:
        ledger.write(json.dumps(entry) + "\n")
        ledger.flush()
        os.fsync(ledger.fileno())


class Refused(Exception):
    pass


def look(arguments):
    if LIE == "read-writes":
        with open("cache", "a") as cache:
            cache.write("looked\n")
    memory["looked"] += 1
    if LIE == "slow":
        time.sleep(60)
    if LIE == "hangs":
        open(os.path.join(os.environ["HOME"], "hanging"), "w").close()
        time.sleep(600)
    if LIE == "read-counts":
        return {"name": arguments["name"], "value": str(memory["looked"])}
    if LIE == "output-unfit":
        return {"name": arguments["name"], "value": None}
    return {"name": arguments["name"], "value": "the value of " + arguments["name"]}


def stats(_):
    if LIE == "output-empty":
        return None
    answer = {"lines": len(lines())}
    if LIE == "read-tells":
        answer["looked"] = memory["looked"]
    return answer


def find(arguments):
    found = [entry for entry in lines() if entry.get("pay") == arguments["name"]]
    if LIE == "probe-forgets":
        found = [entry for entry in found if entry["id"] in memory["keys"]]
    if LIE == "probe-always":
        found = found or [{"id": "p0", "pay": arguments["name"]}]
    if LIE == "probe-never":
        found = []
    if LIE == "probe-wrong" and found:
        found = [dict(found[0], id="p0")]
    return {"found": bool(found), "entries": found}


def put(arguments):
    name, key = arguments["name"], arguments["key"]
    entry = {"put": name, "key": key}
    if LIE == "key-race":
        with lock:
            known = any(line.get("key") == key for line in lines())
        time.sleep(0.2)
    elif LIE == "key-ignored":
        known = False
    elif LIE in ("key-forgotten", "key-cancelled"):
        known = key in memory["keys"]
    else:
        with lock:
            known = any(line.get("key") == key for line in lines())
            if not known:
                land(entry)
        if known and LIE == "key-refused":
            raise Refused("this key was used before")
        return {"name": name, "done": True}
    with lock:
        memory["keys"][key] = True
        if not known:
            land(entry)
    return {"name": name, "done": True}


def note(arguments, meta):
    key = meta.get("request")
    with lock:
        if LIE == "meta-ignored" or not any(line.get("key") == key for line in lines()):
            land({"note": arguments["text"], "key": key})
        return {"noted": arguments["text"]}


def pay(arguments):
    name, amount = arguments["name"], arguments["amount"]
    with lock:
        if name == "nobody":
            if LIE == "failure-success":
                return {"id": "p0", "pay": name}
            raise Refused("no such person" if LIE == "failure-undeclared" else "unknown: nobody")
        entry = {"id": f"p{len(lines()) + 1}", "pay": name}
        if amount > 100:
            if LIE == "failure-lands":
                land(entry)
            raise Refused("broke: there is not that much")
        land(entry)
        memory["keys"][entry["id"]] = True
        return entry


def refund(arguments):
    with lock:
        if LIE != "undo-nothing":
            rewrite([entry for entry in lines() if entry.get("id") != arguments["id"]])
        return {"refunded": arguments["id"]}


STRING, NUMBER = {"type": "string"}, {"type": "number"}


def tool(call, arguments, results=None):
    schema = {
        "type": "object",
        "properties": arguments,
        "required": list(arguments),
        "additionalProperties": False,
    }
    spec = {"name": call.__name__, "description": call.__name__, "inputSchema": schema}
    if results:
        spec["outputSchema"] = {
            "type": "object",
            "properties": results,
            "required": list(results),
        }
    return spec, call


TOOLS = [
    tool(look, {"name": STRING}, {"name": STRING, "value": STRING}),
    tool(stats, {}),
    tool(find, {"name": STRING}),
    tool(put, {"name": STRING, "key": STRING}),
    tool(note, {"text": STRING}),
    tool(pay, {"name": STRING, "amount": NUMBER}),
    tool(refund, {"id": STRING}),
]


def check(spec, arguments):
    """Refuses what the schema forbids."""
    if not isinstance(arguments, dict):
        raise Refused("arguments are an object")
    properties = spec["inputSchema"]["properties"]
    for name in arguments:
        if name not in properties:
            raise Refused(f"there is no argument {name}")
    for name, schema in properties.items():
        if name not in arguments:
            raise Refused(f"{name} is missing")
        value = arguments[name]
        kinds = str if schema["type"] == "string" else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise Refused(f"{name} is no {schema['type']}")


def invoke(params):
    if os.path.exists(CALLS):
        with open(CALLS, "a") as calls:
            calls.write(json.dumps(params["name"]) + "\n")
    for spec, function in TOOLS:
        if spec["name"] == params["name"]:
            break
    else:
        raise Refused("there is no such tool")
    arguments = params.get("arguments", {})
    try:
        check(spec, arguments)
    except Refused:
        if LIE == "garbage-dies":
            os._exit(3)
        if LIE == "garbage-hangs":
            time.sleep(600)
        if LIE == "garbage-lands":
            land({"garbage": True})
        if LIE == "garbage-accepted":
            return {"lines": 0}
        raise
    if function is note:
        return note(arguments, params.get("_meta", {}))
    return function(arguments)


def answer(request):
    method = request["method"]
    if method == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "liar", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [spec for spec, _ in TOOLS]}
    if method == "tools/call":
        try:
            result = invoke(request["params"])
        except Refused as refused:
            return {"content": [{"type": "text", "text": str(refused)}], "isError": True}
        if result is None:
            return {"content": []}
        text = json.dumps(result)
        return {"content": [{"type": "text", "text": text}], "structuredContent": result}
    return None


def respond(request):
    result = answer(request)
    reply = {"jsonrpc": "2.0", "id": request["id"]}
    if result is None:
        reply["error"] = {"code": -32601, "message": "no such method"}
    else:
        reply["result"] = result
    return json.dumps(reply)


def serve(request):
    reply = respond(request)
    with out:
        print(reply, flush=True)


def listen(file):
    """Serves over HTTP, and writes its address into a file."""
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                request = json.loads(body)
            except ValueError:
                return self.send_error(400)
            reply = respond(request).encode() if "id" in request else b""
            self.send_response(200 if reply else 202)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def do_GET(self):
            self.send_error(405)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with open("address.new", "w") as address:
        address.write("http://127.0.0.1:%d/mcp" % server.server_port)
    os.rename("address.new", file)
    server.serve_forever()


if len(sys.argv) > 2:
    listen(sys.argv[2])

if LIE == "hangs":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

for line in sys.stdin:
    try:
        request = json.loads(line)
    except ValueError:
        continue
    if request.get("method") == "notifications/cancelled" and LIE == "key-cancelled":
        memory["keys"].clear()
    if "id" in request:
        threading.Thread(target=serve, args=(request,), daemon=True).start()

if LIE == "hangs":
    time.sleep(600)
