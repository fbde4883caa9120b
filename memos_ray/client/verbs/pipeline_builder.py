"""Pipelines in Python: `Pipeline("x").retrieve("facts", query="…").augment("text", …)`."""

from __future__ import annotations

from typing import Any

from memos_ray.core.pipeline.definition import PipelineSpec, Scalar, read_definition


class Pipeline:
    """A pipeline under construction; every method adds a step and returns a new pipeline.

    A step comes after the one before it, unless `needs=` names others. Fields of steps are those of
    `docs/pipelines.md`, such as `when=`, `each=`, `retries=` and `timeout_s=`.
    """

    def __init__(self, name: str, description: str = "") -> None:
        self._document: dict[str, Any] = {"name": name, "description": description}
        self._parameters: dict[str, Any] = {}
        self._steps: tuple[dict[str, Any], ...] = ()

    def parameter(
        self, name: str, default: Scalar | None = None, description: str = ""
    ) -> Pipeline:
        """Adds a parameter, which templates name as `{params.name}`."""
        parameter = {"default": default, "description": description}
        return self._with({**self._parameters, name: parameter}, self._steps)

    def retrieve(self, id: str, query: str | None = None, **fields: Any) -> Pipeline:
        """Finds memories by `query`, `filter` or `ids`."""
        return self._step("retrieve", id, query=query, **fields)

    def filter(self, id: str, of: str, keep: str, **fields: Any) -> Pipeline:
        """Keeps the memories of a step that a filter accepts."""
        return self._step("filter", id, of=of, keep=keep, **fields)

    def augment(
        self, id: str, template: str, *, model: str | None = None, **fields: Any
    ) -> Pipeline:
        """Makes a text of a template, or has a model answer to it."""
        return self._step("augment", id, template=template, model=model, **fields)

    def create(self, id: str, text: str, **fields: Any) -> Pipeline:
        """Stores a new memory."""
        return self._step("create", id, text=text, **fields)

    def update(self, id: str, of: str, text: str, **fields: Any) -> Pipeline:
        """Changes the text of the memories of a step."""
        return self._step("update", id, of=of, text=text, **fields)

    def tag(self, id: str, of: str, *tags: str, **fields: Any) -> Pipeline:
        """Adds tags to the memories of a step."""
        return self._step("tag", id, of=of, tags=tags, **fields)

    def delete(self, id: str, of: str, **fields: Any) -> Pipeline:
        """Deletes the memories of a step softly."""
        return self._step("delete", id, of=of, **fields)

    def archive(self, id: str, of: str, **fields: Any) -> Pipeline:
        """Puts the memories of a step away."""
        return self._step("archive", id, of=of, **fields)

    def convert(self, id: str, of: str, model: str, **fields: Any) -> Pipeline:
        """Makes the memories of a step the beginning of their namespace's prompts."""
        return self._step("convert", id, of=of, model=model, **fields)

    def teach(self, id: str, of: str, model: str, **fields: Any) -> Pipeline:
        """Has a model taught the memories of a step."""
        return self._step("teach", id, of=of, model=model, **fields)

    def publish(self, id: str, url: str, text: str, **fields: Any) -> Pipeline:
        """Sends a text to a webhook once the run has committed."""
        return self._step("publish", id, url=url, text=text, **fields)

    def build(self) -> PipelineSpec:
        """Returns the pipeline.

        Raises:
            InvalidInputError: it is not sound; says where and why.
        """
        document = {**self._document, "parameters": self._parameters, "steps": self._steps}
        return read_definition(document)

    def _step(self, kind: str, id: str, **fields: Any) -> Pipeline:
        return self._with(self._parameters, (*self._steps, {"kind": kind, "id": id, **fields}))

    def _with(self, parameters: dict[str, Any], steps: tuple[dict[str, Any], ...]) -> Pipeline:
        made = Pipeline("")
        made._document, made._parameters, made._steps = self._document, parameters, steps
        return made
