"""Everything this package raises, on one page.

A rule that cannot be read is a RuleSyntaxError, one that cannot make sense is a RuleTypeError; both arise at load.
What CEL calls an error at evaluation is an EvaluationError: the answer is *unknown*, which is neither yes nor no.
"""

from __future__ import annotations

from collections.abc import Sequence


class RuleError(Exception):
    """Root of the package's errors."""


class RuleFault(RuleError):
    """A fault in a rule's text, at a place in it; lines and columns count from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.message = message
        self.line = line
        self.column = column


class RuleSyntaxError(RuleFault):
    """The text is not an expression, or exceeds a bound of limits.py."""


class RuleTypeError(RuleFault):
    """The expression cannot be evaluated as declared; `faults` holds every fault found, in their order in the text."""

    def __init__(self, message: str, line: int = 1, column: int = 1, faults: Sequence[RuleTypeError] = ()) -> None:
        super().__init__(message, line, column)
        self.faults: tuple[RuleTypeError, ...] = tuple(faults) or (self,)


class EvaluationError(RuleError):
    """The result is unknown: an absent attribute, unlike types, an overflow, an exceeded bound."""
