"""What a rule may talk about: the declared variables, and the methods a host answers on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rules.types import Type
from rules.values import Value


@dataclass(frozen=True, slots=True)
class Together:
    """How a host answers a method for many texts `kind:key` in one argument at once.

    The other method is called with the kind in place of that text. It answers a mapping from key to what the method
    itself would answer: a value of its type, or None when there is no answer. For a key that is not in the mapping it
    would answer `unlisted`.
    """

    method: str
    argument: int
    unlisted: Value


@dataclass(frozen=True, slots=True)
class Signature:
    """Types of a host method's arguments and of its answer."""

    parameters: tuple[Type, ...]
    result: Type
    together: Together | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """Declarations that rules are checked against.

    variables  name -> type; a dotted name such as "a.b" is one variable with a qualified name
    methods    (variable, method) -> signature; at evaluation `activation[variable].method(...)` is called; it answers
               a value of the declared type, or None or EvaluationError when there is no answer
    container  prefix that names are first looked up under, as CEL defines it
    """

    variables: Mapping[str, Type]
    methods: Mapping[tuple[str, str], Signature] = field(default_factory=dict)
    container: str = ""

    def find(self, name: str, *, absolute: bool = False) -> str | None:
        """The declared variable a name means, longest container prefix first, or None."""
        candidates = (name,) if absolute else self._candidates(name)
        return next((candidate for candidate in candidates if candidate in self.variables), None)

    def _candidates(self, name: str) -> Iterator[str]:
        prefix = self.container
        while prefix:
            yield f"{prefix}.{name}"
            prefix = prefix.rpartition(".")[0]
        yield name
