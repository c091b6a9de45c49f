"""Child processes: started without a shell, ended with all that they started, and their last words.

For plugins that run something on this machine: wires, workers, sandboxes. `start` gives the most careful
`gleitzeit.kinds.Process` that this system allows.
"""

from gleitzeit.process.child import Child, abort
from gleitzeit.process.direct import Direct
from gleitzeit.process.starting import start, supported
from gleitzeit.process.tail import Tail, secrets_in

__all__ = ["Child", "Direct", "Tail", "abort", "secrets_in", "start", "supported"]
