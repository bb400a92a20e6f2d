"""Bounds that keep any rule text cheap and finite, whoever wrote it.

Each is far above what a strategy needs and far below what would hurt: a text at every limit at once still loads in
under a second and evaluates in some tens of milliseconds. Crossing one raises RuleSyntaxError at load or
EvaluationError at evaluation.
"""

MAX_TEXT_LENGTH = 10_000  # characters of one expression
MAX_NODES = 2_000  # nodes of one tree
MAX_DEPTH = 100  # nesting of one tree; checker and closures spend at most four Python frames a level
MAX_PATTERN_LENGTH = 500  # characters of a pattern for matches(); RE2 itself is linear in the text
MAX_PATTERN_MEMORY = 1 << 20  # bytes RE2 may spend on one compiled pattern
MAX_VALUE_LENGTH = 100_000  # characters, bytes or elements of a value made during evaluation
MAX_VALUE_DEPTH = 64  # nesting of lists and maps that equality and formatting follow
MAX_WORK = 50_000  # node evaluations a program with loops may spend, at most about 1 µs each
MAX_PRECISION = 100  # digits after the point in format()
MAX_NUMBER_LENGTH = 400  # characters of a number or duration read from text
