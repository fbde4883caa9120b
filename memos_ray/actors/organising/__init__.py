"""Order among memories: duplicates, overtaken facts, topics."""
