"""Every function by name: `name(...)`, and methods `value.name(...)`, whose first parameter is the value."""

from __future__ import annotations

from collections.abc import Mapping

from rules.conversions import CONVERSIONS, SIZE
from rules.math_functions import MATH_FUNCTIONS
from rules.overloads import Overload
from rules.text_functions import TEXT_FUNCTIONS, TEXT_METHODS
from rules.time_functions import TIME_METHODS

FUNCTIONS: Mapping[str, tuple[Overload, ...]] = {**CONVERSIONS, **MATH_FUNCTIONS, **TEXT_FUNCTIONS, "size": SIZE}
METHODS: Mapping[str, tuple[Overload, ...]] = {**TEXT_METHODS, **TIME_METHODS, "size": SIZE}
