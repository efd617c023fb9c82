#include <catch2/catch.hpp>

#include "lib/oracles/late_waits.h"
#include "lib/oracles/timing.h"
#include "lib/scenario.h"

namespace {

constexpr std::uint64_t ms = 1000000;

at::WaitBounds bounds(const std::string& statements = "; fault start drop p=0.01") {
    const at::Plan plan = at::parse_plan("scenario submit_cancel_race timeout_ms=60 " + statements);
    return at::wait_bounds(plan, at::bind(plan).knobs);
}

at::LossLog log_of(std::vector<at::Loss> losses) {
    at::LossLog log;
    log.read = true;
    log.losses = std::move(losses);
    return log;
}

at::LateWait timed_out(std::uint64_t begin_ms, std::uint64_t end_ms) {
    return {at::LateKind::timed_out, 3, 5, begin_ms * ms, end_ms * ms};
}

bool found(const at::LateWait& wait, std::vector<at::Loss> losses) {
    return at::judge_late_wait(wait, log_of(std::move(losses)), bounds()).has_value();
}

} // namespace

TEST_CASE("a wait for the time-out needs a fault in its reach") {
    const std::uint64_t reach_ms = bounds().reach_ns / ms;
    REQUIRE(reach_ms >= 60);
    CHECK(found(timed_out(5000, 5061), {}));
    CHECK_FALSE(found(timed_out(5000, 5061), {{5030 * ms, 0}}));
    CHECK_FALSE(found(timed_out(5000, 5061), {{(5000 - reach_ms) * ms, 0}}));
    CHECK(found(timed_out(5000, 5061), {{(4999 - reach_ms) * ms, 0}, {5062 * ms, 0}}));
    CHECK_FALSE(found(timed_out(5000, 5061), {{(4950 - reach_ms) * ms, 60 * ms}})); // it lasts
}

TEST_CASE("each kind of late wait has a finding of its own, with its distance from a fault") {
    const auto log = log_of({{1000 * ms, 0}});
    at::LateWait wait = timed_out(5000, 5061);
    auto finding = at::judge_late_wait(wait, log, bounds());
    CHECK(finding->signature == "ledger/late/timed-out-unexplained");
    CHECK(finding->evidence[0] == "slot 3 generation 5 in flight for 61 ms");
    CHECK(finding->evidence[1] == "the last fault before it fired 4000 ms before it was submitted");
    wait.kind = at::LateKind::waited;
    CHECK(at::judge_late_wait(wait, log, bounds())->signature == "ledger/late/waited-unexplained");
    wait.kind = at::LateKind::cancel;
    CHECK(at::judge_late_wait(wait, log, bounds())->signature == "ledger/late/cancel-unexplained");
}

TEST_CASE("no log, a log that has lost its beginning, and plans that hold requests up excuse") {
    at::LossLog log = log_of({});
    log.read = false;
    CHECK_FALSE(at::judge_late_wait(timed_out(5000, 5061), log, bounds()));
    std::string text;
    for (int i = 0; i < 1024; ++i)
        text += "time_ns=" + std::to_string((5000 + i) * ms) +
                " cpu=0 rule=1 phase=start action=late cookie=0x1 event=9 delay_ns=2000000\n";
    log = at::parse_losses(text);
    log.read = true;
    REQUIRE(log.losses.size() == 1024);
    CHECK(log.losses[3].delay_ns == 2 * ms);
    CHECK(log.whole_since_ns == 5000 * ms);
    CHECK_FALSE(at::judge_late_wait(timed_out(4000, 4061), log, bounds()));
    CHECK(at::judge_late_wait(timed_out(9000, 9061), log, bounds()));
    CHECK(at::parse_losses("no such line\n").losses.empty());
    const auto slow = bounds("; fault start drop p=0.01; fault queue delay p=0.01 delay=20ms");
    CHECK_FALSE(at::judge_late_wait(timed_out(9000, 9061), log, slow));
    CHECK_FALSE(at::judge_late_wait(timed_out(9000, 9061), log, bounds("time_to_answer=0")));
}
