"""Tables: the files of `tables/`, from trees to decision tables.

A cell and its column make one condition, `customer.age` and `>= 18` the rule `customer.age >= 18`, compiled like any
rule and shared with those of the same text. Faults are blamed on the cell, or on the column where that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as Names
from dataclasses import dataclass, replace
from typing import Any

from decisioning.catalog.actions import masks_under
from decisioning.catalog.decision_table import DecisionTable, Row
from decisioning.catalog.derived import DerivedAttribute
from decisioning.catalog.expressions import NOBODY, Expressions
from decisioning.catalog.faults import Faults, known
from decisioning.catalog.shape import Flag, Number, Shape, Text, describe
from decisioning.catalog.strategy import Action, Mask
from decisioning.catalog.template import Piece
from decisioning.catalog.yaml_text import Listing, Mapping, Node, Scalar
from decisioning.nouns import counted
from rules import BOOL, DOUBLE, INT, STRING, Literal, PredicateIndex, Program, Type, unparse

ANY = "-"
ROWS_MAX = 1_000
_AND = re.compile(r"""(?s)"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?P<and>&&)""")  # text in quotes is stepped over
_OPERATOR = re.compile(r"\s*(<=|>=|==|!=|<|>|(?:not )?in(?=[\s\[(]))\s*")
_FACTOR = Number(0.0, 1e6)
_RESULTS: Names[str, Shape] = {"lever": _FACTOR, "context_weight": _FACTOR, "value": Number(0.0, 1e12)}
_POINTS = Number(-1e12, 1e12)  # a whole table of them adds up within 64 bits
_TYPES: Names[type, Type] = {bool: BOOL, int: INT, float: DOUBLE, str: STRING}


