"""An MCP server in plain Python whose tools run as tasks; run as a script with its options as JSON.

Options: `era` (legacy or modern), `log` (a file that gets every message it hears), `store` (a file in which
tasks outlive the process), `silent` (it does not say that it has tasks). A task goes one step further
whenever it is looked at, so that nothing here depends on time.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

OPTIONS: dict[str, Any] = json.loads(sys.argv[1])
MODERN = OPTIONS["era"] == "modern"
STORE = Path(OPTIONS["store"]) if "store" in OPTIONS else None
TASKS = "io.modelcontextprotocol/tasks"
RELATED = {"io.modelcontextprotocol/related-task": {"taskId": "task-1"}}
STAMP = "2026-07-28T00:00:00Z"
TOOLS = ("work", "ask", "break", "stop", "lose", "forget", "plain", "strange", "instant")
FORM = {"message": "Who are you?", "requestedSchema": {"type": "object", "properties": {}}}
asked: dict[str, Any] = {}


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(id: Any, result: dict[str, Any]) -> None:
    say({"id": id, "result": {"resultType": "complete", **result} if MODERN else result})


def refuse(id: Any, code: int, message: str) -> None:
    say({"id": id, "error": {"code": code, "message": message}})


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": said}], **more}


def load() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    if STORE is not None and STORE.exists():
        found = json.loads(STORE.read_text())
    return found


def keep() -> None:
    if STORE is not None:
        STORE.write_text(json.dumps(tasks))


tasks = load()


def shown(id: str) -> dict[str, Any]:
    """A task as the era has it."""
    task = tasks[id]
    ttl, poll = ("ttlMs", "pollIntervalMs") if MODERN else ("ttl", "pollInterval")
    found = {"taskId": id, "status": task["status"], "createdAt": STAMP, "lastUpdatedAt": STAMP, ttl: None}
    found |= {poll: task["poll"]} if "poll" in task else {}
    found |= {"statusMessage": task["message"]} if "message" in task else {}
    if MODERN:
        found |= {key: task[key] for key in ("result", "error") if key in task}
        if task["status"] == "input_required":
            found["inputRequests"] = {
                key: {"method": "elicitation/create", "params": FORM} for key in task["questions"]
            }
    return found


def step(id: str) -> None:
    """One step further."""
    task = tasks[id]
    task["at"] += 1
    name, given, at = task["tool"], task["given"], task["at"]
    if task["status"] != "working":
        return
    if name == "ask" and at == 1:
        task |= {"status": "input_required", "questions": ["a", "b"], "answers": {}}
    elif name == "break" and at == 2:
        task |= {"status": "failed", "message": "out of luck", "error": {"code": -32603, "message": "boom"}}
    elif name == "stop" and at == 2:
        task |= {"status": "cancelled", "message": "the operator said so"}
    elif name == "lose" and at == 2:
        keep()
        os._exit(3)
    elif name == "forget" and at == 2:
        del tasks[id]
    elif name == "strange" and at == 2:
        task |= {"status": "puzzled"}
    elif name in ("work", "lose") and at > given.get("steps", 2):
        task |= {"status": "completed", "result": text("done", structuredContent={"steps": at - 1})}
    elif name == "work":
        task["message"] = f"step {at}"
    keep()


def create(name: str, given: dict[str, Any]) -> str:
    id = f"task-{len(tasks) + 1}"
    tasks[id] = {"tool": name, "given": given, "at": 0, "status": "working"}
    tasks[id] |= {"poll": given["poll"]} if "poll" in given else {"poll": 20}
    if name == "instant":
        tasks[id] |= {"status": "completed", "result": text("done")}
    keep()
    return id


def call(id: Any, params: dict[str, Any]) -> None:
    name, given = params["name"], params.get("arguments", {})
    meta = params.get("_meta", {}).get("io.modelcontextprotocol/clientCapabilities", {})
    if name == "plain":
        answer(id, text("at once", structuredContent={"as task": "task" in params}))
    elif not MODERN and "task" not in params:
        answer(id, text("this is to be had as a task only", isError=True))
    elif MODERN and TASKS not in meta.get("extensions", {}):
        refuse(id, -32021, "the client does not know tasks")
    else:
        task = create(name, given)
        created = {key: value for key, value in shown(task).items() if key != "result"}
        answer(id, {**created, "resultType": "task"} if MODERN else {"task": created})


def update(params: dict[str, Any]) -> None:
    task = tasks[params["taskId"]]
    for key, said in params["inputResponses"].items():
        if key in task.get("questions", ()):
            task["questions"].remove(key)
            task["answers"][key] = said
    if task["status"] == "input_required" and not task["questions"]:
        said = json.dumps(task["answers"], sort_keys=True)
        task |= {"status": "completed", "result": text(said, _meta={**RELATED, "x": 1})}
    keep()


def result(id: Any, params: dict[str, Any]) -> None:
    """`tasks/result` of the handshake era, on whose way the questions go."""
    task = tasks[params["taskId"]]
    if task["status"] == "input_required":
        asked["q1"] = id
        say({"id": "q1", "method": "elicitation/create", "params": {**FORM, "_meta": RELATED}})
    elif "error" in task:
        refuse(id, task["error"]["code"], task["error"]["message"])
    else:
        answer(id, {**task["result"], "_meta": RELATED})


def only(name: str) -> dict[str, Any]:
    """What a tool of the handshake era says that is to be had as a task only."""
    return {} if MODERN or name == "plain" else {"execution": {"taskSupport": "required"}}


def hear(message: dict[str, Any]) -> None:
    id, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    offered: dict[str, Any] = {"tools": {}}
    if "silent" not in OPTIONS:
        offered |= {"extensions": {TASKS: {}}} if MODERN else {"tasks": {"requests": {"tools": {"call": {}}}}}
    if method is None and id in asked:
        answer(asked.pop(id), {**text(json.dumps(message["result"], sort_keys=True)), "_meta": RELATED})
    elif method == "server/discover" and MODERN:
        answer(id, {"supportedVersions": ["2026-07-28"], "capabilities": offered, "ttlMs": 0})
    elif method == "initialize" and not MODERN:
        info = {"name": "tasks", "version": "1"}
        answer(id, {"protocolVersion": "2025-11-25", "capabilities": offered, "serverInfo": info})
    elif method == "tools/list":
        answer(
            id, {"tools": [{"name": name, "inputSchema": {"type": "object"}, **only(name)} for name in TOOLS]}
        )
    elif method == "tools/call":
        call(id, params)
    elif method in ("tasks/get", "tasks/update", "tasks/result", "tasks/cancel"):
        if method == "tasks/get" and params["taskId"] in tasks:
            step(params["taskId"])
        if params["taskId"] not in tasks:
            refuse(id, -32602, "Task not found")
        elif method == "tasks/get":
            answer(id, shown(params["taskId"]))
        elif method == "tasks/result":
            result(id, params)
        else:
            if method == "tasks/update":
                update(params)
            answer(id, {})
    elif id is not None:
        refuse(id, -32601, "Method not found")


for line in sys.stdin:
    heard = json.loads(line)
    with open(OPTIONS["log"], "a") as log:
        log.write(json.dumps(heard) + "\n")
    hear(heard)
