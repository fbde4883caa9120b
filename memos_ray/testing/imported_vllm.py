"""What every vLLM engine imports; for the process that those of tests are forked from.

Nothing here may touch a device: a fork cannot use what its parent has opened there.
"""

from memos_ray.serving.vllm_config import hush

hush()

import vllm.engine.arg_utils  # noqa: E402
import vllm.v1.engine.async_llm  # noqa: E402
import vllm.v1.engine.llm_engine  # noqa: E402, F401

import memos_ray.serving.kv.connector  # noqa: E402, F401
