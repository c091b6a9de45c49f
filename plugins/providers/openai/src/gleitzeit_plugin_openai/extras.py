"""What an answer brings beside its text: sound, log probabilities, citations, verdicts of filters."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from gleitzeit.values import AudioPart, ProviderState
from gleitzeit_plugin_openai.shapes import Choice, Message

__all__ = ["Extras"]


class Extras:
    """Collects it for one answer; `sound` is the media type of what is spoken.

    `found` has the wire's own names and shapes, with the lists of a stream's chunks joined. It is
    what `Reply.data` shows.
    """

    def __init__(self, sound: str | None = None) -> None:
        self.found: dict[str, Any] = {}
        self._sound = sound or "audio/wav"
        self._data: list[bytes] = []
        self._id: str | None = None

    def prompt(self, results: Any) -> None:
        """What filters say of the prompt."""
        self.found["prompt_filter_results"] = results

    def choice(self, choice: Choice) -> None:
        """Log probabilities, and what filters say of the answer."""
        if isinstance(choice.logprobs, dict):
            known = self.found.setdefault("logprobs", {})
            for name, entries in choice.logprobs.items():
                before = known.get(name)
                if isinstance(before, list) and isinstance(entries, list):
                    known[name] = before + entries
                elif entries is not None:
                    known[name] = entries
            if not known:
                del self.found["logprobs"]
        if choice.content_filter_results:
            before = self.found.get("content_filter_results")
            if isinstance(before, dict) and isinstance(choice.content_filter_results, dict):
                self.found["content_filter_results"] = {**before, **choice.content_filter_results}
            else:
                self.found["content_filter_results"] = choice.content_filter_results

    def message(self, message: Message) -> str:
        """Citations, and sound, of which this gives the transcript."""
        if isinstance(message.annotations, list) and message.annotations:
            self.found["annotations"] = self.found.get("annotations", []) + message.annotations
        audio = message.audio
        if not isinstance(audio, dict):
            return ""
        id, data, transcript = audio.get("id"), audio.get("data"), audio.get("transcript")
        self._id = id if isinstance(id, str) else self._id
        if isinstance(data, str) and data:
            try:
                self._data.append(base64.b64decode(data, validate=True))
            except (binascii.Error, ValueError):
                self.found["audio"] = "what came is not base64, and is left out"
        return transcript if isinstance(transcript, str) else ""

    def spoken(self, owner: str) -> AudioPart | None:
        """The sound; its id stands for it in later turns."""
        if not self._data:
            return None
        state = None
        if self._id is not None:
            state = ProviderState(owner, data=json.dumps({"audio": {"id": self._id}}, ensure_ascii=False))
        return AudioPart(data=b"".join(self._data), media_type=self._sound, provider_state=state)
