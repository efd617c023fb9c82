#include <catch2/catch.hpp>

#include "lib/oracles/timing.h"
#include "lib/scenario.h"

namespace {

constexpr std::uint64_t ms = 1000000;
constexpr std::uint64_t began = 1000 * ms;

at::WaitBounds bounds(const std::string& statements) {
    const at::Plan plan = at::parse_plan("scenario submit_cancel_race " + statements);
    return at::wait_bounds(plan, at::bind(plan).knobs);
}

std::string verdict(const at::Waits& waits, const std::string& statements = "") {
    const auto answer = at::judge_waits(waits, bounds(statements));
    return answer.finding ? answer.finding->signature : answer.waited ? "waited" : "";
}

// In flight from `began` until a ring was last seen empty.
at::Waits flew(std::uint64_t until_ms) {
    at::Waits waits;
    waits.flying_ns = began;
    waits.ring_empty_ns = began + until_ms * ms;
    return waits;
}

} // namespace

TEST_CASE("an answer that only the time-out brought needs a fault") {
    CHECK(verdict(flew(100)).empty());
    CHECK(verdict(flew(190)) == "ledger/late/answer");
    CHECK(verdict(flew(190), "; fault irq dup; fault start corrupt") == "ledger/late/answer");
    for (const char* fault : {"irq drop", "start drop", "start stall", "start late", "irq reset"})
        CHECK(verdict(flew(190), std::string("; fault ") + fault) == "waited");
    auto starved = flew(190);
    starved.unhealthy_ns = 60 * ms;
    CHECK(verdict(starved).empty());
}

TEST_CASE("no fault excuses an answer beyond time-out and stop") {
    CHECK(verdict(flew(280), "; fault irq drop") == "waited");
    CHECK(verdict(flew(290), "; fault irq drop") == "ledger/late/beyond-bound");
    CHECK(verdict(flew(290), "; fault start stall") == "waited");
}

TEST_CASE("a cancelled request is answered long before its time-out") {
    auto cancelled = flew(168);
    cancelled.cancel_ns = began + 10 * ms;
    for (const char* mode : {"callback", "flush", "flag"})
        CHECK(verdict(cancelled, std::string("cancel=") + mode) == "ledger/late/cancel");
    CHECK(verdict(cancelled, "cancel=callback; fault start late delay=3ms") ==
          "ledger/late/cancel");
    CHECK(verdict(cancelled, "cancel=flush; fault irq drop") == "ledger/late/cancel");
    CHECK(verdict(cancelled, "cancel=callback; fault irq drop").empty());
    CHECK(verdict(cancelled, "cancel=flag; fault start late").empty());
    cancelled.cancel_ns = began + 100 * ms;
    CHECK(verdict(cancelled).empty());
}

TEST_CASE("EINVAL is wrong for a request that flew before and long after") {
    auto denied = flew(60);
    denied.einval_ns = began + 10 * ms;
    CHECK(verdict(denied) == "contract/einval-in-flight");
    CHECK(verdict(denied, "cancel=none").empty());
    denied.einval_ns = began + 55 * ms; // it may have left the list, its event on the way
    CHECK(verdict(denied).empty());
}

TEST_CASE("fsync returns when what was submitted before has ended") {
    auto overtaken = flew(60);
    overtaken.fsynced_ns = began + 59 * ms;
    CHECK(verdict(overtaken) == "ledger/fsync-early");
    overtaken.fsynced_ns = began + 61 * ms;
    CHECK(verdict(overtaken).empty());
}

TEST_CASE("a time-out that comes before half its time is over was meant for another") {
    CHECK(at::judge_early_timeout(20 * ms, 60 * ms)->signature == "ledger/late/timed-out-early");
    CHECK(!at::judge_early_timeout(30 * ms, 60 * ms));
    CHECK(!at::judge_early_timeout(61 * ms, 60 * ms));
}

TEST_CASE("an engine that nothing kept from stopping is not reset") {
    const auto reset = [](std::int64_t resets, std::uint64_t stalls, const std::string& plan) {
        const auto finding = at::judge_resets(resets, stalls, bounds(plan));
        return finding ? finding->signature : "";
    };
    CHECK(reset(3, 2, "") == "ledger/late/reset");
    CHECK(reset(1, 0, "stop_ms=50; fault start late delay=8ms; fault irq drop") ==
          "ledger/late/reset");
    CHECK(reset(0, 0, "").empty());
    CHECK(reset(2, 2, "").empty()); // CPUs stood still as often
    CHECK(reset(3, 2, "; fault start stall").empty());
    CHECK(reset(3, 2, "; fault irq reset").empty());
    CHECK(reset(3, 2, "stop_ms=50; fault start late delay=30ms").empty());
    CHECK(reset(3, 2, "stop_ms=20").empty()); // no stall of a CPU is so short
}

TEST_CASE("each fault explains so many waits as there were requests in flight") {
    const auto few = bounds("submitters=2 depth=9; fault start stall");
    CHECK(few.explained_each == 20);
    CHECK(!at::judge_account(20, 20, 1, few));
    CHECK(at::judge_account(21, 0, 1, few)->signature == "ledger/late/too-many-waits");
    CHECK(at::judge_account(0, 21, 1, few)->signature == "ledger/late/too-many-timeouts");
    CHECK(at::judge_account(0, 1, 0, few));
    // One hung chain stops nobody in a ring that one time-out's requests do not fill.
    CHECK(bounds("ring=4096 max_len=2K; fault start late").explained_each == 1);
    CHECK(bounds("ring=4096 max_len=2K; fault irq drop").explained_each > 1);
}

TEST_CASE("a time-out says nothing where the CPUs scheduled in too little of a life") {
    constexpr std::uint64_t ms = 1000000;
    CHECK_FALSE(at::is_starved(60 * ms, 62 * ms, 60 * ms));
    CHECK_FALSE(at::is_starved(170 * ms, 180 * ms, 60 * ms));
    CHECK(at::is_starved(40 * ms, 62 * ms, 60 * ms));
    CHECK(
        at::is_starved(50 * ms, 178 * ms, 60 * ms)); // of its time-out, hardly a third was healthy
}
