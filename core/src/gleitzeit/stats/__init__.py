"""Live statistics: what the calls and attempts of a host came to."""

from gleitzeit.stats.series import CallStats, Histogram, TargetStats
from gleitzeit.stats.statistics import MAX_SERIES, OTHER, Statistics

__all__ = ["MAX_SERIES", "OTHER", "CallStats", "Histogram", "Statistics", "TargetStats"]
