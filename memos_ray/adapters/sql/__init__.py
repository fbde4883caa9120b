"""Record and control stores on SQL databases."""

from memos_ray.adapters.sql.control import SqlControlStore
from memos_ray.adapters.sql.records import SqlRecordStore

__all__ = ["SqlControlStore", "SqlRecordStore"]
