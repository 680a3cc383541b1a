"""Several processes bill one ledger at once: each amount reaches one invoice, each number is given
once and without a gap, a price fix is applied once; on both databases.
"""

import re
import subprocess
import sys

from meter.core.call import Attribution
from meter.core.usage import Usage
from meter.meter import Meter
from meter.store.checking import check
from meter.store.engine import open_engine
from tests.store.examples import CARD, a_call, an_event

PROCESSES = 3
SUBJECTS = 12
BILLING = """
import sys
from meter.errors import InputError
from meter.meter import Meter

with Meter(sys.argv[1]) as meter:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(SUBJECTS):
        for document in meter.invoice(f"user-{number}", "2026-11"):
            print(document.invoice.number)
        if number % 3 == 0:
            try:
                first = meter.invoices(subject=f"user-{number}")[0].invoice.number
                print(meter.void_invoice(first, reason="no").invoice.number)
            except InputError:
                pass
""".replace("SUBJECTS", str(SUBJECTS))
RERATING = """
import sys
from meter.errors import ConflictingWrite
from meter.meter import Meter

with Meter(sys.argv[1]) as meter:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        print(len(meter.rerate(apply=True, author=sys.argv[2])))
    except ConflictingWrite:
        print("conflict")
"""


def is_sound(url: str) -> bool:
    engine = open_engine(url)
    try:
        return list(check(engine)) == []
    finally:
        engine.dispose()


def at_once(source: str, url: str) -> list[list[str]]:
    """Run a program in several processes that begin together; return what each of them said."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", source, url, f"process-{number}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].split() for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES
    return said


def test_invoices_issued_by_many_have_each_number_and_each_amount_once(ledger_url):
    with Meter(ledger_url, durability="process") as meter:
        for number in range(3 * SUBJECTS):
            call = a_call(number, attribution=Attribution(f"user-{number % SUBJECTS}"))
            meter._ledger.store.settle(an_event(call), CARD).result(20)
    said = at_once(BILLING, ledger_url)
    with Meter(ledger_url) as meter:
        for number in range(SUBJECTS):
            meter.invoice(f"user-{number}", "2026-11")
        documents = [each.invoice for each in meter.invoices()]
        assert {name for each in said for name in each} <= {each.number for each in documents}
        # A third of the invoices was taken back by a credit note and issued anew.
        numbers = [int(re.sub(r"\D", "", each.number or "")) for each in documents]
        assert sorted(numbers) == list(range(1, SUBJECTS + 2 * SUBJECTS // 3 + 1))
        for row in meter.usage(by=["subject"]):
            own = [each for each in documents if each.subject == row.group[0]]
            assert sum(line.amount_nanos for each in own for line in each.lines) == row.billed_nanos
    assert is_sound(ledger_url)


def test_a_price_fix_applied_by_many_is_applied_once(ledger_url):
    with Meter(ledger_url, durability="process") as meter:
        for number in range(300):
            call = a_call(number, model_requested="gpt-4o")
            meter._ledger.store.settle(
                an_event(call, Usage(input_tokens=1000), model_served=None), CARD
            ).result(20)
        wrong = meter.usage()[0].cost_nanos
    said = at_once(RERATING, ledger_url)
    with Meter(ledger_url) as meter:
        assert meter.rerate() == []
        right = meter.usage()[0].cost_nanos
        assert all(call.corrections == 1 for call in meter.calls(limit=None))
    assert is_sound(ledger_url)
    # 300 times 1,000 tokens; what they were rated at, and OpenAI's 2.50 USD a million.
    assert (wrong, right) == (300_000_000, 750_000_000)
    assert sorted(said) == [["1"], *[["conflict"]] * (PROCESSES - 1)]
