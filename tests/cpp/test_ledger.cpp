#include <catch2/catch.hpp>

#include <memory>
#include <thread>
#include <vector>

#include "lib/driver_state.h"
#include "lib/ledger.h"
#include "lib/oracles/lost.h"

TEST_CASE("names of requests fit their places") {
    for (const std::uint64_t generation : {1ULL, 1022ULL, 1023ULL, 1024ULL, 1ULL << 40}) {
        const std::uint64_t cookie = at::cookie_of(4095, generation);
        CHECK((cookie & 4095) == 4095);
        CHECK((cookie >> 12 >= 1 && cookie >> 12 <= 1023));
        CHECK(at::cookie_of(0, generation) != 0);
        CHECK(static_cast<std::int64_t>(cookie << at::cookie_shift) > 0); // a legal file offset
    }
}

TEST_CASE("exactly one event is the first") {
    at::Slot slot{};
    slot.events.store(7 << 8);
    CHECK(at::book_event(slot, 7) == at::EventVerdict::first);
    CHECK(at::book_event(slot, 7) == at::EventVerdict::duplicate);
    CHECK(at::book_event(slot, 6) == at::EventVerdict::duplicate);
    CHECK(at::book_event(slot, 8) == at::EventVerdict::stranger);
}

TEST_CASE("reapers that race for one event: one is first") {
    at::Slot slot{};
    for (std::uint64_t generation = 1; generation <= 500; ++generation) {
        slot.events.store(generation << 8, std::memory_order_release);
        std::atomic<int> firsts{0};
        std::vector<std::thread> reapers;
        for (int i = 0; i < 3; ++i)
            reapers.emplace_back([&] {
                if (at::book_event(slot, generation) == at::EventVerdict::first)
                    firsts.fetch_add(1);
            });
        for (auto& reaper : reapers)
            reaper.join();
        REQUIRE(firsts.load() == 1);
    }
}

TEST_CASE("a finding is told once, and survives in the ring") {
    auto run = std::make_unique<at::SharedRun>();
    for (int i = 0; i < 100; ++i)
        run->report({"ledger", "two events for one request", "ledger/made-up", {"a", "b"}});
    run->report({"data", "other", "data/x", {}});
    std::uint32_t next = 0;
    const auto found = run->findings.collect(next);
    REQUIRE(found.size() == 2);
    CHECK(found[0].title == "two events for one request");
    CHECK(found[0].evidence == std::vector<std::string>{"a", "b"});
    CHECK(run->findings.collect(next).empty());
    for (int i = 0; i < 100; ++i)
        run->report({"data", "title " + std::to_string(i), "s", {}});
    CHECK(run->findings.overflowed() > 0);
}

namespace {

constexpr std::uint64_t ms = 1000000;

std::unique_ptr<at::SharedRun> run_with_one_flying() {
    auto run = std::make_unique<at::SharedRun>();
    run->slots_used = 1;
    run->contexts[0].state.store(at::ContextState::live);
    run->contexts[0].incarnation.store(3);
    at::Slot& slot = run->slots[0];
    slot.context = 0;
    slot.incarnation = 3;
    slot.submitted_ns.store(1000 * ms);
    slot.word.store(at::slot_word(5, at::SlotState::flying));
    return run;
}

} // namespace

TEST_CASE("an event is lost only after its bound, with the ring seen empty") {
    auto run = run_with_one_flying();
    at::LostEvents lost(*run, 500 * ms);
    CHECK(lost.scan(0).empty());
    CHECK(lost.scan(499 * ms).empty());
    CHECK(lost.scan(600 * ms).empty()); // nobody looked into the ring
    run->contexts[0].empty_ns.store(1400 * ms);
    CHECK(lost.scan(700 * ms).empty()); // looked too early
    run->contexts[0].empty_ns.store(1501 * ms);
    const auto found = lost.scan(800 * ms);
    REQUIRE(found.size() == 1);
    CHECK(found[0].title == "event lost of a request: the driver does not know it any more");
    CHECK(run->value(at::Counter::events_lost) == 1);
    CHECK(lost.scan(900 * ms).empty()); // told once
}

