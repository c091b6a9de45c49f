"""What is alive: instances with their states, the hooks they implement, and the epoch of it all."""

from gleitzeit.registry.broadcast import broadcast
from gleitzeit.registry.context import InstanceContext, Services
from gleitzeit.registry.instance import Instance, Lease
from gleitzeit.registry.registry import Hook, Registry

__all__ = ["Hook", "Instance", "InstanceContext", "Lease", "Registry", "Services", "broadcast"]