@dataclass(frozen=True, slots=True)
class Cell:
    """One condition as compiled; without clauses it is any value."""

    place: Node
    clauses: tuple[Program, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """What the cells below are compared with."""

    node: Scalar
    program: Program


@dataclass(frozen=True, slots=True)
class _Part:
    """One comparison as it was written: its operator, "" for none, and what stands behind it."""

    node: Scalar
    operator: str
    operand: Piece
    is_text: bool = False  # of the author's own, neither a number nor a list


@dataclass(slots=True)
class TableDraft:
    """A table as its author wrote it; without rows when its form is wrong."""

    tree: Mapping
    gives: str  # derived, lever, value, context_weight
    columns: tuple[Scalar, ...]
    rows: tuple[tuple[Node, ...], ...]  # conditions, then the result
    cells: tuple[tuple[Cell, ...], ...] = ()  # once it is compiled, by row
    table: DecisionTable | None = None

    @property
    def name(self) -> str:
        """The derived attribute it gives, by its path."""
        return f"derived.{self.tree.mapping('gives').value('derived')}"

    @property
    def heading(self) -> Node:
        """Where it says what it gives."""
        return self.tree.mapping("gives").entries.get(self.gives, self.tree)

    @property
    def targets(self) -> list[Scalar]:
        """The issues, groups and actions it speaks of."""
        return self.tree.mapping("gives").scalars(self.gives)

    @property
    def all_hits(self) -> bool:
        """Every row that holds counts; else the first one does."""
        return bool(self.tree.value("hits") == "all")

    def mentions(self, expressions: Expressions) -> Iterator[tuple[str, Node]]:
        """The derived attributes that its columns and cells name, and where."""
        parts = [part for row in self.rows for cell in row[:-1] for part in _parts(cell)]
        for node, piece in [
            *((column, Piece(column.value, 0)) for column in self.columns),
            *((part.node, part.operand) for part in parts),
        ]:
            for path, offset in expressions.derived_in(piece).items():
                yield path, node.at(offset)

    def attribute(self, expressions: Expressions, faults: Faults) -> DerivedAttribute | None:
        """The derived attribute it gives, None when it is faulty."""
        table = self.compile(expressions, faults)
        if table is None:
            return None
        clauses = [clause for row in table.rows for clause in row.clauses]
        return DerivedAttribute(
            self.name,
            _TYPES[type(table.rows[0].result)],
            table.attribute_value,
            expressions.attributes_behind(table.reads),
            expressions.allowed_for(table.reads),
            any(expressions.reads_moment(clause) for clause in clauses),
        )

    def compile(self, expressions: Expressions, faults: Faults, mask: Mask = 0) -> DecisionTable | None:
        """The table, None when something in it is faulty; what it mentions has been declared, mask are its actions."""
        columns = [_column(node, expressions) for node in self.columns]
        results = _results(self, faults)
        rows = [
            [_cell(node, column, expressions, faults) for node, column in zip(row, columns, strict=False) if column]
            for row in self.rows
        ]
        self.cells = tuple(tuple(cell for cell in row if cell is not None) for row in rows)
        if self.rows and results is not None and all(len(row) == len(columns) for row in self.cells):
            self.table = _table(self, results, mask)
        return self.table

    def check_purposes(self, purposes: Iterable[str], expressions: Expressions) -> None:
        """Note what it reads that one of these purposes, its actions' own, may not see."""
        parts = [part for row in self.rows for cell in row[:-1] for part in _parts(cell)]
        for purpose in purposes:
            for column in self.columns:
                expressions.check_purpose(column, Piece(column.value, 0), purpose)
            for part in parts:
                expressions.check_purpose(part.node, part.operand, purpose)


def table_drafts_of(trees: Sequence[Mapping], faults: Faults) -> list[TableDraft]:
    """The tables of all files, their form checked."""
    return [_draft(tree, faults) for tree in trees]


def tables_of(
    drafts: Sequence[TableDraft], actions: Sequence[Action], expressions: Expressions, faults: Faults
) -> tuple[DecisionTable, ...]:
    """All tables, those that give derived attributes compiled already."""
    masks = masks_under(actions)
    spoken_for: dict[str, Mask] = {}
    for draft in drafts:
        if draft.gives in _RESULTS:
            mask = _mask(draft, masks, faults)
            draft.check_purposes({action.purpose for action in actions if mask >> action.index & 1}, expressions)
            draft.compile(expressions, faults, mask)
            _check_alone(draft, mask & spoken_for.get(draft.gives, 0), actions, faults)
            spoken_for[draft.gives] = spoken_for.get(draft.gives, 0) | mask
    return tuple(draft.table for draft in drafts if draft.table is not None)


def _mask(draft: TableDraft, masks: Names[str, Mask], faults: Faults) -> Mask:
    mask = 0
    for target in draft.targets:
        if target.value not in masks:
            faults.add(target, f"no issue, group or action is called {target.value!r}", known(target.value, masks))
        mask |= masks.get(target.value, 0)
    return mask


def _check_alone(draft: TableDraft, shared: Mask, actions: Sequence[Action], faults: Faults) -> None:
    """Weights of several tables multiply; of two levers or values neither could give way."""
    if shared and draft.gives != "context_weight":
        key = next(action.key for action in actions if shared >> action.index & 1)
        faults.add(draft.heading, f"another table gives the {draft.gives} of {key} already", "Write them as one table")


def _draft(tree: Mapping, faults: Faults) -> TableDraft:
    gives = tree.mapping("gives")
    if len(gives.keys) != 1:
        way_out = "Name one of derived, lever, value, context_weight"
        faults.add(tree.keys.get("gives", tree), f"a table gives one thing, this one {len(gives.keys)}", way_out)
    columns = tree.entries.get("columns")
    rows = tree.entries.get("rows")
    nodes = columns.items if isinstance(columns, Listing) else []
    heads = [head for node in nodes if isinstance(head := Text().check(node, faults), Scalar)]
    draft = TableDraft(tree, next(iter(gives.keys), ""), tuple(heads), ())
    if isinstance(rows, Listing) and len(heads) == len(nodes) > 0:
        lines = [_line(node, len(heads) + 1, faults) for node in rows.items]
        draft.rows = tuple(line for line in lines if line) if all(lines) else ()
        if len(lines) > ROWS_MAX:
            faults.add(rows, f"the table has {len(lines)} rows, at most {ROWS_MAX} are read", "Split it into several")
    return draft


def _line(node: Node, length: int, faults: Faults) -> tuple[Node, ...]:
    """The cells of a row, none when it has too few or too many."""
    found = len(node.items) if isinstance(node, Listing) else 0
    if isinstance(node, Listing) and found == length:
        return tuple(node.items)
    what = f"a row of {counted(found, 'cell')}" if isinstance(node, Listing) else describe(node)
    way_out = f'Write one cell a column ("{ANY}" for any), then the result'
    faults.add(node, f"expected {counted(length, 'cell')}, found {what}", way_out)
    return ()


def _column(node: Scalar, expressions: Expressions) -> Column | None:
    program = expressions.program(node, Piece(node.value, 0), NOBODY, None)
    return None if program is None else Column(node, program)


def _parts(cell: Node) -> list[_Part]:
    """The comparisons of a cell as written: a list is a choice, text may hold several with && between them."""
    if isinstance(cell, Listing):
        words = [item.value for item in cell.items if isinstance(item, Scalar)]
        text = f"[{', '.join(unparse(Literal(word)) for word in words)}]"
        return [_Part(Scalar(cell.file, cell.line, cell.column, text), "in", Piece(text, 0))]
    if not isinstance(cell, Scalar) or cell.value is None or cell.value == ANY:
        return []
    if not isinstance(cell.value, str):
        text = unparse(Literal(cell.value))
        return [_Part(Scalar(cell.file, cell.line, cell.column, text), "", Piece(text, 0))]
    return [_part(cell, start, end) for start, end in _stretches(cell.value)]


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of what stands between the && of a cell."""
    start = 0
    for found in _AND.finditer(text):
        if found["and"]:
            yield start, found.start()
            start = found.end()
    yield start, len(text)


def _part(cell: Scalar, start: int, end: int) -> _Part:
    operator = _OPERATOR.match(cell.value, start, end)
    rest = cell.value[operator.end() if operator else start : end]
    return _Part(cell, operator[1] if operator else "", Piece(rest.strip(), end - len(rest.lstrip())), True)


def _cell(node: Node, column: Column, expressions: Expressions, faults: Faults) -> Cell | None:
    """The cell as a condition on its column, None when it is faulty."""
    if isinstance(node, Mapping) or (isinstance(node, Scalar) and node.value is None):
        faults.add(node, f"expected a condition, found {describe(node)}", f'Write >= 18, a value, or "{ANY}" for any')
        return None
    parts = _parts(node)
    if len(parts) > 1 and not all(part.operator for part in parts):
        faults.add(node, "a part of this cell does not begin with a comparison", "Write >= 18 && < 30")
        return None
    compiled = [_compiled(_as_text(part, column), column, expressions) for part in parts]
    return Cell(node, tuple(clause for each in compiled for clause in each)) if all(compiled) else None


def _as_text(part: _Part, column: Column) -> _Part:
    """In a column of texts a bare word stands for itself: gold is "gold"."""
    is_word = part.is_text and not part.operator and not part.operand.text.startswith(('"', "'"))
    bare = is_word and column.program.type == STRING
    return replace(part, operand=replace(part.operand, text=unparse(Literal(part.operand.text)))) if bare else part


def _compiled(part: _Part, column: Column, expressions: Expressions) -> tuple[Program, ...]:
    """The condition that one comparison makes with the column, split at `&&`; nothing when it is faulty."""
    operand = expressions.program(part.node, part.operand, NOBODY, None)  # by itself first: its faults are its own
    if operand is None:
        return ()
    before, after = _around(part, column.program.text)
    text = f"{before}{part.operand.text}{after}" if after else before
    return expressions.predicates(part.node, NOBODY, Piece(text, part.operand.offset - len(before)))


def _around(part: _Part, column: str) -> tuple[str, str]:
    """What stands before and after a cell's operand to make a condition on the column; true and false need neither."""
    if not part.operator and part.operand.text in ("true", "false"):
        return (column if part.operand.text == "true" else f"!({column})"), ""  # as rules say it
    if part.operator.startswith("not"):
        return f"!(({column}) in (", "\n))"  # on a line of its own: the operand may end in a comment
    return f"({column}) {part.operator or '=='} (", "\n)"


def _results(draft: TableDraft, faults: Faults) -> list[Any] | None:
    """The results of all rows, of one type; None when one is faulty."""
    nodes = [row[-1] for row in draft.rows]
    if draft.gives in _RESULTS:
        kept = [node for node in nodes if _RESULTS[draft.gives].check(node, faults)]
        return [float(node.value) for node in kept if isinstance(node, Scalar)] if len(kept) == len(nodes) else None
    first = nodes[0].value if nodes and isinstance(nodes[0], Scalar) else None
    kept = [node for node in nodes if _shape_like(first, all_hits=draft.all_hits).check(node, faults)]
    values = [node.value for node in kept if isinstance(node, Scalar)]
    if len(values) < len(nodes):
        return None
    return [float(value) for value in values] if any(type(value) is float for value in values) else values


def _shape_like(first: Any, *, all_hits: bool) -> Shape:
    """The shape of a derived attribute's results: as the first one; where they add up, a number."""
    if all_hits or (isinstance(first, int | float) and not isinstance(first, bool)):
        return _POINTS
    return Flag() if isinstance(first, bool) else Text()


def _table(draft: TableDraft, results: Sequence[Any], mask: Mask) -> DecisionTable:
    rows = tuple(
        Row(line[0].place.where, tuple(clause for cell in line for clause in cell.clauses), result)
        for line, result in zip(draft.cells, results, strict=True)
    )
    return DecisionTable(
        where=draft.heading.where,
        gives=draft.name if draft.gives == "derived" else draft.gives,
        mask=mask,
        all_hits=draft.all_hits,
        rows=rows,
        index=PredicateIndex([row.clauses for row in rows]),
        reads=frozenset().union(*(clause.reads for row in rows for clause in row.clauses)),
    )
