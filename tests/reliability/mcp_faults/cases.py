"""The faults, what a caller must be told of each, and which test shows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from typing import Final

from gleitzeit import errors
from gleitzeit.errors import GleitzeitError
from tests.reliability.mcp_faults import local, remote
from tests.reliability.mcp_faults.scene import Scene

__all__ = ["FAULTS", "Fault"]

#: Seconds in which a crash is healed, beside the server's own start.
CRASH: Final = 0.05
#: … after which a server that was away is found again: the pause doubles with each trial in vain.
RETURN: Final = 5.0
#: … that an error may take which must first be come to: by 64 MB, or by a trial that is near.
LONG: Final = 10.0


#: … for what takes longer to be cleared away, such as a process that does not heed the end of its input.
SLOW: Final = 0.5


@dataclass(frozen=True)
class Fault:
    """One fault. `error` None: the call in flight is answered; `sent` is what the error must say.

    `heals` is the limit in seconds, None where there is nothing to heal. `test` shows it, too; it is one of
    the core's where `core` says so.
    """

    name: str
    wire: str
    way: Callable[[Scene], Awaitable[None]]
    error: type[GleitzeitError] | None = None
    sent: bool | None = True
    heals: float | None = SLOW
    _: KW_ONLY
    #: Seconds after the fault in which the error must be told, where no deadline ends the call.
    told: float = 0.1
    test: str = ""
    core: bool = False
    #: Is it run so often that a median can be told?
    often: bool = False
    #: Is it part of the short form?
    quick: bool = False


DIED: Final = errors.ProcessDiedError
RESET: Final = errors.ResetError
LATE: Final = errors.DeadlineError
NOBODY: Final = errors.CannotConnectError
OLD, NEW = "legacy", "modern"
STDIO, SSE, GRPC = "stdio", "HTTP+SSE", "gRPC"
HTTP_OLD, HTTP_NEW = "HTTP, 2025-11-25", "HTTP, 2026-07-28"
HUGE: Final = local.HUGE

FAULTS: Final[tuple[Fault, ...]] = (
    Fault(
        "killed by SIGKILL",
        STDIO,
        local.killed,
        DIED,
        heals=CRASH,
        often=True,
        quick=True,
        test="test_a_killed_server_fails_its_calls_and_heals",
    ),
    Fault(
        "killed between two calls",
        STDIO,
        local.killed_idle,
        test="test_an_idle_death_is_noticed_and_healed_before_anybody_calls",
    ),
    Fault(
        "killed 200 times under 10,000 calls",
        STDIO,
        local.load,
        heals=CRASH,
        test="test_every_call_over_a_crashing_server_is_answered_once",
    ),
    Fault(
        "killed, with children of its own",
        STDIO,
        local.grandchildren,
        DIED,
        test="test_what_it_started_ends_with_it",
    ),
    Fault(
        "the guard of its process is killed",
        STDIO,
        local.launcher_killed,
        DIED,
        test="test_a_killed_launcher_takes_the_process_with_it",
        core=True,
    ),
    Fault(
        "exits well, with children of its own",
        STDIO,
        local.ending_well,
        DIED,
        quick=True,
        test="test_whatever_it_started_ends_with_it",
        core=True,
    ),
    Fault(
        "the host is killed by SIGKILL",
        STDIO,
        local.host_killed,
        heals=None,
        quick=True,
        test="test_nothing_survives_a_host_that_is_killed",
        core=True,
    ),
    Fault(
        "frozen by SIGSTOP",
        STDIO,
        local.frozen,
        LATE,
        None,
        test="test_a_frozen_server_is_bounded_by_the_deadline_and_replaced",
    ),
    Fault(
        "frozen as the host closes",
        STDIO,
        local.frozen_at_the_close,
        heals=None,
        test="test_a_stopped_server_is_killed",
    ),
    Fault(
        "stops reading",
        STDIO,
        local.wedged,
        LATE,
        None,
        quick=True,
        test="test_a_sender_that_waits_for_room_returns_the_moment_it_is_cancelled",
    ),
    Fault("slow", STDIO, local.slow, LATE, None, test="test_a_deadline_holds_whatever_the_server_does"),
    Fault(
        "5 MB of other text between messages",
        STDIO,
        local.garbage,
        test="test_garbage_between_messages_is_counted_and_nothing_else",
    ),
    Fault(
        "20 MB on its standard error",
        STDIO,
        local.flood,
        test="test_a_flood_on_stderr_holds_up_nobody",
    ),
    Fault(
        "a line without an end",
        STDIO,
        local.endless_line,
        RESET,
        told=LONG,
        test="test_an_endless_line_ends_its_session_and_no_other",
    ),
    Fault(
        "a line of 100 MB, over the limit",
        STDIO,
        local.beyond_the_limit,
        RESET,
        told=LONG,
        test="test_a_message_over_the_limit_loses_the_wire_with_its_reason",
    ),
    Fault(
        "a line of 100 MB, within the limit",
        STDIO,
        local.hundred_megabytes,
        test="test_a_hundred_megabytes_in_one_message_pass_where_they_may",
    ),
    Fault(
        "the command is missing",
        STDIO,
        local.missing,
        NOBODY,
        False,
        RETURN,
        quick=True,
        test="test_a_missing_command_and_a_good_server_side_by_side",
    ),
    Fault(
        "fails at every start",
        STDIO,
        local.always_failing,
        DIED,
        False,
        RETURN,
        told=LONG,
        test="test_a_server_that_fails_again_and_again_opens_the_circuit",
    ),
    Fault(
        "killed, and the host has no descriptor left",
        STDIO,
        local.no_descriptor,
        NOBODY,
        False,
        RETURN,
        told=LONG,
    ),
    Fault(
        "silent at the modern greeting",
        STDIO,
        local.silent_at_the_probe,
        test="test_only_the_first_start_probes",
    ),
    Fault(
        "ends at the modern greeting",
        STDIO,
        local.ending_at_the_probe,
        test="test_a_refused_greeting_is_followed_at_once_by_the_next_start",
    ),
    Fault(
        "killed and started anew",
        HTTP_OLD,
        remote.killed("http", OLD),
        RESET,
        heals=RETURN,
        test="test_a_server_that_was_started_anew_is_found_again",
    ),
    Fault(
        "killed and started anew",
        HTTP_NEW,
        remote.killed("http", NEW),
        RESET,
        heals=RETURN,
        quick=True,
        test="test_a_server_that_was_started_anew_is_found_again",
    ),
    Fault(
        "killed 5 times under 2,000 calls",
        HTTP_NEW,
        remote.load("http", NEW),
        heals=None,
        test="test_a_connection_that_is_reset_before_the_answer_may_have_acted",
    ),
    Fault(
        "killed and started anew",
        SSE,
        remote.killed("sse", OLD),
        RESET,
        heals=RETURN,
        test="test_a_server_that_was_started_anew_is_found_again",
    ),
    Fault(
        "killed 5 times under 2,000 calls",
        SSE,
        remote.load("sse", OLD),
        heals=None,
        test="test_a_loss_in_the_moment_of_a_send_is_told_and_nothing_was_sent",
    ),
    Fault(
        "started anew: the session is stale",
        HTTP_OLD,
        remote.forgotten("http", OLD),
        quick=True,
        test="test_a_forgotten_session_is_begun_anew_within_the_call",
    ),
    Fault(
        "frozen by SIGSTOP",
        HTTP_NEW,
        remote.frozen("http", NEW),
        LATE,
        None,
        test="test_silence_beyond_the_read_timeout_is_told",
    ),
    Fault(
        "the body is cut",
        HTTP_NEW,
        remote.answer_of("cut", NEW),
        RESET,
        test="test_a_body_that_is_cut_is_a_reset_that_was_sent",
    ),
    Fault(
        "the body comes in drops",
        HTTP_NEW,
        remote.answer_of("drip", NEW, 0.5),
        LATE,
        None,
        test="test_an_answer_that_comes_drop_by_drop_comes",
    ),
    Fault(
        "a body without an end",
        HTTP_NEW,
        remote.answer_of("endless", NEW),
        errors.MalformedAnswerError,
        told=LONG,
        test="test_an_answer_over_the_limit_fails_its_request",
    ),
    Fault(
        "an event without an end",
        HTTP_NEW,
        remote.answer_of("endless_event", NEW),
        errors.MalformedAnswerError,
        told=LONG,
        test="test_an_answer_over_the_limit_fails_its_request",
    ),
    Fault(
        "a stream of events breaks",
        HTTP_NEW,
        remote.answer_of("broken", NEW),
        RESET,
        test="test_an_answer_that_breaks_off_fails_its_request_alone",
    ),
    Fault(
        "… where it can be resumed",
        HTTP_OLD,
        remote.answer_of("resumed", OLD),
        test="test_an_answer_that_breaks_off_is_resumed_where_it_can_be",
    ),
    Fault(
        "credentials are refused",
        HTTP_NEW,
        remote.refused(NEW),
        errors.AuthenticationError,
        False,
        RETURN,
        test="test_refused_credentials_are_an_error_and_never_an_empty_list",
    ),
    Fault(
        "a redirect to somebody else",
        HTTP_NEW,
        remote.redirected(NEW),
        NOBODY,
        False,
        RETURN,
        test="test_a_redirect_to_somebody_else_is_not_followed",
    ),
    Fault(
        "killed and started anew",
        GRPC,
        remote.killed("grpc", NEW),
        RESET,
        heals=RETURN,
        quick=True,
        test="test_the_loss_of_a_server_ends_the_calls_and_its_return_heals",
    ),
    Fault(
        "killed 5 times under 2,000 calls",
        GRPC,
        remote.load("grpc", NEW),
        heals=None,
        test="test_the_end_of_the_server_ends_the_wire",
    ),
    Fault(
        "a message of 100 MB, over the limit",
        GRPC,
        remote.too_long("grpc", NEW, HUGE),
        RESET,
        told=LONG,
        test="test_one_over_their_limit_ends_the_stream",
    ),
    Fault("frozen by SIGSTOP", GRPC, remote.frozen("grpc", NEW), LATE, None),
)
