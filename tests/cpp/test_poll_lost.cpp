// Events and wake-ups that never come, of requests that may wait for ever: polls, and requests on a
// gadget's endpoint.
#include <catch2/catch.hpp>

#include <memory>

#include <poll.h>

#include "lib/oracles/gadget_lost.h"
#include "lib/oracles/leak.h"
#include "lib/oracles/poll_lost.h"
#include "lib/poll/station.h"

namespace {

constexpr std::uint64_t bound_ns = 500000000;

std::unique_ptr<at::SharedRun> run_with_one_flying() {
    auto run = std::make_unique<at::SharedRun>();
    run->slots_used = 1;
    run->contexts[0].state.store(at::ContextState::live);
    run->slots[0].word.store(at::slot_word(5, at::SlotState::flying));
    return run;
}

// Due from the first scan on, and for longer than the bound, with the ring seen empty since.
template <class Oracle> std::string verdict(at::SharedRun& run, Oracle&& lost) {
    CHECK(lost.scan(0).empty());
    CHECK(lost.scan(bound_ns + 1).empty()); // nobody looked into the ring
    run.contexts[0].empty_ns.store(~std::uint64_t{0});
    CHECK(lost.scan(bound_ns - 1).empty());
    const auto found = lost.scan(bound_ns + 1);
    CHECK(lost.scan(2 * bound_ns).empty()); // told once
    return found.empty() ? "" : found[0].signature;
}

} // namespace

TEST_CASE("a poll is lost when it is due and nothing comes") {
    auto run = run_with_one_flying();
    auto books = std::make_unique<at::PollBooks>();
    at::StationBook& station = books->stations[0];
    station.kind.store(static_cast<std::uint32_t>(at::FileKind::pipe_read));
    books->slots[0].asked.store(POLLIN);
    const auto judged = [&] { return verdict(*run, at::LostWakeups(*run, *books, bound_ns)); };
    SECTION("nothing is due: it waits") {
        CHECK(judged().empty());
    }
    SECTION("cancelled") {
        run->slots[0].einprogress.store(1);
        CHECK(judged() == "ledger/lost/cancelled/pipe_read");
    }
    SECTION("unknown to io_cancel") {
        run->slots[0].einval.store(1);
        CHECK(judged() == "ledger/lost/not-found/pipe_read");
    }
    SECTION("ready, and it stays so") {
        station.word.store(at::station_held);
        CHECK(judged() == "hang/wake-up/pipe_read");
    }
    SECTION("ready for what was not asked") {
        station.word.store(at::station_held);
        books->slots[0].asked.store(POLLPRI);
        CHECK(judged().empty());
    }
    SECTION("its other end is gone") {
        station.word.store(at::station_hung);
        CHECK(judged() == "hang/wake-up/pipe_read");
    }
}

TEST_CASE("a request on an endpoint is lost when it is due and nothing comes") {
    auto run = run_with_one_flying();
    auto books = std::make_unique<at::GadgetBooks>();
    const auto judged = [&] { return verdict(*run, at::LostGadgetEvents(*run, *books, bound_ns)); };
    SECTION("nothing is due: it waits for the host") {
        CHECK(judged().empty());
    }
    SECTION("cancelled") {
        run->slots[0].einprogress.store(1);
        CHECK(judged() == "ledger/lost/cancelled");
    }
    SECTION("unknown to io_cancel") {
        run->slots[0].einval.store(1);
        CHECK(judged() == "ledger/lost/not-found");
    }
    SECTION("the gadget has left the bus") {
        books->final.store(1);
        CHECK(judged() == "ledger/lost/unbound");
    }
    SECTION("its context is being destroyed") {
        run->slots[0].einprogress.store(1);
        run->contexts[0].state.store(at::ContextState::dying);
        CHECK(judged().empty());
    }
}

TEST_CASE("a polled file is released when its last request has ended") {
    CHECK(!at::judge_open_file("pipe_read", bound_ns - 1, bound_ns));
    CHECK(at::judge_open_file("pipe_read", bound_ns, bound_ns)->signature == "leak/file/pipe_read");
}
