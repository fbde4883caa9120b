"""One module for each system, each with `open_system(folder, table)` and `SETTINGS`."""
