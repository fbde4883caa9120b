"""The one place that knows Ray: boot, actor options, typed handles."""

import os

# Ray reads these when it is first imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# An embedded cluster listens on loopback only. Ray resolves a loopback address that it is given to
# the machine's own; this switch, which its desktop builds start with, keeps it there. Joining a
# cluster does not heed it, but a `ray start --address=…` that inherits it refuses to make a node.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
# Ray would run actors at a low priority, behind whatever else the machine does. Here they are the
# service, and a shard that waits for its own clients helps nobody.
os.environ.setdefault("RAY_worker_niceness", "0")
# A replica waits for others most of the time: a second event loop in its process, and the way
# between the two, would cost a tenth of a request.
os.environ.setdefault("RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD", "0")
