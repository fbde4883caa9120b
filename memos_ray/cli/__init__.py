"""The command `memos-ray`."""
