"""What `memos-ray doctor` looks at: one function a check, each of which returns findings."""
