"""Topics, entities, relations, layers."""
