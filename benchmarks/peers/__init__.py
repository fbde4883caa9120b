"""memos-ray beside other memory systems: same texts, same vectors, same run; see `__main__`.

`vectors`, `measuring`, `run` and `systems` are also imported in the peers' own environment, where
memos-ray is not installed.
"""
