"""`make chaos`: minutes of kills, freezes, broker failures and lost answers, and what came of it, as a table."""

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from tests.guarantees import callbacks, cluster, commands, watches
from tests.guarantees.accounting.account import Account
from tests.guarantees.stage import apart, stage

Run = Callable[..., Awaitable[tuple[Account, Counter[str]]]]

KINDS: Mapping[str, tuple[Run, Mapping[str, Any], Mapping[str, Any]]] = {
    "commands": (commands.run, commands.SECTIONS, commands.SIMULATED),
    "watches": (watches.run, watches.SECTIONS, watches.SIMULATED),
    "callbacks": (callbacks.run, callbacks.SECTIONS, callbacks.SIMULATED),
    "cluster": (cluster.run, cluster.SECTIONS, cluster.SIMULATED),
}
NODES: Mapping[str, int] = {"cluster": cluster.NODES}


DIMENSIONS: Mapping[str, Collection[str]] = {
    "commands": commands.DIMENSIONS,
    "watches": watches.DIMENSIONS,
    "callbacks": callbacks.DIMENSIONS,
    "cluster": (),
}


async def one(
    kind: str, *, seed: int, seconds: float, folder: Path, workers: int = 1, dimensions: Collection[str] = ()
) -> tuple[Account, Counter[str]]:
    """One run of a kind on a stage of its own, with those of the dimensions that it has."""
    run, sections, simulated = KINDS[kind]
    chosen = [name for name in DIMENSIONS[kind] if name in dimensions]
    simulated = {**simulated, "clock_ahead": apart(seed)} if "clocks" in chosen else simulated
    nodes = NODES.get(kind, 1)
    async with stage(folder, seed=seed, nodes=nodes, workers=workers, simulated=simulated, **sections) as playing:
        return await run(playing, seed=seed, seconds=seconds, dimensions=chosen)


def report(kind: str, *, seed: int, seconds: float, account: Account, disturbances: Counter[str]) -> str:
    """What is printed of a run."""
    trouble = ", ".join(f"{count} {name}" for name, count in sorted(disturbances.items()))
    verdict = "KEPT" if account.kept else "BROKEN"
    head = f"{kind}: {seconds:.0f} s, seed {seed}; {disturbances.total()} disturbances: {trouble}"
    return f"\n{head}\n{account.table()}\n{verdict}"


def main() -> None:
    """Run what the arguments say; exit with 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.guarantees.chaos", description=__doc__)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    parser.add_argument("kinds", nargs="*", choices=[[], *KINDS], default=[], help="default: all")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    known = sorted({name for names in DIMENSIONS.values() for name in names})
    parser.add_argument("--only", nargs="+", choices=known, help="of the dimensions only these")
    parser.add_argument("--without", nargs="+", choices=known, default=[], help="all of the dimensions but these")
    parser.add_argument("--workers", type=int, default=1, help="workers of each process")
    parser.add_argument("--logs", type=Path, help="where the processes' logs go")
    given = parser.parse_args()
    dimensions = [name for name in given.only or known if name not in given.without]
    kept = True
    for kind in given.kinds or KINDS:
        folder = (given.logs or Path(tempfile.mkdtemp(prefix="chaos-"))) / f"{kind}-{int(time.time())}"
        folder.mkdir(parents=True)
        _say(f"{kind}: seed {given.seed}, dimensions {' '.join(dimensions) or 'none'}, logs in {folder}")
        account, done = asyncio.run(
            one(
                kind,
                seed=given.seed,
                seconds=given.seconds,
                folder=folder,
                workers=given.workers,
                dimensions=dimensions,
            )
        )
        _say(report(kind, seed=given.seed, seconds=given.seconds, account=account, disturbances=done))
        kept = kept and account.kept
    sys.exit(0 if kept else 1)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
