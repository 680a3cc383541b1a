"""Read work that goes on after its answer: batches, fine-tuning, runs, videos and the like.

The answer that begins such work is a receipt; its usage stands in the object once the work has
ended, in whatever answer shows it, and in every later one again. So each observation names the
work (`billing_ids`, and `response_id` for the first of them): whoever settles bills a name once.

What an answer that shows running work owes: nothing is known of the receipt (`usage` is None, the
call stays unsettled until the work is seen to end), and a mere look at it owes nothing. A look
begins nothing, so no budget is asked for it (`Reading.free`), though its answer is read.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol

from meter.core.call import Observation
from meter.core.ports import AnswerObserver, OutputSink
from meter.core.reading import Reading
from meter.core.usage import Usage
from meter.providers.endpoint import Request
from meter.providers.foreign import JSONObject, label
from meter.providers.hints import openai_hint
from meter.providers.measuring import MeasuringObserver, PlainGauge, with_defect
from meter.providers.openai.plain import PlainEndpoint
from meter.providers.provider import Provider

NOTHING = Usage()
"""What a mere look at running work owes."""


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work as an answer shows it.

    `names` are its id and other names for the same work (a batch's output file). `usage` is what
    it used, None when its end reports nothing; while it runs, what was reported so far.
    """

    names: tuple[str, ...]
    ended: bool
    usage: Usage | None = None
    model: str | None = None
    service_tier: str | None = None
    traits: tuple[tuple[str, str], ...] = ()
    defects: tuple[str, ...] = field(default=())


class JobEndpoint(Protocol):
    """An endpoint whose answers show a job."""

    def job(self, payload: JSONObject) -> Job | None:
        """Return the job in a payload, None when it shows none."""


class JobGauge(PlainGauge):
    """Follows one job through an answer. `begins`: the answer is the job's receipt."""

    __slots__ = ("_begins", "_endpoint", "_job")

    def __init__(self, endpoint: JobEndpoint, *, begins: bool) -> None:
        self._endpoint = endpoint
        self._begins = begins
        self._job: Job | None = None

    @property
    def billing_ids(self) -> tuple[str, ...]:
        """The names under which the job is billed once; a look at a running one bills nothing."""
        job = self._job
        return () if job is None or not (job.ended or self._begins) else job.names

    def take(self, payload: JSONObject) -> None:
        """Keep the latest state of the job; an ended one does not run again."""
        job = self._endpoint.job(payload)
        if job is not None and (self._job is None or job.ended or not self._job.ended):
            self._job = job

    def judge(self, seen: Observation) -> Observation:
        """Return what the job used if it ended, else what a receipt or a look at it owes."""
        job = self._job
        if job is None:
            return seen
        seen = replace(
            seen,
            usage=job.usage,
            running=None,
            counted=None,
            model_served=job.model or seen.model_served,
            service_tier=job.service_tier or seen.service_tier,
            traits=tuple(sorted({**dict(seen.traits), **dict(job.traits)}.items())),
            response_id=job.names[0],
            # A job's own error is no refusal of this call; what it used is owed.
            error_in_body=False,
        )
        for defect in job.defects:
            seen = with_defect(seen, defect)
        if job.ended:
            return replace(seen, finished=True)
        if not self._begins:
            return replace(seen, usage=NOTHING)
        return with_defect(seen, "the work goes on in the background: its usage is not known yet")


class PlainJobEndpoint(PlainEndpoint):
    """What endpoints with jobs share. `begins`: the request creates the job."""

    name = "job"
    begins = True

    def read(self, request: Request) -> Reading:
        """Read a request that creates a job, steers one or looks at one."""
        fields = request.fields
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")) or request.model or None,
            streaming=fields.get("stream") is True or request.query.get("stream") == "true",
            hint=openai_hint(fields),
            free=not self.begins,
            request=fields,
            defects=request.defects if request.body else (),
        )

    def job(self, payload: JSONObject) -> Job | None:
        """Return the job in a payload."""
        return None

    def observer(
        self, provider: Provider, reading: Reading, sink: OutputSink | None, *, count_always: bool
    ) -> AnswerObserver:
        """Return an observer that follows the job."""
        gauge = JobGauge(self, begins=self.begins)
        return MeasuringObserver(self, gauge, provider, reading, sink, count_always=count_always)
