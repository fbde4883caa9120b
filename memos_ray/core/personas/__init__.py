"""Personas as people write them: templates, and the documents that they become."""

from memos_ray.core.personas.template import HOME, PersonaTemplate, read_template, template_of

__all__ = ["HOME", "PersonaTemplate", "read_template", "template_of"]
