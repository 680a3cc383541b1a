"""The collector of cycles in a gateway's process."""

import gc
import weakref

from meter.gateway.serving import spare_collections


def test_cycles_are_still_collected_only_not_among_what_was_there_before():
    class Node:
        itself: "Node"

    before = gc.get_threshold()
    try:
        spare_collections()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
        node = Node()
        node.itself = node
        known = weakref.ref(node)
        del node
        kept = [[] for _ in range(2 * gc.get_threshold()[0])]
        assert known() is None
        assert kept
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
