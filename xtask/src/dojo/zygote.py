"""Runs `dojo_mcp.py` as often as it is asked to, without importing AgentDojo each time, which takes seconds.

  python zygote.py FOLDER SOCKET

imports FOLDER/dojo_mcp.py, listens on SOCKET, and forks for each connection. Its first line is a JSON list of
arguments; what follows, and what comes back, is what the program would read and print if it were called with
these. A line of `{"suites": …}` lists the tasks instead. It ends when its standard input does.

Whoever serves holds a lock on TRACE.lock: two servers of one trace never run at the same time, so that a
server that is started again replays all that the one before it did."""

import fcntl
import gc
import json
import os
import selectors
import signal
import socket
import sys


def first_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            os._exit(1)
        line += byte
    return json.loads(line)


def perform(dojo, connection):
    arguments = first_line(connection)
    os.dup2(connection.fileno(), 0)
    os.dup2(connection.fileno(), 1)
    connection.close()
    if isinstance(arguments, dict):
        suites = {name: dojo.get_suites(dojo.VERSION)[name] for name in dojo.SUITES}
        json.dump({name: {"user": list(suite.user_tasks), "injection": list(suite.injection_tasks)}
                   for name, suite in suites.items()}, sys.stdout)
        return
    if "--trace" in arguments:
        trace = arguments[arguments.index("--trace") + 1]
        held = os.open(trace + ".lock", os.O_CREAT | os.O_WRONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    sys.argv = ["dojo_mcp.py", *arguments]
    dojo.main()


def main():
    folder, path = sys.argv[1:]
    sys.dont_write_bytecode = True
    sys.path.insert(0, folder)
    import dojo_mcp as dojo

    for name in dojo.SUITES:
        dojo.get_suites(dojo.VERSION)[name]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(0, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fd == 0:
                return
            connection, _ = listener.accept()
            if os.fork():
                connection.close()
                continue
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            status = 1
            try:
                perform(dojo, connection)
                sys.stdout.flush()
                status = 0
            except BaseException as error:
                # Whom a kill has cut off from its run says so, and nobody needs it.
                if "BrokenPipe" not in repr(error):
                    print(f"zygote: {error!r}", file=sys.stderr, flush=True)
            os._exit(status)


if __name__ == "__main__":
    main()
