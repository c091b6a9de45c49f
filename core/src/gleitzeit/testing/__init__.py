"""What plugin authors test with: contract suites, doubles, strategies, a switch against real requests.

Installed with `pip install gleitzeit[testing]`. Each name is loaded when it is first used, so that
pytest and hypothesis are needed only by what uses them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gleitzeit.testing.case import CaseError, ContractBroken, ProviderCase
    from gleitzeit.testing.context import FakeContext
    from gleitzeit.testing.loopback import LoopbackServer
    from gleitzeit.testing.network import NetworkForbidden, NetworkGuard, forbid_network
    from gleitzeit.testing.provider import ProviderContract
    from gleitzeit.testing.suite import Fault, Report, verify
    from gleitzeit.testing.transport import TransportContract
    from gleitzeit.testing.wires import TransportCase
else:

    def __getattr__(name):
        module = _WHERE.get(name)
        if module is None:
            raise AttributeError(f"module 'gleitzeit.testing' has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"gleitzeit.testing.{module}"), name)
        return value

    def __dir__():
        return sorted(__all__)


_WHERE = {
    "CaseError": "case",
    "ContractBroken": "case",
    "FakeContext": "context",
    "Fault": "suite",
    "LoopbackServer": "loopback",
    "NetworkForbidden": "network",
    "NetworkGuard": "network",
    "ProviderCase": "case",
    "ProviderContract": "provider",
    "Report": "suite",
    "TransportCase": "wires",
    "TransportContract": "transport",
    "forbid_network": "network",
    "verify": "suite",
}

__all__ = [
    "CaseError",
    "ContractBroken",
    "FakeContext",
    "Fault",
    "LoopbackServer",
    "NetworkForbidden",
    "NetworkGuard",
    "ProviderCase",
    "ProviderContract",
    "Report",
    "TransportCase",
    "TransportContract",
    "forbid_network",
    "verify",
]
