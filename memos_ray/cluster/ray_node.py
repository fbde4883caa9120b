"""Ray's own node in this process tree: started, and started anew where it is too slow."""

from __future__ import annotations

import gc
import logging
import os
import traceback
import warnings
from pathlib import Path

import psutil
import ray

from memos_ray.config import Settings
from memos_ray.errors import UnavailableError

_ATTEMPTS = 4
_END_S = 30.0
_log = logging.getLogger(__name__)


def start_node(settings: Settings, scratch: Path) -> None:
    """Starts Ray on this machine and connects to it.

    Ray gives its node half a minute. On a machine that is too busy for that, what has been started
    is ended, and another one is tried: by then the files that it needs are in memory.

    Args:
        scratch: where Ray keeps its sockets and logs; of this process's node alone.

    Raises:
        UnavailableError: Ray does not start; where it only takes too long, after some tries.
    """
    # What Ray writes, the token that guards its ports included, is for this user only.
    before = os.umask(0o077)
    try:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                _init_ray(settings, scratch)
                return
            except Exception as error:
                # Ray says why in words, and in exceptions of no certain type.
                reason = str(error)
                _end_processes(scratch)
                _let_go(error)
                if attempt == _ATTEMPTS or "timed out" not in reason:
                    raise UnavailableError("Ray does not start here", reason=reason) from None
                _log.info("Ray has not started in time, and is started again")
    finally:
        os.umask(before)


def _init_ray(settings: Settings, scratch: Path) -> None:
    ray.init(
        address="local",
        num_cpus=settings.cluster_cpus,
        # Found by Ray where anybody asks for some.
        num_gpus=None if _wants_gpus(settings) else 0,
        object_store_memory=settings.object_store_bytes,
        namespace=settings.namespace,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        configure_logging=False,
        _temp_dir=str(scratch),
    )


def _wants_gpus(settings: Settings) -> bool:
    return settings.teaching.gpus > 0 or any(model.gpus for model in settings.models)


def _end_processes(scratch: Path) -> None:
    """Ends what a node that did not come up has left, which Ray forgets."""
    found = []
    for child in psutil.Process().children():
        try:
            if any(str(scratch) in word for word in child.cmdline()):
                found += [child, *child.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    for process in found:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(found, _END_S)


def _let_go(error: Exception) -> None:
    """Frees what a failed start holds: its handles have not heard that their processes ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        traceback.clear_frames(error.__traceback__)
        gc.collect()
