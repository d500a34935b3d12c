"""Where measured results are kept: `docs/data/NAME.json`, each written by the command that measured it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DATA = ROOT / "docs" / "data"


def measured(name: str) -> dict[str, Any]:
    """What was measured last; empty when nothing was."""
    path = DATA / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def keep(name: str, results: dict[str, Any]) -> None:
    """Write down what was measured."""
    DATA.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    (DATA / f"{name}.json").write_text(text, encoding="utf-8")
