"""pytest-xdist hands out cells one by one, in the order of the matrix, so that the controls come
first and no worker sits idle behind another's queue."""

from __future__ import annotations

from typing import Any

from xdist.scheduler.load import LoadScheduling  # type: ignore[import]

# A worker starts a test when it knows the next one (xdist: remote.py, run_one_test).
QUEUED_PER_WORKER = 2


class CellByCell(LoadScheduling):  # type: ignore[misc]
    def schedule(self) -> None:
        if self.collection is not None:
            for node in self.nodes:
                self.check_schedule(node)
            return
        if not self._check_nodes_have_same_collection():
            return
        self.collection = list(self.node2collection.values())[0]
        self.pending[:] = range(len(self.collection))
        for _ in range(QUEUED_PER_WORKER):
            for node in self.nodes:
                self._send_tests(node, 1)
        if not self.pending:
            for node in self.nodes:
                node.shutdown()

    def check_schedule(self, node: Any, duration: float = 0) -> None:
        if node.shutting_down:
            return
        while self.pending and len(self.node2pending[node]) < QUEUED_PER_WORKER:
            self._send_tests(node, 1)
        if not self.pending:
            node.shutdown()
