"""Times in texts and in time fields, resolved to spans."""

from memos_ray.core.reader.times.mention import EARLIEST, LATEST, Granularity, TimeMention
from memos_ray.core.reader.times.resolve import resolve_times

__all__ = ["EARLIEST", "LATEST", "Granularity", "TimeMention", "resolve_times"]
