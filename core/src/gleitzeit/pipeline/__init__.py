"""The corridor: compiles a route once, then every call of every kind walks it.

resolve → deadline → votes on the request → wrap_call ( attempts: votes on the target → gate →
wrap_attempt ( lease → provider.call ) → retry, or the next target ) → reply or stream
"""

from gleitzeit.pipeline.pipeline import Corridor, Pipeline

__all__ = ["Corridor", "Pipeline"]
