"""Results as tables, and the page of the documentation that holds them."""

from __future__ import annotations

from .contest import Spread
from .results import Results, Row

BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def tables(results: Results) -> str:
    """Markdown."""
    lines = ["| workload | against | ours | theirs | ratio | quartiles | goal | |", "|---|---|---|---|---|---|---|---|"]
    for row in results.rows:
        goal = "" if row.goal is None else f"{row.goal:.2f}"
        lines.append(
            f"| {row.workload} | {row.peer} | {_amount(row, row.ours)} | {_amount(row, row.theirs)}"
            f" | {row.ahead.median:.2f} | {row.ahead.low:.2f}-{row.ahead.high:.2f} | {goal} | {_mark(row.met)} |"
        )
    lines += ["", "| cost | ours | at most | | others |", "|---|---|---|---|---|"]
    for cost in results.costs:
        most = "" if cost.most is None else f"{cost.most:g} {cost.unit}"
        lines.append(f"| {cost.what} | {cost.value:.3g} {cost.unit} | {most} | {_mark(cost.met)} | {cost.theirs} |")
    if results.profile:
        lines += ["", "| a full handshake's time, both roles | share |", "|---|---|"]
        lines += [f"| {kind} | {share:.0%} |" for kind, share in results.profile.items()]
        lines += ["", "| by function | share |", "|---|---|"]
        lines += [f"| `{name}` | {share:.1%} |" for name, share in results.functions.items()]
    return "\n".join(lines) + "\n"


def page(old: str, results: Results) -> str:
    """The page with its results exchanged; what stands around them stays."""
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    facts = "\n".join(f"* {name}: {value}" for name, value in results.machine.items())
    return f"{before}{BEGIN}\n\n`{results.command}`\n\n{facts}\n\n{tables(results)}\n{END}{after}"


def _amount(row: Row, seconds: Spread) -> str:
    if row.size >= 16_384:
        return f"{row.size / seconds.median / 1e6:,.0f} MB/s"
    return f"{seconds.median * 1e6:,.1f} µs" if seconds.median < 1e-4 else f"{seconds.median * 1e6:,.0f} µs"


def _mark(met: bool | None) -> str:
    return "" if met is None else "met" if met else "**missed**"
