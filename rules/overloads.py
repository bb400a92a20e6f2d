"""How functions are declared: a name has overloads, chosen by the arguments' types where known, else by their kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rules.errors import EvaluationError
from rules.types import NUMBER, NUMERIC_KINDS, Type, accepts
from rules.values import Value, kind_of


@dataclass(frozen=True, slots=True)
class Overload:
    """One implementation; a variadic one takes any number of its last parameter, at least one."""

    parameters: tuple[Type, ...]
    result: Type
    function: Callable[..., Any]
    variadic: bool = False

    def takes(self, given: Sequence[Type]) -> bool:
        """Whether arguments of these types, some perhaps DYN, may fit."""
        wanted = self._parameters_for(len(given))
        return wanted is not None and all(accepts(want, have) for want, have in zip(wanted, given, strict=True))

    def takes_kinds(self, kinds: Sequence[str]) -> bool:
        """Whether values of these kinds fit."""
        wanted = self._parameters_for(len(kinds))
        return wanted is not None and all(map(_fits, wanted, kinds))

    def _parameters_for(self, count: int) -> tuple[Type, ...] | None:
        if self.variadic and count >= len(self.parameters):
            return self.parameters + self.parameters[-1:] * (count - len(self.parameters))
        return self.parameters if count == len(self.parameters) else None


def _fits(wanted: Type, kind: str) -> bool:
    return wanted.kind in ("dyn", kind) or (wanted == NUMBER and kind in NUMERIC_KINDS)


def by_kinds(name: str, overloads: Sequence[Overload]) -> Callable[..., Value]:
    """One function that picks the overload from the kinds of its arguments at each call."""
    chosen: dict[tuple[str, ...], Callable[..., Any]] = {}

    def call(*arguments: Value) -> Value:
        kinds = tuple([kind_of(argument) for argument in arguments])
        function = chosen.get(kinds)
        if function is None:
            function = chosen[kinds] = _pick(name, overloads, kinds)
        return function(*arguments)

    return call


def _pick(name: str, overloads: Sequence[Overload], kinds: tuple[str, ...]) -> Callable[..., Any]:
    for overload in overloads:
        if overload.takes_kinds(kinds):
            return overload.function
    raise EvaluationError(f"{name} does not take ({', '.join(kinds)})")
