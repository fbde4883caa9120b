"""The MemCube and everything that describes one."""
