"""`gleitzeit chat` on a terminal: a dialogue that goes on until the end of input."""

from __future__ import annotations

from argparse import Namespace
from contextlib import suppress
from typing import Final

from gleitzeit.blocking import BlockingHost
from gleitzeit.cli.approve import approval
from gleitzeit.cli.chat import default_model, image, request, system, turn
from gleitzeit.cli.failures import tell
from gleitzeit.cli.logs import logs
from gleitzeit.cli.output import Output
from gleitzeit.cli.render import Renderer
from gleitzeit.cli.run import Drain, Signals, StoppedError, stoppable
from gleitzeit.cli.settings import read
from gleitzeit.conversation import Approve
from gleitzeit.errors import GleitzeitError, UsageError
from gleitzeit.near import did_you_mean
from gleitzeit.values import Message, Part, TextPart, Usage

__all__ = ["Dialogue", "dialogue"]

HELP: Final = """\
/help           this text
/model [NAME]   show or change the model
/system [TEXT]  change the system prompt, and start anew
/image FILE     send a picture with the next question
/usage          the tokens used so far
/clear          start anew
/exit           leave (also Ctrl-D)
A line that ends in \\ goes on in the next one; Ctrl-C stops an answer."""
COMMANDS: Final = ("/clear", "/exit", "/help", "/image", "/model", "/system", "/usage")


def dialogue(options: Namespace, output: Output) -> int:
    """Talk until the input ends. The loop of the host runs beside the prompt, which waits for a line."""
    config, index = read(options, output)
    model = options.model or default_model(config)
    with suppress(ImportError):  # line editing and history, where Python has them
        import readline  # noqa: F401
    with logs(output), stoppable() as signals, BlockingHost(config, index=index) as host:
        approve = approval(options.approve, output) if options.tool else None
        talk = Dialogue(options, output, model, signals)
        output.note(f"talking to {model}; /help lists commands, Ctrl-D ends")
        while talk.step(host, approve):
            pass
    return 0


class Dialogue:
    """What a dialogue remembers between its turns."""

    def __init__(
        self, options: Namespace, output: Output, model: str, signals: Signals | None = None
    ) -> None:
        self.model = model
        self.messages = system(options.system)
        self.usage = Usage()
        self._options = options
        self._output = output
        self._signals = signals or Signals()
        self._pictures: list[Part] = []

    def step(self, host: BlockingHost, approve: Approve | None) -> bool:
        """Take one line and answer it; False where the dialogue is over."""
        try:
            line = self._line()
        except EOFError:
            self._output.note("")
            return False
        except StoppedError:
            raise
        except KeyboardInterrupt:
            self._output.say("")
            return True  # as in a shell: the line is given up
        try:
            if line.startswith("/"):
                return self._command(line)
            if line.strip():
                self._ask(line, host, approve)
        except StoppedError:
            raise
        except KeyboardInterrupt:
            self._output.say("(stopped)", "yellow")
        except GleitzeitError as error:
            tell(error, self._output)
        return True

    def _line(self) -> str:
        line = self._input("> ")
        while line.endswith("\\"):
            line = line[:-1] + "\n" + self._input(". ")
        return line

    def _input(self, prompt: str) -> str:
        if self._output.terminal:
            return input(prompt)
        self._output.say(prompt, end="")
        return input()

    def _ask(self, line: str, host: BlockingHost, approve: Approve | None) -> None:
        messages = (*self.messages, Message.user((*self._pictures, TextPart(line))))
        asked = request(self._options, messages).evolve(target=self.model)
        drain = Drain(self._output)
        self._signals.gentle = drain.ask
        try:
            done = host.run(
                drain.run(host.host, turn(host.host, asked, self._options, self._output, approve))
            )
        finally:
            self._signals.gentle = None
            self._signals.check()
        self._pictures = []
        self.messages = done.messages
        self.usage += done.usage or Usage()

    def _command(self, line: str) -> bool:
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word in ("/exit", "/quit"):
            return False
        if word == "/help":
            self._output.note(HELP)
        elif word == "/model":
            self.model = rest or self.model
            self._output.note(f"talking to {self.model}")
        elif word in ("/clear", "/system"):
            self.messages = system(rest if word == "/system" else self._options.system)
            self._output.note("starting anew")
        elif word == "/image":
            self._pictures.append(image(rest))
            self._output.note("the next question sends it")
        elif word == "/usage":
            Renderer(self._output).usage(self.usage)
        else:
            hint = did_you_mean(word, COMMANDS, "/help lists the commands")
            raise UsageError(f"there is no command {word!r}", hint=hint)
        return True
