"""The hierarchy of actions: everything, issue, issue/group, issue/group/action.

A model has one row of weights for each of these, so that an action never seen in training starts where its group
stands. The key of an action names its ancestors, therefore no table of parents is stored anywhere.
"""

from collections.abc import Iterable

from models.errors import InvalidTable

EVERYTHING = ""  # key of the row that belongs to no issue: the mean of all actions


def ancestry(action: str) -> tuple[str, ...]:
    """Keys from everything down to the action itself: ("", "grow", "grow/cards", "grow/cards/gold_upgrade")."""
    issue, *_ = parts = action.split("/")
    if len(parts) != 3 or not all(parts):
        raise InvalidTable(f"action {action!r} is not of the form issue/group/action")
    return EVERYTHING, issue, f"{issue}/{parts[1]}", action


def depth_of(node: str) -> int:
    """0 for everything, 1 for an issue, 2 for a group, 3 for an action."""
    return node.count("/") + 1 if node else 0


def levels_of(actions: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """The nodes that get weights of their own, level by level below everything, each level sorted.

    A level that divides no further than the one above it is left out: with one group per issue, a weight for the group
    could never be told apart from the weight for the issue.
    """
    depths = zip(*(ancestry(action)[1:] for action in actions), strict=True)
    levels: list[tuple[str, ...]] = []
    node_count = 1
    for keys in depths:
        nodes = tuple(sorted(set(keys)))
        if len(nodes) > node_count:
            levels.append(nodes)
            node_count = len(nodes)
    return tuple(levels)


def row_keys_of(actions: Iterable[str]) -> tuple[str, ...]:
    """Every node of the hierarchy in sorted order, the actions and all their ancestors: one row of weights each."""
    return tuple(sorted({key for action in actions for key in ancestry(action)}))
