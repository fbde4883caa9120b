"""Program: starts Ray as an embedded cluster would, runs a task, stops, and reports in one line.

Apart from the caller, since Ray changes the process that it runs in. Everything that Ray writes
goes to the folder that is given, its token included.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from memos_ray.cluster.folder import DataFolder
from memos_ray.cluster.ray_token import ensure_ray_token, use_ray_token
from memos_ray.cluster.sweeper import Sweeper

_OBJECT_STORE_BYTES = 80 << 20


def try_ray(place: Path) -> dict[str, object]:
    """Starts and stops Ray; says which version it is and whether it keeps to loopback."""
    folder = DataFolder(place / "data")
    folder.create()
    ensure_ray_token(folder)
    use_ray_token(folder)
    import ray

    sweeper = Sweeper()
    try:
        ray.init(
            address="local",
            num_cpus=1,
            num_gpus=0,
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=str(place / "ray"),
        )
        answer = ray.get(ray.remote(_task).remote(), timeout=120)
        address = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
        return {"version": ray.__version__, "loopback": address.startswith("127."), "task": answer}
    finally:
        ray.shutdown()
        sweeper.close()


def _task() -> int:
    return os.getpid()


if __name__ == "__main__":
    import json

    sys.stdout.write(json.dumps(try_ray(Path(sys.argv[1]))) + "\n")
