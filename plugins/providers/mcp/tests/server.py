"""An MCP server in plain Python that misbehaves on demand; run as a script with its options as JSON.

Options: `era` (legacy, modern or both), `unknown` (what an old one does with a greeting it does not
know: error, silent or exit), `greeting` (exit: the modern one ends it), `ignores` (methods that it
never answers), `start` (exit or hang), `delay` (seconds before it reads), `banner`, `pages` (a number,
or "circle"), `tools` (more tools), `answers` (what those say), `echoes` (`chat` is a model that repeats),
`log` (a file that gets every message it hears, one JSON a line), `capabilities` (instead of its own),
`marks` (more in each modern result), `barrier` ([directory, number]: before it answers a greeting it
waits until so many have come there), `gate` (a file: the modern greeting is answered once it exists).
"""

import base64
import json
import os
import subprocess
import sys
import time
from typing import Any

OPTIONS: dict[str, Any] = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
ERA: str = OPTIONS.get("era", "both")
MODERN = "2026-07-28"
#: What results of the modern era must say of themselves.
MARKS = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **OPTIONS.get("marks", {})}
CAPABILITIES: dict[str, Any] = OPTIONS.get("capabilities") or {
    "tools": {"listChanged": True},
    "resources": {"listChanged": True, "subscribe": True},
    "prompts": {"listChanged": True},
    "completions": {},
    "logging": {},
}

gated: list[tuple[Any, dict[str, Any]]] = []
listening: list[Any] = []
waiting: dict[Any, Any] = {}
more: list[str] = []
level = ""
modern = False


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(id: Any, result: dict[str, Any]) -> None:
    say({"id": id, "result": {**MARKS, **result} if modern else result})


def refuse(id: Any, code: int, message: str, data: Any = None) -> None:
    say({"id": id, "error": {"code": code, "message": message, **({} if data is None else {"data": data})}})


