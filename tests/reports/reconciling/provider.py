"""A provider that keeps its own books: its own prices, its own rounding, its own buckets.

It shares no code with the meter. What it bills is what it served, less and more what a test
makes it forget, repeat or charge otherwise.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

# USD for a million tokens: input, cached input, output. developers.openai.com/pricing, 2026-11.
PRICES = {
    "gpt-4o-2024-08-06": ("2.50", "1.25", "10"),
    "gpt-4.1-mini-2025-04-14": ("0.40", "0.10", "1.60"),
    "gpt-5-mini-2025-08-07": ("0.25", "0.025", "2"),
}
HOUR, DAY = 3600, 86_400


@dataclass(frozen=True)
class Served:
    """One call as the provider served it; `at` is seconds since 1970."""

    id: str
    at: float
    model: str
    input: int
    cached: int
    output: int
    seconds: float = 1.0

    def price(self, prices: dict[str, tuple[str, str, str]]) -> Decimal:
        given, cached, taken = (Decimal(text) for text in prices[self.model])
        owed = (self.input - self.cached) * given + self.cached * cached + self.output * taken
        return (owed / 1_000_000).quantize(Decimal("1e-8"), ROUND_HALF_UP)


@dataclass
class Books:
    """Everything that the provider served, and what it bills of it."""

    calls: list[Served] = field(default_factory=list)
    prices: dict[str, tuple[str, str, str]] = field(default_factory=lambda: dict(PRICES))
    ahead_s: float = 0.0

    def forget(self, number: int) -> Served:
        """Bill one call less; return it."""
        return self.calls.pop(number)

    def repeat(self, number: int) -> Served:
        """Bill one call again; return it."""
        self.calls.append(self.calls[number])
        return self.calls[number]

    def add(self, served: Served) -> None:
        """Bill one call more."""
        self.calls.append(served)

    def change(self, number: int, **fields: int) -> Served:
        """Count one call otherwise; return it as it was."""
        before = self.calls[number]
        self.calls[number] = replace(before, **fields)
        return before

    def usage(self, width: int = HOUR) -> dict:
        """Return the usage page of OpenAI's organization API."""
        return self._page(width, self._usage_results)

    def costs(self) -> dict:
        """Return the costs page of OpenAI's organization API."""
        return self._page(DAY, self._cost_results)

    def export(self) -> str:
        """Return a CSV export with a row for each call."""
        lines = ["request_id,created_at,model,prompt_tokens,cached_tokens,completion_tokens,cost"]
        for call in sorted(self.calls, key=lambda each: each.at):
            at = datetime.fromtimestamp(call.at + self.ahead_s, UTC).isoformat()
            lines.append(
                f"{call.id},{at},{call.model},{call.input},{call.cached},{call.output},"
                f"{call.price(self.prices)}"
            )
        return "\n".join(lines) + "\n"

    def balance_at(self, at: float, paid_in: str) -> str:
        """Return what was left of the money paid in."""
        spent = sum(call.price(self.prices) for call in self.calls if call.at < at)
        return str((Decimal(paid_in) - spent).quantize(Decimal("0.0001"), ROUND_HALF_UP))

    def _page(self, width: int, results) -> dict:
        buckets: dict[int, dict[str, list[Served]]] = {}
        for call in self.calls:
            start = int(call.at + self.ahead_s) // width * width
            buckets.setdefault(start, {}).setdefault(call.model, []).append(call)
        data = [
            {"object": "bucket", "start_time": start, "end_time": start + width,
             "results": [each for model, calls in sorted(by_model.items())
                         for each in results(model, calls)]}
            for start, by_model in sorted(buckets.items())
        ]  # fmt: skip
        return {"object": "page", "data": data, "has_more": False, "next_page": None}

    def _usage_results(self, model: str, calls: list[Served]) -> list[dict]:
        return [
            {"object": "organization.usage.completions.result", "model": model, "batch": False,
             "input_tokens": sum(call.input for call in calls),
             "input_cached_tokens": sum(call.cached for call in calls),
             "output_tokens": sum(call.output for call in calls),
             "num_model_requests": len(calls)}
        ]  # fmt: skip

    def _cost_results(self, model: str, calls: list[Served]) -> list[dict]:
        given, cached, taken = (Decimal(text) for text in self.prices[model])
        parts = (
            ("input", sum(call.input - call.cached for call in calls), given),
            ("cached input", sum(call.cached for call in calls), cached),
            ("output", sum(call.output for call in calls), taken),
        )
        return [
            {"object": "organization.costs.result", "line_item": f"{model}, {name}",
             "amount": {"value": float(quantity * price / 1_000_000), "currency": "usd"},
             "quantity": quantity, "quantity_unit": "tokens"}
            for name, quantity, price in parts if quantity
        ]  # fmt: skip