TEST_CASE("a lost event is named by what was asked for, and by who cancelled it") {
    auto run = run_with_one_flying();
    run->contexts[0].empty_ns.store(~std::uint64_t{0});
    at::Slot& slot = run->slots[0];
    at::LostEvents lost(*run, 500 * ms);
    const auto signature = [&] {
        slot.reported.store(0);
        slot.word.fetch_add(1 << 8);
        lost.scan(0);
        const auto found = lost.scan(600 * ms);
        return found.empty() ? std::string() : found[0].signature;
    };
    CHECK(signature() == "ledger/lost/plain/forgotten");
    slot.einprogress.store(1);
    CHECK(signature() == "ledger/lost/cancelled/forgotten");
    slot.op.store(at::Op::poll);
    CHECK(signature() == "ledger/lost/poll");
    slot.op.store(at::Op::fdsync);
    CHECK(signature() == "ledger/lost/fsync");
}

TEST_CASE("a slot that moves on, or whose context dies, is not lost") {
    auto run = run_with_one_flying();
    run->contexts[0].empty_ns.store(~std::uint64_t{0});
    at::LostEvents lost(*run, 500 * ms);
    lost.scan(0);
    run->slots[0].word.store(at::slot_word(6, at::SlotState::flying));
    CHECK(lost.scan(600 * ms).empty());
    run->contexts[0].state.store(at::ContextState::dying);
    CHECK(lost.scan(1200 * ms).empty());
}

TEST_CASE("a death hides what was in flight, what nobody had judged, and reads of no slot") {
    auto run = std::make_unique<at::SharedRun>();
    run->slots_used = 4;
    run->slots[0].word.store(at::slot_word(1, at::SlotState::flying));
    run->slots[1].word.store(at::slot_word(1, at::SlotState::answered));
    run->slots[2].word.store(at::slot_word(1, at::SlotState::sync));
    const auto read = static_cast<std::uint64_t>(at::Call::read);
    run->threads[3].role.store(at::Role::submitter);
    run->threads[3].call.store(7 << 8 | read);
    run->threads[4].role.store(at::Role::disturber); // of the books, say
    run->threads[4].call.store(7 << 8 | read);
    CHECK(at::left_at_death(*run).in_flight == 1);
    CHECK(at::left_at_death(*run).unseen == 4);
    run->threads[3].call.store(8 << 8);
    CHECK(at::left_at_death(*run).unseen == 3);
}

TEST_CASE("a call is stuck when one and the same call lasts") {
    auto run = std::make_unique<at::SharedRun>();
    at::StuckCalls stuck(*run, 1000 * ms);
    const auto destroy = static_cast<std::uint64_t>(at::Call::io_destroy);
    run->threads[4].call.store(1 << 8 | destroy);
    CHECK(!stuck.scan(0));
    run->threads[4].call.store(2 << 8 | destroy);
    CHECK(!stuck.scan(1100 * ms)); // another call
    CHECK(!stuck.scan(1200 * ms));
    CHECK(stuck.scan(2200 * ms));
    CHECK(stuck.name() == "io_destroy");
}

TEST_CASE("a call that works for as long as the kernel takes has more time, and accuses nobody") {
    auto run = std::make_unique<at::SharedRun>();
    at::StuckCalls stuck(*run, 1000 * ms);
    run->threads[0].call.store(1 << 8 | static_cast<std::uint64_t>(at::Call::reclaim));
    CHECK(!stuck.scan(0));
    CHECK(!stuck.scan(4900 * ms));
    CHECK(stuck.scan(5000 * ms));
    CHECK(!stuck.awaits_device());
    std::uint64_t now = 6000 * ms;
    for (const at::Call call : {at::Call::pread, at::Call::removal, at::Call::delete_module}) {
        run->threads[0].call.store(2 << 8 | static_cast<std::uint64_t>(call));
        CHECK(!stuck.scan(now));
        CHECK(stuck.scan(now + 1000 * ms));
        CHECK(stuck.awaits_device());
        now += 2000 * ms;
    }
}

TEST_CASE("the driver's list of requests is read") {
    const auto requests = at::parse_requests(
        "cookie=0x5011 slot=17 gen=5 phase=queue refs=engine,core age_us=812 op=read sync=0 "
        "pid=77 len=512 desc=3+1 result=0\ncookie=0x0 slot=0 gen=0 phase=unpin refs= age_us=1\n");
    REQUIRE(requests.size() == 2);
    CHECK(requests[0].cookie == 0x5011);
    CHECK(at::where_it_stands(requests[0]) ==
          "request in phase queue, references engine and core not returned");
    CHECK(at::signature_of(requests[0]) == "queue/engine+core");
    CHECK(at::where_it_stands(requests[1]) == "request in phase unpin, no reference held");
}
