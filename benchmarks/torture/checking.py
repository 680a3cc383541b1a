"""Time `meter check` on ledgers of growing size: it ought to take as long for each call.

    python -m benchmarks.torture.checking --calls 50000 --database postgresql

The ledgers have as many calls as that, twice and four times as many. CPU time is told, which other
load on the machine does not change, and the most memory that the process has had by then.
"""

import resource
import sys
import time

from benchmarks.ledgers import fill
from benchmarks.torture.stage import a_folder, findings, ledgers, options, show

MAY_GROW = 1.35
"""How much more a call may cost in a ledger four times as large: sorting is not quite linear."""


def main(arguments: list[str]) -> int:
    """Time and print; return 1 when a check finds something or is not linear."""
    given = options(__doc__, calls=50_000).parse_args(arguments)
    figures: dict[str, object] = {}
    broken: list[str] = []
    costs = []
    with ledgers(given.database) as new_ledger:
        for calls in (given.calls, 2 * given.calls, 4 * given.calls):
            with a_folder() as folder, new_ledger(folder) as ledger:
                fill(ledger, calls=calls)
                begun_s, begun_cpu_s = time.monotonic(), time.process_time()
                broken += findings(ledger)
                cpu_us = (time.process_time() - begun_cpu_s) * 1_000_000 / calls
                costs.append(cpu_us)
                memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                figures[f"{calls:,} calls"] = (
                    f"{cpu_us:.0f} µs of CPU a call, {time.monotonic() - begun_s:.1f} s in all, "
                    f"{memory_mb} MB at most"
                )
    if costs[-1] > costs[0] * MAY_GROW:
        broken.append(f"a call takes {costs[-1]:.0f} µs in the largest, {costs[0]:.0f} before")
    return show(f"meter check on {given.database}", figures, broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
