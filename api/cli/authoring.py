"""`nextbest fmt` and `nextbest schema`: help for those who write strategies."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from decisioning.catalog.formatting import formatted
from decisioning.catalog.json_schema import schemas
from decisioning.catalog.load import read_bundle


@click.command()
@click.argument("strategy_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 when something would change.")
def fmt(strategy_dir: Path, check: bool) -> None:
    """Write the rules of a strategy in their normal spelling; layout and comments stay."""
    files = read_bundle(strategy_dir)
    changed = {path: text for path, content in files.items() if (text := formatted(path, content)) != content}
    for path, text in changed.items():
        if not check:
            (strategy_dir / path).write_bytes(text)
        click.echo(f"{'would change' if check else 'changed'} {path}")
    if check and changed:
        sys.exit(1)


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def schema(out: Path) -> None:
    """Write JSON Schemas of all kinds of strategy files, by which editors complete and check them."""
    out.mkdir(parents=True, exist_ok=True)
    for name, body in schemas().items():
        (out / name).write_text(json.dumps(body, indent=2) + "\n")
    click.echo(f"{len(schemas())} schemas written to {out}")
