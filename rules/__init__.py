"""Rules: text of the Common Expression Language to typed trees, programs and indexes of predicates.

docs/rules.md is the language; errors.py is everything that goes wrong.
"""

from rules.check import check
from rules.checked import CheckedNode
from rules.compile import Program, compile
from rules.environment import Environment, Signature, Together
from rules.errors import EvaluationError, RuleError, RuleFault, RuleSyntaxError, RuleTypeError
from rules.index import PredicateIndex, StagedIndex
from rules.parse import parse
from rules.timestamps import Duration, Timestamp
from rules.tree import (
    Binary,
    Call,
    Conditional,
    Has,
    Ident,
    Index,
    ListOf,
    Literal,
    Logic,
    Loop,
    MapOf,
    Node,
    Select,
    Unary,
    conjuncts,
    transform,
)
from rules.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    Type,
    list_of,
    map_of,
    object_of,
)
from rules.unparse import unparse
from rules.values import UInt

__all__ = [
    "BOOL",
    "BYTES",
    "DOUBLE",
    "DURATION",
    "DYN",
    "INT",
    "NULL",
    "STRING",
    "TIMESTAMP",
    "TYPE",
    "UINT",
    "Binary",
    "Call",
    "CheckedNode",
    "Conditional",
    "Duration",
    "Environment",
    "EvaluationError",
    "Has",
    "Ident",
    "Index",
    "ListOf",
    "Literal",
    "Logic",
    "Loop",
    "MapOf",
    "Node",
    "PredicateIndex",
    "Program",
    "RuleError",
    "RuleFault",
    "RuleSyntaxError",
    "RuleTypeError",
    "Select",
    "Signature",
    "StagedIndex",
    "Timestamp",
    "Together",
    "Type",
    "UInt",
    "Unary",
    "check",
    "compile",
    "conjuncts",
    "list_of",
    "map_of",
    "object_of",
    "parse",
    "transform",
    "unparse",
]
