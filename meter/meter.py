"""The façade: one object that meters calls and answers questions about them.

    meter = Meter("sqlite:///meter.db")
    client = meter.wrap(OpenAI())
    with attribute("alice", team="search"):
        client.chat.completions.create(...)
    for row in meter.usage(by=("subject", "model")): ...
    meter.close()

Heavy parts (the database, tiktoken, price lists) are imported on first use, so that
`import meter` stays quick.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from uuid import UUID

from meter.attribution import present
from meter.config import Settings, load_settings
from meter.core.budgets import Budget, Measure, Scope, ScopeKind
from meter.core.money import nanos_from_text
from meter.core.rates import microseconds_of
from meter.core.usage import Usage
from meter.core.windows import Window
from meter.errors import InputError

if TYPE_CHECKING:
    from meter.clients.httpx2_transport import (
        AsyncMeterTransport as AsyncMeterTransport2,
    )
    from meter.clients.httpx2_transport import (
        MeterTransport as MeterTransport2,
    )
    from meter.clients.httpx_transport import AsyncMeterTransport, MeterTransport
    from meter.core.calibrating import Calibration
    from meter.core.monthly import Adjustment
    from meter.core.rating import ChargeLine
    from meter.core.statements import Statement
    from meter.exports.archiving import Archived
    from meter.exports.delivering import Delivered
    from meter.exports.exporting import Exported
    from meter.exports.focus import Side
    from meter.gateway.app import Gateway
    from meter.manual import ManualCall
    from meter.reports.charging import Book
    from meter.reports.estimating import RequestEstimate
    from meter.reports.invoicing import Document, Invoicing
    from meter.reports.reconciling.bill import Bill
    from meter.reports.reconciling.differences import Reconciliation
    from meter.reports.rerating import RerateRow
    from meter.store.calibration import Place
    from meter.store.keys import Keys
    from meter.store.months import Months
    from meter.store.reads import AccuracyRow, BudgetRow, CallRow, TimingRow, UsageRow
    from meter.store.upstream_rows import StoredUpstreams

Client = TypeVar("Client")


class Meter:
    """Meters calls into one ledger. Thread-safe; make one for each process and ledger.

    `url` is an SQLAlchemy address of SQLite or PostgreSQL (default: the setting `database_url`).
    Further keyword arguments are settings by name (`meter.config.Settings`). With `read_only`
    the ledger can be asked and not written: the database itself refuses it.

    Raises: ConfigError for a setting that is not allowed, StoreUnavailable when the ledger
    cannot be opened, SchemaMismatch when its schema is not this release's.
    """

    def __init__(self, url: str | None = None, *, read_only: bool = False, **settings: Any) -> None:
        """Open the ledger; a fresh SQLite file is created and migrated."""
        from meter.crediting import PrepaidCredit
        from meter.imported import ImportedPrices
        from meter.pipeline import Pipeline
        from meter.prices.book import PriceBook
        from meter.store.ledger import Ledger

        self._given = {"database_url": url, **settings}
        self.settings: Settings = load_settings(self._given)
        self._ledger = Ledger(self.settings, read_only=read_only)
        self.keys: Keys = self._ledger.keys
        self.upstreams: StoredUpstreams = self._ledger.upstreams
        self.months: Months = self._ledger.months
        self.credits = PrepaidCredit(self._ledger.credits, read_only=read_only)
        self.prices = PriceBook.bundled(self.settings.rate_files)
        self._imported = ImportedPrices(self.prices, self._ledger.price_files)
        try:
            self._imported.refresh()
            if not read_only and self.settings.on_unsettled != "list":
                from meter.reports.settling import settle_as_set

                settle_as_set(self._ledger, self.prices, self.settings)
        except BaseException:
            self._ledger.close()
            raise
        self._warming = False
        self.pipeline: Pipeline = Pipeline(
            self._ledger.store, self.prices, self.settings, calibrator=self._ledger.learner
        )

    def __enter__(self) -> "Meter":
        """Return this meter; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the meter."""
        self.close()

    def close(self) -> None:
        """Write what is still waiting, and let go of the ledger. Calling it again does nothing."""
        self._ledger.close()

    # Wrapping

    def wrap(self, client: Client) -> Client:
        """Return a metered copy of a client; the given one is left as it is.

        Takes the clients of openai, anthropic, google-genai, mistralai, groq and cohere, sync
        and async, and plain httpx and httpx2 clients.

        Raises: WrapError when the object is none of these.
        """
        from meter.clients.sdk import wrap

        self._warm_up()
        return wrap(client, self.pipeline)

    def transport(self, inner: Any = None) -> "MeterTransport":
        """Return a metered transport for an `httpx.Client`; `inner` does the sending."""
        from meter.clients.httpx_transport import MeterTransport

        return MeterTransport(inner, self.pipeline)

    def async_transport(self, inner: Any = None) -> "AsyncMeterTransport":
        """Return a metered transport for an `httpx.AsyncClient`; `inner` does the sending."""
        from meter.clients.httpx_transport import AsyncMeterTransport

        return AsyncMeterTransport(inner, self.pipeline)

    def httpx2_transport(self, inner: Any = None) -> "MeterTransport2":
        """Return a metered transport for an `httpx2.Client`; `inner` does the sending."""
        from meter.clients.httpx2_transport import MeterTransport

        return MeterTransport(inner, self.pipeline)

    def async_httpx2_transport(self, inner: Any = None) -> "AsyncMeterTransport2":
        """Return a metered transport for an `httpx2.AsyncClient`; `inner` does the sending."""
        from meter.clients.httpx2_transport import AsyncMeterTransport

        return AsyncMeterTransport(inner, self.pipeline)

    def _warm_up(self, *, gives_back: bool = False) -> None:
        """Load ranks and prices beside the caller, so that its first call does not wait.

        `gives_back`: the process is the gateway's own, and what is left over is returned.
        """
        if not self._warming:
            self._warming = True
            threading.Thread(
                target=self._load, args=[gives_back], name="meter-warm-up", daemon=True
            ).start()

    def _load(self, gives_back: bool) -> None:
        from meter.memory import give_back
        from meter.tokens.counting import count_text

        # One after the other, so that the second takes the room that the first has left.
        for load in (self.prices.warm, lambda: count_text("warm", "o200k_base")):
            load()
            if gives_back:
                give_back()

    # Serving

    def gateway(self, upstreams: Mapping[str, str] | None = None) -> "Gateway":
        """Return the gateway as an ASGI application.

        `upstreams` leads from names to base URLs; those of the settings are used besides, and
        give the rest (a credential comes from METER_UPSTREAM_<NAME>_KEY).

        Raises: InputError without the extra `gateway`, ConfigError for an upstream that cannot
        be used.
        """
        try:
            from meter.gateway.app import Gateway
            from meter.gateway.upstreams import Upstreams, read_upstreams
        except ImportError as error:
            raise InputError(
                f"the gateway needs {error.name}: pip install 'metergate[gateway]'"
            ) from None

        def read() -> Upstreams:
            settings = load_settings(self._given)
            stored = self._ledger.upstreams.all()
            return read_upstreams(settings.upstreams, upstreams, stored=stored)

        found = read()
        self._warm_up(gives_back=True)
        return Gateway(self.pipeline, self._ledger, found, read)

    # Limits

    def set_budget(
        self,
        name: str,
        *,
        limit: str | int,
        subject: str | None = None,
        team: str | None = None,
        project: str | None = None,
        tag: tuple[str, str] | None = None,
        model: str | None = None,
        key: str | None = None,
        currency: str = "USD",
        measure: str = "money",
        window: str = "month",
        tz: str = "UTC",
    ) -> Budget:
        """Set (or replace) the budget of that name and return it.

        `limit` is a decimal text in `currency` for `measure="money"`, else a whole number of
        "tokens" or "calls". At most one of `subject`, `team`, `project`, `tag`, `model` and
        `key` (a gateway key's id) narrows the scope; without one it limits everything. `window` is
        minute, hour, day, week, month or total in `tz`, or "rolling:24h" (any number of m, h or d:
        what was spent in the time that has just passed, by the 24th of it); one of a minute is a
        rate limit.

        Raises: InputError or ConfigError naming what was found and expected.
        """
        budget = Budget(
            id=name,
            scope=_scope(subject, team, project, tag, model, key),
            measure=_one_of(Measure, measure, "measure"),
            limit=_limit(limit, measure),
            currency=currency if measure == "money" else None,
            window=Window.named(window, tz),
        )
        self._ledger.set_budget(budget)
        return budget

    def remove_budget(self, name: str) -> bool:
        """Remove the budget of that name; return whether there was one."""
        return self._ledger.remove_budget(name)

    def budgets(self) -> "list[BudgetRow]":
        """Return every budget with what is spent and held in its present window."""
        return self._ledger.budgets()

    def reserve(
        self,
        *,
        provider: str,
        model: str,
        input_tokens: int,
        max_output_tokens: int,
        endpoint: str = "manual",
    ) -> "ManualCall":
        """Reserve for a call that `meter` does not see on the wire; settle it by hand.

        Attributed to the surrounding `attribute(...)`. Raises: CallRefused when a budget does
        not allow it, StoreError when the ledger is away.
        """
        from meter.manual import ManualCall

        return ManualCall.open(
            self.pipeline,
            attribution=present(),
            provider=provider,
            model=model,
            endpoint=endpoint,
            input_tokens=input_tokens,
            max_output_tokens=max_output_tokens,
        )

    # Asking

    def usage(
        self,
        by: Sequence[str] = ("subject", "model"),
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        window: str | None = None,
        tz: str = "UTC",
        **filters: str,
    ) -> list["UsageRow"]:
        """Return sums over ended calls, one row for each combination of `by` and currency.

        `by`: subject, model, provider, endpoint, key, outcome, basis, card, tier, hour, day, week,
        month, team, project or "tag:<name>". The half-open interval [since, until) takes aware
        datetimes; `window` ("day", "month", …) is the present window in `tz` instead. `filters`
        keep rows by subject, model, provider, endpoint or basis.

        With the setting `clickhouse_url` the sums are those of the calls that were copied there.

        Raises: InputError for a name that is not one of these.
        """
        since_us, until_us = _interval(since, until, window, tz)
        asked: dict[str, Any] = {
            "since_us": since_us, "until_us": until_us, "tz": tz, "filters": filters,
        }  # fmt: skip
        if self.settings.clickhouse_url:
            from meter.exports import clickhouse

            return clickhouse.usage(self.settings.clickhouse_url, by, **asked)
        return self._ledger.usage(by, **asked)

    def calls(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = 1000,
        newest_first: bool = True,
        order: str = "started",
        offset: int = 0,
        **filters: Any,
    ) -> Iterator["CallRow"]:
        """Return calls one by one, corrections applied; `filters` as for `usage`.

        `order` is started, cost, duration, input_tokens or output_tokens, the greatest first
        unless `newest_first` is false; the first `offset` calls are left out. Of the filters,
        `search` finds a part of subject, model, key, response id or path.
        """
        since_us, until_us = _interval(since, until, None, "UTC")
        return self._ledger.calls(
            since_us=since_us,
            until_us=until_us,
            limit=limit,
            newest_first=newest_first,
            order=order,
            offset=offset,
            filters=filters,
        )

    def models(self) -> list[tuple[str, str]]:
        """Return (provider, model) of every model that a call ever asked for."""
        return self._ledger.models()

    def subjects(self, limit: int = 1000) -> list[str]:
        """Return the subjects that spent anything, the greatest spender first."""
        return self._ledger.subjects(limit)

    def timings(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 20_000,
        **filters: str,
    ) -> "list[TimingRow]":
        """Return how long the newest `limit` completed calls took, by provider and model."""
        since_us, until_us = _interval(since, until, None, "UTC")
        return self._ledger.timings(
            since_us=since_us, until_us=until_us, limit=limit, filters=filters
        )

    def export(
        self,
        format: str,
        target: str | Path | BinaryIO,
        *,
        of: str = "calls",
        book: "Book" = "cost",
        by: Sequence[str] = ("subject", "model"),
        since: datetime | None = None,
        until: datetime | None = None,
        tz: str = "UTC",
        follow: str | Path | None = None,
        progress: Callable[[int], None] | None = None,
        **filters: str,
    ) -> "Exported":
        """Write calls, charge lines, sums or entries to a file; return the rows and their totals.

        `format`: csv, jsonl, parquet or xlsx. `target`: a path, an open binary file, or "-" for
        standard output. `of`: "calls", "lines" (of the price book cost, list or billed), "usage"
        (grouped `by`) or "entries". The file is streamed, and appears under its name when it is
        whole. `filters` as for `usage`; entries take none. `progress` is told how many rows are
        written so far.

        `follow` names a state file: what was committed since the last export with it is written,
        in the order of the commits, late ends and corrections included, each record once.
        "{portion}" in `target` becomes the number of the last portion. Without news no file is
        written.

        Raises: InputError for a name that is not one of these and for a target that cannot be.
        """
        from meter.exports.exporting import export
        from meter.exports.following import follow_export
        from meter.exports.sources import source

        if follow is not None:
            if since is not None or until is not None:
                raise InputError("found an interval of time to follow, expected none")
            return follow_export(
                self._ledger, Path(follow), of, format, target, tz=tz, book=book,
                filters=filters, progress=progress,
            )  # fmt: skip
        since_us, until_us = _interval(since, until, None, tz)
        table, rows = source(
            self._ledger,
            of,
            book=book,
            by=by,
            since_us=since_us,
            until_us=until_us,
            tz=tz,
            filters=filters,
        )
        return export(rows, table, format, target, tz=tz, progress=progress)

    def export_focus(
        self,
        target: str | Path,
        *,
        version: str = "1.2",
        side: "Side" = "cost",
        account: str = "default",
        since: datetime | None = None,
        until: datetime | None = None,
        tz: str = "UTC",
        progress: Callable[[int], None] | None = None,
        **filters: str,
    ) -> "tuple[Exported, int]":
        """Write charges in FOCUS 1.2, 1.3 or 1.4; return what was written, and the calls left out.

        `target` ends in .csv, .parquet, .jsonl or .xlsx. `side`: "cost", what issuers charge, or
        "billed", what subjects are charged, with nothing of the cost in it. `account` is the
        billing account. Charges are by the day in `tz`. Calls without a price have no row.

        Raises: InputError for a version, a side or a name that is not one of these.
        """
        from meter.exports.exporting import export
        from meter.exports.focus import FocusRows, Said, focus_table
        from meter.exports.formats import format_of_name

        if side not in ("cost", "billed"):
            raise InputError(f"found side {side!r}, expected cost or billed")
        table, format = focus_table(version), format_of_name(str(target))
        since_us, until_us = _interval(since, until, None, tz)
        seller = self.settings.invoice_seller.strip().partition("\n")[0] or "meter"
        focus = FocusRows(version, Said(side, account, seller), tz, self._ledger.rate_card)
        calls = self._ledger.calls(
            since_us=since_us, until_us=until_us, limit=None, newest_first=False, filters=filters
        )
        done = export(focus.rows(calls), table, format, target, tz=tz, progress=progress)
        return done, focus.unpriced

    def archive(
        self,
        folder: str | Path,
        keep_months: int = 13,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> "Iterator[Archived]":
        """Write each month but the last whole ones to Parquet files in a folder, and remove it.

        The oldest comes first; each is yielded when its calls have left the ledger. Their sums,
        entries, movements of credit and invoices stay. `progress` is told how many calls of a month
        are written.

        Raises: InputError when something still needs a month: calls in flight, what was not
        invoiced yet to who is invoiced, who follows the feed and has not read so far.
        """
        from meter.clock import now_us
        from meter.exports.archiving import archive
        from meter.store.months import Month

        if not Path(folder).is_dir():
            raise InputError(f"found no folder {folder}, expected one to write the months into")
        at_us = now_us()
        before = Month.of(at_us)
        for _ in range(max(keep_months, 1)):
            before = Month.of(before.start_us - 1)
        return archive(
            self._invoicing(), Path(folder), before_us=before.start_us, now_us=at_us,
            progress=progress,
        )  # fmt: skip

    def export_clickhouse(
        self,
        follow: str | Path,
        *,
        to: str | None = None,
        book: "Book" = "cost",
        progress: Callable[[int], None] | None = None,
    ) -> "Delivered":
        """Copy calls and charge lines to ClickHouse: what was committed since the last time.

        `follow` names the state file. `to` is the address (default: the setting `clickhouse_url`),
        `book` the price book of the lines. What is sent twice is there once. `progress` is told how
        many statements were sent so far.

        Raises: InputError without an address, StoreUnavailable when ClickHouse is away.
        """
        from meter.exports import clickhouse

        url = to or self.settings.clickhouse_url
        if not url:
            raise InputError(
                "found no address of ClickHouse, expected --to or METER_CLICKHOUSE_URL"
            )
        return clickhouse.follow(self._ledger, url, Path(follow), book=book, progress=progress)

    def export_events(
        self,
        system: str,
        *,
        target: str | Path | None = None,
        to: str | None = None,
        token: str | None = None,
        follow: str | Path | None = None,
        prefix: str = "meter_",
        customers: Mapping[str, str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> "Delivered":
        """Hand consumption to another billing system: "openmeter", "lago" or "stripe".

        Either into the file `target`, or by POST to the address `to` with the bearer `token`. With
        `follow`, a state file, what was not yet taken, each event at least once and always under
        the same id; by HTTP it is needed. `prefix` begins the names of meters, which end in the
        unit. `customers` leads from subjects to that system's customers; other subjects are left
        out. Calls without a subject have no event.

        Raises: InputError for a name that is not one of these, and when events are refused.
        """
        from meter.exports.delivering import Sender, deliver_by_http, deliver_to_file

        if (target is None) == (to is None):
            raise InputError("found both or none of a file and an address, expected one of them")
        if to is None:
            return deliver_to_file(
                self._ledger, system, str(target), prefix=prefix, customers=customers,
                state_file=None if follow is None else Path(follow), progress=progress,
            )  # fmt: skip
        if follow is None:
            raise InputError("found no state file, expected one: it says what was sent already")
        sender = Sender(to, token)
        try:
            return deliver_by_http(
                self._ledger, system, sender, prefix=prefix, customers=customers,
                state_file=Path(follow), progress=progress,
            )  # fmt: skip
        finally:
            sender.close()

    def invoice(
        self,
        subject: str,
        period: str,
        *,
        tz: str = "UTC",
        draft: bool = False,
        bill_to: str = "",
        progress: Callable[[int], None] | None = None,
    ) -> "list[Document]":
        """Issue what a subject is billed for a period, one invoice for each currency.

        `period` is "2026-11", "2026-11-05", "2026-Q4" or "2026" in `tz`. Asking again returns the
        same documents; late records come as adjustments on the next period's. A `draft` shows what
        would be issued and writes nothing. `bill_to` is a text on the invoice. `progress` is told
        how many calls were read.

        Raises: InputError when there is nothing to bill or the period overlaps an invoiced one.
        """
        from meter.clock import now_us
        from meter.core.invoices import period_named
        from meter.reports.invoice_documents import to_json
        from meter.reports.invoicing import Document

        invoicing = self._invoicing()
        invoicing.progress = progress
        invoicing.parties = replace(invoicing.parties, bill_to=bill_to)
        named = period_named(period, tz)
        if draft:
            found = invoicing.draft(subject, named, now_us())
            return [Document(invoice, to_json(invoice)) for invoice in found]
        return [Document.of(row) for row in invoicing.issue(subject, named, now_us())]

    def invoices(
        self, *, subject: str | None = None, number: str | None = None
    ) -> "list[Document]":
        """Return the invoices and credit notes that were issued, oldest first."""
        from meter.reports.invoicing import Document

        found = self._ledger.invoices.listed(subject=subject, number=number)
        return [Document.of(row) for row in found]

    def void_invoice(self, number: str, *, reason: str) -> "Document":
        """Take an invoice back by a credit note with a number of its own, and return that.

        Raises: InputError when there is no such invoice, or it does not stand.
        """
        from meter.clock import now_us
        from meter.reports.invoicing import Document

        return Document.of(self._invoicing().void(number, reason, now_us()))

    def _invoicing(self) -> "Invoicing":
        from meter.core.invoices import Parties, tax_named
        from meter.reports.invoicing import Invoicing

        settings = self.settings
        return Invoicing(
            self._ledger,
            monthly=self.prices.monthly,
            prefix=settings.invoice_prefix,
            tax=tax_named(settings.invoice_tax_label, settings.invoice_tax_percent),
            parties=Parties(seller=settings.invoice_seller, note=settings.invoice_note),
        )

    def count_calls(
        self, *, since: datetime | None = None, until: datetime | None = None, **filters: str
    ) -> int:
        """Return how many calls have ended in [since, until); `filters` as for `usage`."""
        since_us, until_us = _interval(since, until, None, "UTC")
        return self._ledger.count_calls(since_us=since_us, until_us=until_us, filters=filters)

    def lines(self, call: "CallRow", book: "Book" = "billed") -> "tuple[ChargeLine, ...]":
        """Return the charge lines of a call: of its "cost", its "list" price or what is "billed".

        They sum to that amount, to the nano; () where it is zero or not known.
        """
        from meter.reports.charging import lines_of

        return lines_of(call, book, self._ledger.rate_card)

    def statement(
        self,
        subject: str,
        currency: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        tz: str = "UTC",
        by: Sequence[str] = ("day",),
    ) -> "Statement":
        """Return the prepaid credit of a subject line by line; see `Meter.credits`."""
        return self.credits.statement(subject, currency, since=since, until=until, tz=tz, by=by)

    def adjustments(
        self, subject: str, month: str | None = None, *, tz: str = "UTC"
    ) -> "list[Adjustment]":
        """Return what free allowances and volume tiers change of what a subject is billed.

        `month` is one such as "2026-11" in `tz` (default: the present one). Raises: InputError.
        """
        from meter.clock import now_us
        from meter.core.invoices import period_named
        from meter.reports.adjusting import month_adjustments

        if month is None:
            start_us, end_us = Window.named("month", tz).bounds(now_us())
        else:
            period = period_named(month, tz)
            start_us, end_us = period.start_us, period.end_us
            if Window.named("month", tz).bounds(start_us) != (start_us, end_us):
                raise InputError(f"found {month!r}, expected a month such as 2026-11")
        calls = self._ledger.calls(
            since_us=start_us, until_us=end_us, limit=None, newest_first=False,
            filters={"subject": subject},
        )  # fmt: skip
        return month_adjustments(
            calls, self.prices.monthly, self._ledger.rate_card, subject=subject, month_us=start_us
        )

    def accuracy(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> "list[AccuracyRow]":
        """Return how input estimates compared with what providers reported, by model.

        `limit` looks at the newest so many calls only; None: at all of them.
        """
        since_us, until_us = _interval(since, until, None, "UTC")
        return self._ledger.accuracy(since_us=since_us, until_us=until_us, limit=limit)

    def calibrations(self) -> "list[tuple[Place, Calibration]]":
        """Return how estimates of prompts are corrected, for each model and kind of content."""
        return list(self._ledger.calibrations.learnt().items())

    def forget_calibrations(self, provider: str | None = None, model: str | None = None) -> int:
        """Forget what was learnt of a provider, a model, or all; return how many samples went.

        Records stay as they are. A process that runs corrects as before until it learns anew,
        within ten minutes.
        """
        return self._ledger.calibrations.forget(provider, model)

    def rerate(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        apply: bool = False,
        author: str = "rerate",
        **filters: str,
    ) -> "list[RerateRow]":
        """Rate ended calls again with the prices as they are known now; return what changes.

        With `apply` the calls whose amount changes get corrections, all in one transaction; a
        second run then finds nothing. `filters` as for `usage`.

        Raises: InputError for a filter that does not exist, ConflictingWrite (nothing is then
        written) when one of the calls was corrected meanwhile.
        """
        from meter.reports.rerating import rerated, summed

        chosen: dict[str, Any] = dict(filters)
        calls = self.calls(since=since, until=until, limit=None, newest_first=False, **chosen)
        changes = list(rerated(calls, self.prices))
        if apply:
            self._ledger.correct_all([(c.correction(author), c.cards) for c in changes])
        return summed(changes)

    def settle(
        self,
        call_id: str | UUID,
        usage: Mapping[str, int | str | Decimal],
        *,
        reason: str,
        author: str,
        basis: str = "reported",
    ) -> "CallRow":
        """Say by hand what an ended call has used; return the call as it is known now.

        `usage` has quantities by unit; empty: nothing is owed. The correction keeps `reason` and
        `author` and is rated with the card of the call's start. `basis` is "reported" (a bill
        says so) or "estimated".

        Raises: InputError for a call that is not there or has not ended and for a quantity that
        is no number, UnitError for a unit or a quantity that cannot be, ConflictingWrite when
        the call was corrected meanwhile.
        """
        from meter.core.call import Basis
        from meter.reports.settling import settled_by_hand

        quantities = _quantities(usage)
        known = next(self.calls(id=str(call_id)), None)
        if known is None:
            raise InputError(f"found no ended call {call_id}, expected one that `calls` lists")
        made, cards = settled_by_hand(
            known,
            quantities,
            _one_of(Basis, basis, "basis"),
            self.prices,
            reason=reason,
            author=author,
        )
        self._ledger.correct_all([(made, cards)])
        return next(self.calls(id=str(call_id)))

    def settle_unsettled(
        self,
        policy: "str | Callable[[CallRow], Mapping[str, int | str | Decimal] | None]",
        *,
        older_than: timedelta,
        author: str = "policy",
    ) -> "tuple[list[CallRow], int]":
        """Settle the calls whose end nobody saw; return them as now known, and how many are left.

        `policy`: "estimate" (the prompt as it was counted, no output), "nothing" (nothing is
        owed), or a function that says what a call has used, None where it does not know: a bill,
        for one. Only calls that started longer ago than `older_than` are looked at. Doing it again
        changes nothing: what is settled is not unsettled.
        One whose end comes meanwhile is left as that says.

        Raises: InputError for a policy that does not exist.
        """
        from meter.clock import now_us
        from meter.reports.settling import owed_by_policy, settle_unsettled

        def used(call: "CallRow") -> Usage | None:
            if isinstance(policy, str):
                return owed_by_policy(policy, call)
            found = policy(call)
            return None if found is None else _quantities(found)

        settled, left = settle_unsettled(
            self._ledger,
            self.prices,
            used,
            name=policy if isinstance(policy, str) else getattr(policy, "__name__", "a function"),
            until_us=now_us() - older_than // timedelta(microseconds=1),
            author=author,
        )
        return [next(self.calls(id=str(call_id))) for call_id in settled], left

    def reconcile(
        self,
        bill: "Bill",
        *,
        provider: str,
        tolerance: str | Decimal = "0.01",
        keys: Sequence[str] = (),
        tz: str = "UTC",
    ) -> "Reconciliation":
        """Hold an issuer's bill (`reports.reconciling.reading.read_bill`) against the ledger.

        `provider` is who billed, as calls name it. `tolerance` is money in the bill's currency.
        `keys` are the bill's names for keys that are ours (none: all). `tz` is the zone in which
        a bill of single calls is summed by day. Writes nothing.

        Raises: MoneyError for a tolerance that is no amount.
        """
        from meter.core.money import nanos_from_text
        from meter.reports.reconciling.comparing import Terms, reconcile

        def calls_in(since_us: int, until_us: int) -> Iterator["CallRow"]:
            return self._ledger.calls(
                since_us=since_us,
                until_us=until_us,
                limit=None,
                newest_first=False,
                filters={"provider": provider},
            )

        terms = Terms(provider, nanos_from_text(str(tolerance)), frozenset(keys), tz)
        return reconcile(bill, calls_in, self.prices, terms)

    def settle_from(
        self, reconciliation: "Reconciliation", *, author: str
    ) -> "list[tuple[UUID, CallRow]]":
        """Settle the calls whose usage a bill tells without doubt; return them as now known.

        Those are the unsettled or estimated calls that stand alone in their place of the bill.
        Doing it again changes nothing: what is settled no longer differs.

        Raises: ConflictingWrite when such a call was corrected meanwhile.
        """
        found = []
        for each in reconciliation.differences:
            if each.settles is None:
                continue
            call_id, used = each.settles
            reason = f"{reconciliation.name} counts it"
            found.append((call_id, self.settle(call_id, used, reason=reason, author=author)))
        return found

    def estimate(
        self, request: Mapping[str, Any], *, provider: str = "openai", endpoint: str = "chat"
    ) -> "RequestEstimate":
        """Return the input tokens and the upper-bound cost of a request body, sending nothing."""
        from meter.reports.estimating import estimate_request

        return estimate_request(request, provider, endpoint, self.prices)


def _interval(
    since: datetime | None, until: datetime | None, window: str | None, tz: str
) -> tuple[int | None, int | None]:
    if window is not None:
        from meter.clock import now_us

        chosen, at_us = Window.named(window, tz), now_us()
        return (at_us - chosen.length_us, at_us) if chosen.is_rolling else chosen.bounds(at_us)
    for moment in (since, until):
        if moment is not None and moment.tzinfo is None:
            raise InputError(f"found {moment} without a time zone, expected an aware datetime")
    return (
        None if since is None else microseconds_of(since),
        None if until is None else microseconds_of(until),
    )


def _quantities(usage: Mapping[str, int | str | Decimal]) -> Usage:
    """Return quantities by unit as usage. Raises: InputError, UnitError."""
    return Usage({name: _quantity(name, given) for name, given in usage.items()})


def _quantity(name: str, given: int | str | Decimal) -> int | Decimal:
    """Return a quantity, whole where it is whole."""
    try:
        number = Decimal(given)
    except (ArithmeticError, ValueError, TypeError):
        raise InputError(f"found {given!r} for {name}, expected a number of it") from None
    return int(number) if number.is_finite() and number == int(number) else number


def _scope(
    subject: str | None,
    team: str | None,
    project: str | None,
    tag: tuple[str, str] | None,
    model: str | None,
    key: str | None,
) -> Scope:
    given = [
        Scope(ScopeKind.SUBJECT, subject) if subject is not None else None,
        Scope(ScopeKind.TAG, f"team={team}") if team is not None else None,
        Scope(ScopeKind.TAG, f"project={project}") if project is not None else None,
        Scope(ScopeKind.TAG, "=".join(tag)) if tag is not None else None,
        Scope(ScopeKind.MODEL, model) if model is not None else None,
        Scope(ScopeKind.KEY, key) if key is not None else None,
    ]
    scopes = [scope for scope in given if scope is not None]
    if len(scopes) > 1:
        raise InputError(
            "found several of subject, team, project, tag, model and key, expected at most one"
        )
    return scopes[0] if scopes else Scope(ScopeKind.EVERYTHING)


def _limit(limit: str | int, measure: str) -> int:
    try:
        number = nanos_from_text(str(limit)) if measure == "money" else int(limit)
    except ValueError:
        raise InputError(
            f"found a limit of {str(limit)!r:.80}, expected a whole number of {measure}"
        ) from None
    if number < 0:
        raise InputError(f"found a limit of {limit}, expected 0 or more")
    return number


def _one_of(kind: type[Any], name: str, what: str) -> Any:
    try:
        return kind(name)
    except ValueError:
        expected = ", ".join(choice.value for choice in kind)
        raise InputError(f"found {what} {name!r}, expected one of {expected}") from None
