"""The host's end of the agent's stream: bounded waits, strays, events."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from aiotorture.agentlink import AgentError, AgentLink, Json, LinkClosed, NoAnswer

Peer = Callable[[Json], list[bytes]]


@pytest.fixture
def linked() -> Iterator[Callable[[Peer], AgentLink]]:
    here, there = socket.socketpair()

    def serve(peer: Peer) -> None:
        stream = there.makefile("rb")
        for line in stream:
            for answer in peer(json.loads(line)):
                there.sendall(answer)

    def start(peer: Peer) -> AgentLink:
        threading.Thread(target=serve, args=(peer,), daemon=True).start()
        return AgentLink(here.fileno(), here.fileno())

    yield start
    there.close()
    here.close()


def line(fields: Json) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def test_an_answer_that_comes_in_pieces_is_one_answer(
    linked: Callable[[Peer], AgentLink],
) -> None:
    def peer(request: Json) -> list[bytes]:
        whole = line({"id": request["id"], "ok": True, "proto": 1})
        return [whole[:5], whole[5:]]

    assert linked(peer).hello(5)["proto"] == 1


def test_events_on_the_way_reach_the_listener(linked: Callable[[Peer], AgentLink]) -> None:
    link = linked(lambda r: [line({"ev": "progress"}), line({"id": r["id"], "ok": True})])
    seen: list[Json] = []
    link.on_event = seen.append
    link.ask("run")
    assert seen == [{"ev": "progress"}]


def test_a_line_that_does_not_parse_is_a_stray_and_no_answer(
    linked: Callable[[Peer], AgentLink],
) -> None:
    link = linked(lambda r: [b"[  12.3] Oops: 0002\n", line({"id": r["id"], "ok": True})])
    link.hello(5)
    assert link.strays == [b"[  12.3] Oops: 0002"]


def test_a_refusal_carries_the_agents_words(linked: Callable[[Peer], AgentLink]) -> None:
    link = linked(lambda r: [line({"id": r["id"], "ok": False, "error": "no such file"})])
    with pytest.raises(AgentError, match="no such file"):
        link.pull("/nowhere")


def test_silence_is_bounded(linked: Callable[[Peer], AgentLink]) -> None:
    began = time.monotonic()
    with pytest.raises(NoAnswer):
        linked(lambda _: []).hello(0.2)
    assert time.monotonic() - began < 2


def test_the_end_of_the_stream_is_told() -> None:
    here, there = socket.socketpair()
    link = AgentLink(here.fileno(), here.fileno())
    there.close()
    with pytest.raises(LinkClosed):
        link.hello(5)
    here.close()


def test_a_push_goes_in_chunks_that_append(linked: Callable[[Peer], AgentLink]) -> None:
    appended: list[bool] = []

    def peer(request: Json) -> list[bytes]:
        appended.append(request["append"])
        return [line({"id": request["id"], "ok": True})]

    linked(peer).push("/lib/at/x.ko", bytes(600 * 1024))
    assert appended == [False, True, True]
