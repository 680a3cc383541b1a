"""The requests of a batch become calls: who pays for each, and one write after the other."""

from concurrent.futures import Future

import pytest

from meter.core.call import Attribution, Part
from meter.core.parts import in_turn, is_billed, named_by, told
from meter.core.usage import Usage

ONE = Usage(input_tokens=1)
PATTERN = r"(?P<subject>\w+):(?:(?P<feature>\w+):)?"


@pytest.mark.parametrize(
    ("custom_id", "named"),
    [
        ("amy:mail:7", Attribution("amy", (("feature", "mail"),))),
        ("amy:7", Attribution("amy")),
        ("7", Attribution()),
        ("", Attribution()),
    ],
)
def test_a_custom_id_names_who_pays_as_far_as_it_fits(custom_id, named):
    assert named_by(PATTERN, custom_id) == named
    assert named_by("", custom_id) == Attribution()


def a_part(custom_id="7", usage=ONE, model="m"):
    return Part("line-1", custom_id, "chat", 200, usage, model)


def test_the_custom_id_is_a_tag_beside_the_others():
    amy = Attribution("amy", (("team", "search"),), "key-1")
    assert told(amy, a_part()) == Attribution(
        "amy", (("custom_id", "7"), ("team", "search")), "key-1"
    )
    assert told(amy, a_part(custom_id="")) == amy


def test_only_what_is_known_to_have_used_something_is_billed():
    assert is_billed(a_part())
    assert not is_billed(a_part(usage=Usage()))
    assert not is_billed(a_part(usage=None))
    assert not is_billed(a_part(model=None))


def test_steps_are_begun_one_after_the_other():
    begun, futures = [], [Future() for _ in range(3)]

    def steps():
        for number, future in enumerate(futures):
            begun.append(number)
            yield future

    whole = in_turn(steps())
    assert (begun, whole.done()) == ([0], False)
    futures[1].set_result(None)  # done before its turn
    futures[0].set_result(None)
    assert (begun, whole.done()) == ([0, 1, 2], False)
    futures[2].set_result(None)
    assert whole.result(0) is None


def test_a_step_that_fails_is_the_last():
    begun, first = [], Future()

    def steps():
        begun.append(1)
        yield first
        begun.append(2)
        yield Future()

    whole = in_turn(steps())
    first.set_exception(ValueError("no"))
    assert begun == [1]
    with pytest.raises(ValueError, match="no"):
        whole.result(0)


def test_a_thousand_steps_that_are_done_do_not_nest():
    def steps():
        for _ in range(10_000):
            done = Future()
            done.set_result(None)
            yield done

    assert in_turn(steps()).result(0) is None
