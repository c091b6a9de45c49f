"""Models for tests, in place of those of transformers: the rest of the worker is the real one.

What a model does is told by the last part of its path; `NAME-300` takes 300 bytes.
"""

import json
import os
import sys

from gleitzeit_plugin_huggingface.worker.jobs import Failure
from gleitzeit_plugin_huggingface.worker.output import Pieces, StopStrings

ANSWERS = {
    "think": "<think>\nlet me see\n</think>\n\n42",
    "inside": "so it is\n</think>\n\n42",
    "call": 'So be it.\n<tool_call>\n{"name": "git__status", "arguments": {"path": "."}}\n</tool_call>',
    "mistral": '[TOOL_CALLS][{"name": "git__status", "arguments": {"path": "."}}]',
}


class Fake:
    """An engine; `log` in its options' cache folder notes what it does."""

    def __init__(self, options):
        self.log = os.path.join(options["cache"], "log")

    def note(self, *words):
        if os.path.isdir(os.path.dirname(self.log)):
            with open(self.log, "a") as file:
                print(*words, file=file)

    def size(self, task, source):
        name = os.path.basename(source["path"])
        return int(name.partition("-")[2] or 1)

    def load(self, task, source):
        name = os.path.basename(source["path"])
        self.note("load", name)
        if name == "unloadable":
            raise Failure("unknown_model", f"{name} cannot be loaded: its files are broken")
        if name == "packageless":
            raise Failure("missing", "/usr/bin/python has no package 'torch'", "pip install it")
        if name == "exiting":
            print("about to exit: token sk-ant-0123456789abcdefghij", file=sys.stderr)
            os._exit(3)
        return Model(self, name, self.size(task, source))


class Model:
    def __init__(self, engine, name, size):
        self.engine = engine
        self.name = name.partition("-")[0]
        self.full = name
        self.bytes = size

    def close(self):
        self.engine.note("close", self.full)

    def run(self, job):
        return getattr(self, job.ask["do"])(job)

    def embed(self, job):
        from array import array
        from base64 import b64encode

        job.began()
        size = job.ask["dimensions"] or 3
        rows = [float(len(text) + place) for text in job.ask["inputs"] for place in range(size)]
        data = array("f", rows)
        if sys.byteorder == "big":
            data.byteswap()
        return {"vectors": b64encode(data.tobytes()).decode(), "size": size, "input": 7}

    def classify(self, job):
        job.began()
        labels = job.ask["labels"] or ["good", "bad"]
        return {"labels": [[(label, 1 / (n + 1)) for n, label in enumerate(labels)]] * len(job.ask["inputs"])}

    def generate(self, job):
        ask = job.ask
        if self.name == "silent":
            with job.gate:
                job.wait(lambda: False)
        if self.name == "full":
            raise Failure("no_memory", "no memory is left")
        if self.name == "faulty":
            raise RuntimeError("a bare exception")
        if self.name == "long":
            raise Failure("too_long", "the prompt has 9 tokens, and the context 8")
        style = "[TOOL_CALLS]" if self.name == "mistral" else "<tool_call>"
        job.began(input=5, calls=style, thinking=self.name == "inside")
        if self.name == "halting":
            job.text("one ")
            job.text("two")
            with job.gate:
                job.wait(lambda: False)
        if self.name == "breaking":
            job.text("one ")
            raise Failure("no_memory", "no memory is left")
        if self.name == "dying":
            job.text("one ")
            print("the last words", file=sys.stderr)
            os._exit(9)
        if self.name == "endless":
            for number in range(10**9):
                job.text(f"{number} ")
                self.engine.note(number)
        return self.write(job, self.answer(ask))

    def answer(self, ask):
        if self.name == "echo":
            return json.dumps(ask, sort_keys=True)
        if self.name in ANSWERS:
            return ANSWERS[self.name]
        if "prompt" in ask:
            return f"{ask['prompt']} and so on"
        return f"pong, {ask['messages'][-1]['content']}"

    def write(self, job, text):
        """As the real one does it; its tokens are bytes."""
        pieces, stops = (
            Pieces(lambda ids: bytes(ids).decode("utf-8", "replace")),
            StopStrings(job.ask["stop"]),
        )
        limit = job.ask["max_tokens"] or 10**6
        count = 0
        for id in text.encode():
            if count == limit or stops.found is not None:
                break
            count += 1
            if piece := stops.feed(pieces.feed(id)):
                job.text(piece)
        else:
            limit = None
        for rest in (stops.feed(pieces.close()), stops.close()):
            if rest:
                job.text(rest)
        done = limit is None or stops.found is not None
        return {"finish": "stop" if done else "length", "input": 5, "output": count, "stop": stops.found}
