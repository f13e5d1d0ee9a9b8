"""Graphs that take one of two branches at run time, for runtimes that have control flow."""

from __future__ import annotations

import copy

import onnx
from onnx import helper

from awares_edge.export.graph.builder import Builder, FormatOf


class BranchingBuilder(Builder):
    """A graph with branches. All weights and constants are in the outer graph, once."""

    def branch(self, format_of: FormatOf | None = None) -> BranchingBuilder:
        """A builder of one branch of a choice: it sees every value that this graph has so far, and
        its inputs, constants and matrices are this graph's. What it makes stays inside it, except
        its outputs.

        Args:
            format_of: weight formats of the branch; None for the graph's.
        """
        inner = copy.copy(self)
        inner._nodes, inner._outputs, inner._shared = [], {}, dict(self._shared)
        inner._format_of = format_of or self._format_of
        return inner

    def choose(
        self, condition: str, then: BranchingBuilder, otherwise: BranchingBuilder
    ) -> list[str]:
        """Compute one of two branches, which have the same outputs.

        Args:
            condition: name of a bool value of one element.

        Returns:
            the outputs' names, which are values of this graph from now on.
        """
        names = list(then._outputs)
        node = helper.make_node(
            "If",
            [condition],
            names,
            name=self.fresh("If"),
            then_branch=then._body("then"),
            else_branch=otherwise._body("else"),
        )
        self._nodes.append(node)
        return names

    def outputs_of(self, branch: BranchingBuilder) -> None:
        """Declare the outputs of a branch as outputs of this graph too."""
        self._outputs.update(branch._outputs)

    def _body(self, name: str) -> onnx.GraphProto:
        """The graph of a branch. Its outputs get new names: a branch may not reuse a name
        of the graph around it."""
        renamed = {output: f"{name}:{output}" for output in self._outputs}
        nodes, outputs = [], []
        for node in self._nodes:
            inner = onnx.NodeProto()
            inner.CopyFrom(node)
            for values in (inner.input, inner.output):
                values[:] = [renamed.get(value, value) for value in values]
            nodes.append(inner)
        for value in self._outputs.values():
            output = onnx.ValueInfoProto()
            output.CopyFrom(value)
            output.name = renamed[value.name]
            outputs.append(output)
        return helper.make_graph(nodes, f"{self.name}.{name}", [], outputs)
