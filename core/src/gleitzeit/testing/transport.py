"""The contract of transports as tests: subclass the suite in a test file, give a case, run pytest."""

from __future__ import annotations

from typing import ClassVar, Final

import pytest

from gleitzeit.testing import carriage, departures
from gleitzeit.testing.case import ContractBroken
from gleitzeit.testing.network import forbid_network
from gleitzeit.testing.provider import add_tests
from gleitzeit.testing.suite import Rule
from gleitzeit.testing.wires import TransportCase, WireBench, on_wire_bench

__all__ = ["WIRE_RULES", "TransportContract", "check_wire"]

WIRE_RULES: Final = (
    Rule(carriage.wire_fits_the_contract),
    Rule(carriage.frames_pass_unchanged),
    Rule(carriage.notifications_pass),
    Rule(carriage.order_is_kept),
    Rule(carriage.large_frames_pass),
    Rule(carriage.concurrent_senders_do_not_mix),
    Rule(carriage.questions_pass_both_ways),
    Rule(carriage.headers_travel, "headers"),
    Rule(carriage.unwritable_frame_is_refused_unsent),
    Rule(carriage.wires_do_not_mix),
    Rule(departures.closing_ends_everything),
    Rule(departures.leaving_by_an_error_closes),
    Rule(departures.cancelled_at_a_deaf_server, "deaf"),
    Rule(departures.cancelled_send_leaves_the_wire),
    Rule(departures.dead_server_is_noticed, "kill"),
    Rule(departures.death_in_mid_call_is_told, "kill"),
    Rule(departures.absent_server_is_told_unsent, "nobody"),
    Rule(departures.secrets_are_not_shown, "secret"),
    Rule(departures.nothing_is_left_on_the_loop),
)


async def check_wire(rule: Rule[WireBench], case: TransportCase) -> None:
    """Run one rule on a fresh transport; raises `ContractBroken` naming rule, fault and next step.

    Nothing beyond this machine can be reached meanwhile.
    """
    try:
        with forbid_network():
            async with on_wire_bench(case) as bench:
                await rule.run(bench)
    except ContractBroken as error:
        raise ContractBroken(f"{rule.name}: {error}") from error.__cause__
    except Exception as error:
        raise ContractBroken(f"{rule.name}: raised {type(error).__name__}: {error}") from error


class TransportContract:
    """Tests that every transport must pass, one a rule of the contract.

        class TestPigeon(TransportContract):
            @pytest.fixture
            async def case(self, loft):
                return TransportCase(
                    PigeonTransport, endpoint=Endpoint("loft", url=loft.url), kill=loft.close
                )

    The server at the endpoint hands each message to `gleitzeit.testing.peer.answers` and sends what
    that gives. The fixture may be a coroutine or generator; each test gets a case of its own. Needs
    pytest-asyncio; real requests are forbidden.
    """

    pytestmark = pytest.mark.asyncio
    #: Must every rule be checked? Then what the case lacks is a failure, but for what `without` declares.
    thorough: ClassVar[bool] = False

    @pytest.fixture
    def case(self) -> TransportCase:
        """The transport under test; override it."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `case` that gives a TransportCase")


add_tests(TransportContract, WIRE_RULES, check_wire)
