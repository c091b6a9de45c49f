"""The targets of a corridor, and in which order they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from attrs import field, frozen

from gleitzeit.errors import GleitzeitError, PluginError
from gleitzeit.kinds import Balancer, Handler
from gleitzeit.resilience import Gate
from gleitzeit.values import Choice, Request, Route, Target

__all__ = ["Group", "Leg", "Watcher", "arrange", "legs"]

#: A balancer, and the choice of its route that a leg lies in.
Watcher: TypeAlias = tuple[Balancer, Choice]


@frozen(eq=False)
class Leg:
    """One target of a corridor: what stands before it, and its call with all that is wrapped around it."""

    target: Target
    handler: Handler = field(repr=False)
    gate: Gate = field(repr=False)
    #: The balancers that chose it, the innermost last.
    watchers: tuple[Watcher, ...] = field(default=(), repr=False)


@frozen(eq=False)
class Group:
    """A route inside the tree of choices."""

    route: Route
    balancer: Balancer | None
    #: Choice -> what it is here, by identity: equal targets may stand in one route twice.
    nodes: Mapping[int, Leg | Group]
    #: Are all of them targets?
    flat: bool

    def order(self, request: Request) -> Iterator[Leg]:
        """The legs for one request, taken one by one; those of routes inside in their own order.

        Raises `PluginError`, as its iterator does, where the strategy is at fault.
        """
        try:
            choices = self.route.targets if self.balancer is None else self.balancer.order(request)
            if self.flat:
                return map(self._leg, choices)  # no generator for what is mostly asked for one leg
        except GleitzeitError:
            raise
        except Exception as error:
            raise self.fault(error) from error
        return self._walk(choices, request)

    def fault(self, error: Exception) -> PluginError:
        """What it means that the strategy raised `error`."""
        return PluginError(
            f"the strategy {self.route.strategy!r} raised {type(error).__name__}: {error}",
            hint="this is a fault of its plugin",
            sent=False,
        )

    def _walk(self, choices: Iterable[Choice], request: Request) -> Iterator[Leg]:
        for choice in choices:
            node = self._node(choice)
            if isinstance(node, Leg):
                yield node
            else:
                yield from node.inside(request)

    def inside(self, request: Request) -> Iterator[Leg]:
        """As `order`, for the route around it, which is not to blame for what this strategy raises."""
        try:
            yield from self.order(request)
        except GleitzeitError:
            raise
        except Exception as error:
            raise self.fault(error) from error

    def _leg(self, choice: Choice) -> Leg:
        node = self._node(choice)
        assert isinstance(node, Leg), "a flat group has legs alone"
        return node

    def _node(self, choice: Choice) -> Leg | Group:
        node = self.nodes.get(id(choice))
        if node is None:
            raise PluginError(
                f"the strategy {self.route.strategy!r} chose {choice}, which {self.route.name!r} lacks",
                hint="it must give the choices of the route themselves; this is a fault of its plugin",
                sent=False,
            )
        return node


def arrange(
    route: Route,
    make: Callable[[Target, tuple[Watcher, ...]], Leg],
    balancers: Mapping[str, Balancer | None],
    watchers: tuple[Watcher, ...] = (),
) -> Group:
    """The tree of a route; `balancers` are those of this route and of the routes inside, by name."""
    balancer = balancers[route.name]
    nodes: dict[int, Leg | Group] = {}
    for choice in route.targets:
        inner = watchers if balancer is None else (*watchers, (balancer, choice))
        nodes[id(choice)] = (
            arrange(choice, make, balancers, inner) if isinstance(choice, Route) else make(choice, inner)
        )
    return Group(route, balancer, nodes, all(isinstance(node, Leg) for node in nodes.values()))


def legs(group: Group) -> Iterator[Leg]:
    """Every leg of the tree."""
    for node in group.nodes.values():
        if isinstance(node, Leg):
            yield node
        else:
            yield from legs(node)
