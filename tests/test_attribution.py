import asyncio
import contextvars
import threading

import pytest

from meter.attribution import attribute, present
from meter.core.call import Attribution
from meter.errors import InputError


def test_nobody_is_attributed_outside_every_block():
    assert present() == Attribution()


def test_nested_blocks_add_tags_and_the_inner_subject_wins():
    with attribute("alice", team="search", feature="chat"):
        with attribute("bob", feature="draft"):
            assert present() == Attribution("bob", (("feature", "draft"), ("team", "search")))
        assert present().subject == "alice"
    assert present() == Attribution()


def test_a_block_without_subject_keeps_the_surrounding_one():
    with attribute("alice"), attribute(team="search"):
        assert present() == Attribution("alice", (("team", "search"),))


def test_each_asyncio_task_has_its_own_attribution():
    async def one(subject):
        with attribute(subject):
            await asyncio.sleep(0)
            return present().subject

    async def both():
        return await asyncio.gather(one("alice"), one("bob"))

    assert asyncio.run(both()) == ["alice", "bob"]


def test_a_thread_is_attributed_only_with_a_copied_context():
    seen = []
    with attribute("alice"):
        context = contextvars.copy_context()
        for target in (lambda: seen.append(present().subject),
                       lambda: context.run(lambda: seen.append(present().subject))):  # fmt: skip
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert seen == [None, "alice"]


def test_the_attribution_ends_with_an_error_too():
    with pytest.raises(KeyError), attribute("alice"):
        raise KeyError
    assert present() == Attribution()


@pytest.mark.parametrize("subject", ["", "x" * 257, "tab\there", "\ud800", 5])
def test_a_subject_that_is_not_plain_text_is_refused(subject):
    with pytest.raises(InputError), attribute(subject):
        pass


def test_more_than_32_tags_are_refused():
    tags = {f"tag{n}": "x" for n in range(33)}
    with pytest.raises(InputError, match="found 33 tags"), attribute("alice", **tags):
        pass