def text(said: str, **fields: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": said}], **fields}


def progress(
    params: dict[str, Any], number: float, message: str | None = None, total: float | None = None
) -> None:
    token = params.get("_meta", {}).get("progressToken")
    if token is not None:
        fields = {"progressToken": token, "progress": number, "message": message, "total": total}
        given = {key: value for key, value in fields.items() if value is not None}
        say({"method": "notifications/progress", "params": given})


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


STRING, NUMBER = {"type": "string"}, {"type": "number"}
ANY: dict[str, Any] = {}
TOOLS: dict[str, dict[str, Any]] = {
    "echo": schema(text=STRING, times=NUMBER),
    "environment": schema(),
    "die": schema(status=NUMBER),
    "hang": schema(),
    "deaf": schema(),
    "gate": schema(parts=ANY),
    "release": schema(),
    "count": schema(to=NUMBER),
    "fail": schema(),
    "refuse": schema(code=NUMBER, data=ANY),
    "nonsense": schema(),
    "media": schema(),
    "large": schema(size=NUMBER),
    "spawn": schema(),
    "add": schema(name=STRING, times=NUMBER),
    "ask": schema(prompt=STRING),
    "state": schema(),
    "form": schema(),
    "visit": schema(),
    "roots": schema(),
    "write": schema(uri=STRING),
    "speak": schema(level=STRING, data=ANY),
    "wait": schema(seconds=NUMBER),
    "who": schema(),
    "stop_reading": schema(),
    "flood": schema(bytes=NUMBER),
    "garbage": schema(bytes=NUMBER),
    "twice": schema(),
    "toll": schema(visits=ANY),
    "pay": schema(visit=STRING),
}


def listed() -> list[dict[str, Any]]:
    schemas = {**TOOLS, **OPTIONS.get("tools", {}), **{name: schema() for name in more}}
    tools = [
        {"name": name, "description": f"The tool {name}.", "inputSchema": schemas[name]} for name in schemas
    ]
    tools[0] |= {"title": "Echo", "annotations": {"readOnlyHint": True}, "x-new": {"kept": 2**60}}
    return list(reversed(tools))


def page(key: str, items: list[dict[str, Any]], params: dict[str, Any]) -> dict[str, Any]:
    pages = OPTIONS.get("pages", 1)
    if pages == "circle":
        at = int(params.get("cursor", "0"))
        return {key: items[at : at + 1], "nextCursor": str((at + 1) % 3)}
    at, size = int(params.get("cursor", "0")), -(-len(items) // pages)
    following = {"nextCursor": str(at + size)} if at + size < len(items) else {}
    return {key: items[at : at + size], **following}


def changed(kind: str) -> None:
    method = f"notifications/{kind}/list_changed"
    if not modern:
        say({"method": method})
    for id in listening:
        meta = {"io.modelcontextprotocol/subscriptionId": id}
        say({"method": method, "params": {"_meta": meta}})


def call(id: Any, params: dict[str, Any]) -> None:
    name, given = params["name"], params.get("arguments", {})
    if name == "echo":
        said = given.get("text", "") * int(given.get("times", 1))
        answer(id, text(said, structuredContent={"text": said, "meta": params.get("_meta")}))
    elif name == "environment":
        answer(
            id, text("", structuredContent={"env": dict(os.environ), "argv": sys.argv, "pid": os.getpid()})
        )
    elif name == "die":
        given_to_us = [os.environ.get(name, "") for name in ("SERVICE_API_KEY", "INNOCENT")]
        print("Traceback: the database is on fire", *given_to_us, file=sys.stderr, flush=True)
        os._exit(int(given.get("status", 1)))
    elif name == "hang":
        pass
    elif name == "deaf":
        answer(id, text("from now on"))
        time.sleep(3600)
    elif name in ("gate", "stream_chat"):
        for number, said in enumerate(given.get("parts", ()), 1):
            progress(params, number, said)
        gated.append((id, given))
    elif name == "release":
        for other, waiter in gated:
            answer(other, text("".join(waiter.get("parts", ()))))
        answer(id, text(str(len(gated))))
        gated.clear()
    elif name == "count":
        for number in range(int(given["to"])):
            progress(params, number + 1, f"step {number + 1}", given["to"])
        answer(id, text("done", structuredContent={"steps": given["to"]}))
    elif name == "fail":
        answer(id, text("the disk is full", isError=True))
    elif name == "refuse":
        refuse(id, int(given["code"]), "no", given.get("data"))
    elif name == "nonsense":
        say({"id": id, "result": ["no", "object"]})
    elif name == "media":
        data = base64.b64encode(b"\x00\x01").decode()
        blocks = [
            {"type": "text", "text": "look"},
            {"type": "image", "data": data, "mimeType": "image/png"},
            {"type": "audio", "data": data, "mimeType": "audio/wav"},
            {"type": "resource_link", "uri": "file:///a.txt", "name": "a", "mimeType": "text/plain"},
            {
                "type": "resource",
                "resource": {"uri": "file:///b", "mimeType": "text/plain", "text": "inside"},
            },
            {
                "type": "resource",
                "resource": {"uri": "file:///c", "mimeType": "application/pdf", "blob": data},
            },
            {"type": "hologram", "beam": 7},
        ]
        answer(id, {"content": blocks, "_meta": {"unknown": 2**60}})
    elif name == "large":
        answer(id, text("x" * int(given["size"])))
    elif name == "spawn":
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
        )
        answer(id, text(str(child.pid)))
    elif name == "add":
        more.append(given["name"])
        for _ in range(int(given.get("times", 1))):
            changed("tools")
        answer(id, text("added"))
    elif name == "ask":
        ask(id, params)
    elif name == "toll":
        toll(id, given.get("visits", ["e1"]))
    elif name == "pay":
        paid.append(given["visit"])
        say({"method": "notifications/elicitation/complete", "params": {"elicitationId": given["visit"]}})
        answer(id, text("paid"))
    elif name in QUESTIONS:
        put(id, params, *QUESTIONS[name])
    elif name == "write":
        updated(given["uri"])
        answer(id, text("written"))
    elif name == "speak":
        wanted = params.get("_meta", {}).get("io.modelcontextprotocol/logLevel") if modern else level
        if wanted:
            said = {"level": given["level"], "logger": "engine", "data": given["data"]}
            say({"method": "notifications/message", "params": said})
        answer(id, text(wanted or "nobody listens"))
    elif name == "wait":
        time.sleep(given["seconds"])
        answer(id, text(str(os.getpid())))
    elif name == "who":
        answer(id, text(str(os.getpid())))
    elif name == "flood":
        sys.stderr.write("x" * 1000 + "\n" * 1 + ("y" * 79 + "\n") * (int(given["bytes"]) // 80))
        sys.stderr.flush()
        answer(id, text("flooded"))
    elif name == "garbage":
        for _ in range(int(given["bytes"]) // 64):
            sys.stdout.write("\x00{]" + "z" * 60 + "\n")
        answer(id, text("strewn"))
    elif name == "twice":
        say({"id": "nobody-asked", "result": {}})
        answer(id, text("once"))
        answer(id, text("twice"))
        say({"method": "notifications/from/the/future", "params": {"x": 1}})
        say({"id": "unknown-1", "method": "client/unheard_of", "params": {}})
    elif name == "state":
        if params.get("requestState") == "opaque":
            answer(id, text("done"))
        else:
            say({"id": id, "result": {"resultType": "input_required", "requestState": "opaque"}})
    elif name == "chat" and OPTIONS.get("echoes"):
        chat(id, params)
    elif name in OPTIONS.get("tools", {}):
        serve(id, name, params)
    elif modern:
        refuse(id, -32602, f"Unknown tool: {name}")
    else:
        answer(id, text(f"Unknown tool: {name}", isError=True))


FIELDS = {"name": {"type": "string"}, "color": {"type": "string", "default": "blue"}}
FORM = {"type": "object", "properties": FIELDS, "required": ["name"]}
#: Tool -> what it asks of its client.
QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "form": ("elicitation/create", {"message": "Who are you?", "requestedSchema": FORM}),
    "visit": (
        "elicitation/create",
        {"mode": "url", "message": "Sign in.", "url": "https://example.org/in", "elicitationId": "e1"},
    ),
    "roots": ("roots/list", {}),
}


def put(id: Any, params: dict[str, Any], method: str, question: dict[str, Any]) -> None:
    """Ask the client something, in the way of the era, and tell what it said."""
    if not modern:
        waiting[f"q-{id}"] = id
        say({"id": f"q-{id}", "method": method, "params": question})
    elif "inputResponses" in params:
        answer(id, text(json.dumps(params["inputResponses"]["one"], sort_keys=True)))
    else:
        asked = {"one": {"method": method, "params": question}}
        say({"id": id, "result": {"resultType": "input_required", "inputRequests": asked}})


paid: list[str] = []


def toll(id: Any, visits: Any) -> None:
    """Go on only once a person has been everywhere."""
    due = [each for each in visits if each not in paid]
    asked = [
        {"mode": "url", "message": f"Pay {each}.", "url": PAY + str(each), "elicitationId": each}
        for each in due
    ]
    if due:
        refuse(id, -32042, f"pay at {asked[0]['url']} first", {"elicitations": asked})
    else:
        answer(id, text("through"))


PAY = "https://example.org/pay?key=canary-"
subscribed: set[str] = set()


def updated(uri: str) -> None:
    method = "notifications/resources/updated"
    if not modern and uri in subscribed:
        say({"method": method, "params": {"uri": uri}})
    for id, uris in watched.items():
        if modern and uri in uris:
            meta = {"io.modelcontextprotocol/subscriptionId": id}
            say({"method": method, "params": {"uri": uri, "_meta": meta}})


watched: dict[Any, list[str]] = {}


def meet(directory: str, number: int) -> None:
    """Wait until so many servers have come."""
    open(os.path.join(directory, str(os.getpid())), "w").close()
    while len(os.listdir(directory)) < number:
        time.sleep(0.01)


def ask(id: Any, params: dict[str, Any]) -> None:
    """Have the client's model say something, in the way of the era."""
    content = {"type": "text", "text": params.get("arguments", {}).get("prompt", "")}
    question = {
        "messages": [{"role": "user", "content": content}],
        "maxTokens": 7,
        "systemPrompt": "be brief",
    }
    if not modern:
        waiting["q1"] = id
        say({"id": "q1", "method": "sampling/createMessage", "params": question})
    elif "inputResponses" in params:
        answer(id, text(params["inputResponses"]["one"]["content"]["text"]))
    else:
        asked = {"one": {"method": "sampling/createMessage", "params": question}}
        say(
            {
                "id": id,
                "result": {"resultType": "input_required", "inputRequests": asked, "requestState": "s"},
            }
        )


def chat(id: Any, params: dict[str, Any]) -> None:
    """A model that says what it is told, as the last message has it."""
    said = params["arguments"]["messages"][-1]["content"]
    if said == "fail":
        refuse(id, -32603, "the model is out of memory")
    elif said != "be silent":
        for number, word in enumerate(said.split(" "), 1):
            progress(params, number, word if number == 1 else " " + word)
        if said == "and then die":
            os._exit(1)
        if said != "and then halt":
            usage = {"input_tokens": 3, "output_tokens": len(said.split(" "))}
            answer(id, text("{}", structuredContent={"text": said, "finish_reason": "stop", "usage": usage}))


def serve(id: Any, name: str, params: dict[str, Any]) -> None:
    """A tool that stands for a model; what it says is given by the option of its name."""
    given = params.get("arguments", {})
    script = OPTIONS.get("answers", {}).get(name, {})
    for number, piece in enumerate(script.get("pieces", ()), 1):
        progress(params, number, piece)
    if script.get("gate"):
        gated.append((id, {"parts": script.get("pieces", ())}))
    elif "result" in script:
        answer(id, script["result"])
    else:
        answer(id, text("heard", structuredContent={"text": json.dumps(given, sort_keys=True)}))


def hear(message: dict[str, Any]) -> None:
    global modern, level
    id, method, params = message.get("id"), message.get("method"), message.get("params") or {}
    if method is None:
        if id in waiting:
            result = message.get("result", {})
            said = message.get("error", {}).get("message")
            if id == "q1":
                said = result.get("content", {}).get("text") or said
            if result == {"action": "accept"}:
                say({"method": "notifications/elicitation/complete", "params": {"elicitationId": "e1"}})
            answer(waiting.pop(id), text(said or json.dumps(result, sort_keys=True)))
    elif method == "server/discover" and OPTIONS.get("greeting") == "exit":
        os._exit(1)
    elif method == "server/discover" and ERA != "legacy":
        modern = True
        while "gate" in OPTIONS and not os.path.exists(OPTIONS["gate"]):
            time.sleep(0.01)
        if "barrier" in OPTIONS:
            meet(*OPTIONS["barrier"])
        answer(
            id,
            {
                "supportedVersions": [MODERN],
                "capabilities": CAPABILITIES,
                "ttlMs": 0,
                "cacheScope": "private",
            },
        )
    elif method == "initialize" and ERA == "modern":
        refuse(id, -32022, "unsupported version", {"supported": [MODERN], "requested": "2025-11-25"})
    elif method == "initialize":
        modern = False
        info = {"name": "scripted", "version": "1"}
        version = OPTIONS.get("version", "2024-11-05")
        answer(id, {"protocolVersion": version, "capabilities": CAPABILITIES, "serverInfo": info})
    elif method in OPTIONS.get("ignores", ()):
        pass
    elif method == "ping" and not modern:
        answer(id, {})
    elif method == "logging/setLevel" and not modern:
        level = params["level"]
        answer(id, {})
    elif method in ("resources/subscribe", "resources/unsubscribe") and not modern:
        (subscribed.add if method.endswith("/subscribe") else subscribed.discard)(params["uri"])
        answer(id, {})
    elif method == "completion/complete":
        begun = params["argument"]["value"]
        found = [each for each in ("Ada", "Alan", "Grace") if each.startswith(begun)]
        answer(id, {"completion": {"values": found, "total": len(found), "hasMore": False}})
    elif method == "tools/list":
        answer(id, page("tools", listed(), params))
    elif method == "resources/list":
        answer(id, page("resources", [{"uri": f"file:///{n}", "name": n, "size": 3} for n in "cab"], params))
    elif method == "resources/templates/list":
        answer(id, {"resourceTemplates": [{"uriTemplate": "file:///{path}", "name": "any"}]})
    elif method == "resources/read":
        data = base64.b64encode(b"\x89PNG").decode()
        held = {"file:///a": {"text": "the text of a"}, "file:///b": {"blob": data, "mimeType": "image/png"}}
        if params["uri"] in held:
            answer(id, {"contents": [{"uri": params["uri"], **held[params["uri"]]}]})
        else:
            refuse(id, -32002, "Resource not found")
    elif method == "prompts/list":
        arguments = [{"name": "who", "description": "whom to greet", "required": True}]
        answer(
            id, page("prompts", [{"name": "greet", "description": "Greets.", "arguments": arguments}], params)
        )
    elif method == "prompts/get":
        said = f"Greet {params['arguments']['who']}."
        answer(id, {"messages": [{"role": "user", "content": {"type": "text", "text": said}}]})
    elif method == "tools/call":
        call(id, params)
    elif method == "subscriptions/listen":
        listening.append(id)
        watched[id] = params["notifications"].get("resourceSubscriptions", [])
        meta = {"io.modelcontextprotocol/subscriptionId": id}
        given = {"_meta": meta, "notifications": params["notifications"]}
        say({"method": "notifications/subscriptions/acknowledged", "params": given})
    elif method == "notifications/cancelled" and params["requestId"] in listening:
        listening.remove(params["requestId"])
        watched.pop(params["requestId"], None)
    elif id is not None:
        unknown = OPTIONS.get("unknown", "error")
        if unknown == "exit":
            print("unexpected message before initialize", file=sys.stderr, flush=True)
            os._exit(1)
        if unknown == "error":
            refuse(id, OPTIONS.get("unknown_code", -32601), "Method not found")


def main() -> None:
    if OPTIONS.get("banner"):
        print("Scripted server, ready on stdio", flush=True)
    if OPTIONS.get("start") == "exit":
        print("cannot read the configuration /etc/scripted.conf", file=sys.stderr, flush=True)
        os._exit(2)
    if OPTIONS.get("start") == "hang":
        time.sleep(3600)
    time.sleep(OPTIONS.get("delay", 0))
    log = open(OPTIONS["log"], "a", buffering=1) if "log" in OPTIONS else None  # noqa: SIM115 - until the end
    for line in sys.stdin:
        message = json.loads(line)
        if log is not None:
            log.write(json.dumps({"pid": os.getpid(), **message}) + "\n")
        hear(message)


if __name__ == "__main__":
    main()
