"""The Python SDK: `MemOS` and `AsyncMemOS`."""
