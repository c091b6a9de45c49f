"""Observed seconds, counted in buckets."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from math import ceil
from typing import Final

from attrs import field, frozen

__all__ = ["BOUNDS", "HistogramData"]

#: Upper bounds in seconds, each included in its bucket: four for each doubling, from 78 us to 11 minutes.
#: OpenTelemetry's bounds for the durations of calls (0.01 * 2**n) are exactly among them.
BOUNDS: Final[tuple[float, ...]] = tuple(0.01 * 2 ** (k / 4) for k in range(-28, 65))
_NONE: Final = (0,) * (len(BOUNDS) + 1)


@frozen(kw_only=True)
class HistogramData:
    """Observed seconds by bucket: one count for each bound, and one for what lies beyond the last."""

    counts: tuple[int, ...] = field(default=_NONE, kw_only=False)
    sum: float = 0.0
    bounds: tuple[float, ...] = field(default=BOUNDS, repr=False)

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """Their mean in seconds; None where there were none."""
        count = self.count
        return self.sum / count if count else None

    def quantile(self, q: float) -> float | None:
        """The seconds that a share `q` (0..1) did not exceed, within the width of a bucket.

        None where there were none; the last bound where it lies beyond. Raises `ValueError` for
        another `q`.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is a share between 0 and 1, not {q}")
        count = self.count
        if not count:
            return None
        rank = max(1, ceil(q * count))
        at, reached = next((at, n) for at, n in enumerate(accumulate(self.counts)) if n >= rank)
        if at == len(self.bounds):
            return self.bounds[-1]
        share = 1 - (reached - rank) / self.counts[at]
        high = self.bounds[at]
        low = self.bounds[at - 1] if at else 0.0
        # Within a bucket times are spread as the bounds are: by their ratio.
        return min(high, low * (high / low) ** share) if low > 0 else high * share

    @staticmethod
    def merged(parts: Iterable[HistogramData]) -> HistogramData:
        """All of them as one; raises `ValueError` where their bounds differ."""
        parts = tuple(parts)
        if not parts:
            return HistogramData()
        bounds = parts[0].bounds
        if any(part.bounds != bounds for part in parts):
            raise ValueError("histograms with different bounds cannot be merged")
        counts = tuple(map(sum, zip(*(part.counts for part in parts), strict=True)))
        return HistogramData(counts, sum=sum(part.sum for part in parts), bounds=bounds)
