"""Drive real SDKs, wrapped, for several users: the traffic of the demo.

Every call is one a product would make: a chat turn, a streamed answer, a legacy completion, an
embedding, an Anthropic message, a Gemini answer. Errors and cut connections happen on purpose;
they are counted, and the ledger says what each of them cost.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from meter.attribution import attribute
from meter.errors import InputError
from meter.meter import Meter

_QUESTIONS = (
    "Summarise the main risks in this quarter's supplier contracts in three short points.",
    "Write a friendly reminder that the team offsite starts on Thursday at nine.",
    "Explain to a new colleague what a half-open interval is, with one example.",
    "用两句话解释什么是向量数据库。",
    "Which of these tickets should we answer first, and why? 1) login loop 2) typo in footer",
    "Translate into French: the invoice is due at the end of the month.",
    "List five test cases for a function that parses phone numbers.",
    "帮我给客户写一封简短的道歉信，说明发货延迟两天。",
)


@dataclass(frozen=True, slots=True)
class User:
    """A user of the demo: who pays, for which team, and how often they call."""

    name: str
    team: str
    weight: int


USERS = (
    User("alice", "search", 5),
    User("bob", "support", 4),
    User("陈静", "support", 3),
    User("dora", "research", 3),
    User("erik", "search", 2),
)

Send = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of call: its name and how often it is made."""

    name: str
    weight: int
    send: Send


class Clients:
    """The wrapped SDK clients of the demo, all pointed at the simulated providers.

    Raises: InputError when an SDK that the demo drives is not installed.
    """

    def __init__(self, meter: Meter, url: str):
        """Make and wrap one client for each provider."""
        try:
            import anthropic
            import openai
            from google import genai
            from google.genai import types
        except ImportError as error:
            raise InputError(
                f"the demo drives real SDKs and {error.name} is not installed: "
                "pip install 'metergate[demo]'"
            ) from None
        self.openai = meter.wrap(openai.OpenAI(api_key="demo", base_url=f"{url}/v1"))
        self.anthropic = meter.wrap(anthropic.Anthropic(api_key="demo", base_url=url))
        self.google = meter.wrap(
            genai.Client(api_key="demo", http_options=types.HttpOptions(base_url=url))
        )

    def kinds(self) -> tuple[Kind, ...]:
        """Return every kind of call with its weight."""
        return (
            Kind("chat", 5, self._chat),
            Kind("chat stream", 5, self._chat_stream),
            Kind("tool call", 2, self._tool_call),
            Kind("completion", 2, self._completion),
            Kind("response stream", 3, self._response_stream),
            Kind("embedding", 4, self._embedding),
            Kind("message stream", 4, self._message_stream),
            Kind("gemini stream", 3, self._gemini_stream),
        )

    def _chat(self, question: str) -> object:
        return self.openai.chat.completions.create(
            model="gpt-4o-mini", max_tokens=200, messages=[{"role": "user", "content": question}]
        )

    def _chat_stream(self, question: str) -> object:
        stream = self.openai.chat.completions.create(
            model="gpt-4o",
            max_tokens=200,
            stream=True,
            messages=[
                {"role": "system", "content": "You are a careful assistant."},
                {"role": "user", "content": question},
            ],
        )
        return _read(stream)

    def _tool_call(self, question: str) -> object:
        return self.openai.chat.completions.create(
            model="gpt-4.1",
            max_tokens=200,
            messages=[{"role": "user", "content": f"What is the weather in Oslo? {question}"}],
            tools=[_WEATHER],  # type: ignore[list-item]
        )

    def _completion(self, question: str) -> object:
        return self.openai.completions.create(
            model="gpt-3.5-turbo-instruct", prompt=[question, "Say this is a test"], max_tokens=40
        )

    def _response_stream(self, question: str) -> object:
        return _read(
            self.openai.responses.create(
                model="gpt-5-mini", input=question, max_output_tokens=300, stream=True
            )
        )

    def _embedding(self, question: str) -> object:
        return self.openai.embeddings.create(
            model="text-embedding-3-small", input=[question, question[::-1]]
        )

    def _message_stream(self, question: str) -> object:
        with self.anthropic.messages.stream(
            model="claude-sonnet-4-5",
            max_tokens=200,
            messages=[{"role": "user", "content": question}],
        ) as stream:
            return _read(stream.text_stream)

    def _gemini_stream(self, question: str) -> object:
        return _read(
            self.google.models.generate_content_stream(model="gemini-2.5-flash", contents=question)
        )


_WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Return the present weather of a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city"],
        },
    },
}


def _read(stream: Any) -> int:
    return sum(1 for _ in stream)


def drive(clients: Clients, calls: int, *, seed: int, workers: int = 12) -> Iterator[Counter[str]]:
    """Make that many calls from several threads; yield the tally after each one that ended.

    The tally counts "done" and, by the class of the error that the SDK raised, what failed.
    """
    dice = random.Random(seed)
    kinds = clients.kinds()
    tally: Counter[str] = Counter()
    with ThreadPoolExecutor(workers, thread_name_prefix="demo") as pool:
        pending = [
            pool.submit(
                _make,
                dice.choices(USERS, [user.weight for user in USERS])[0],
                dice.choices(kinds, [kind.weight for kind in kinds])[0],
                dice.choice(_QUESTIONS),
            )
            for _ in range(calls)
        ]
        try:
            for future in as_completed(pending):
                tally[future.result()] += 1
                yield tally
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _make(user: User, kind: Kind, question: str) -> str:
    with attribute(user.name, team=user.team, feature=kind.name):
        try:
            kind.send(question)
        except Exception as error:  # Each SDK has an error tree of its own; the demo counts them.
            return type(error).__name__
    return "done"
