#include <catch2/catch.hpp>

#include <cerrno>

#include "lib/oracles/contract.h"
#include "lib/scenario.h"

namespace {

at::Permitted permitted(const std::string& statements) {
    const at::Plan plan = at::parse_plan("scenario submit_cancel_race " + statements);
    return at::permitted_by(plan, at::bind(plan).knobs);
}

std::string verdict(const at::Answer& answer, const std::string& statements = "") {
    const auto finding = at::judge(answer, permitted(statements));
    return finding ? finding->signature : "";
}

at::Answer with(std::int64_t res) {
    at::Answer answer;
    answer.length = 100;
    answer.res = res;
    return answer;
}

} // namespace

TEST_CASE("a true result is silent") {
    CHECK(verdict(with(100)).empty());
    CHECK(verdict(with(99)) == "contract/short");
    CHECK(verdict(with(101)) == "contract/overlong");
    CHECK(verdict(with(99), "; fault start short").empty());
    CHECK(verdict(with(1), "; fault start short").empty());
    CHECK(verdict(with(0), "; fault start short") == "contract/empty");
    auto answer = with(100);
    answer.res2 = 1;
    CHECK(verdict(answer) == "contract/res2");
}

TEST_CASE("ECANCELED needs a canceller that won, or a destroyer") {
    auto answer = with(-ECANCELED);
    CHECK(verdict(answer) == "contract/cancelled-by-nobody");
    answer.einprogress = 1;
    CHECK(verdict(answer).empty());
    CHECK(verdict(answer, "cancel=none") == "contract/cancel-of-uncancellable");
    answer.einprogress = 0;
    answer.destroyed = true;
    CHECK(verdict(answer).empty());
    answer.ealready = 1;
    CHECK(verdict(answer) == "contract/ealready-cancelled");
    answer = with(-ECANCELED);
    answer.is_sync = true;
    answer.einprogress = 1;
    CHECK(verdict(answer) == "contract/cancelled-sync");
}

TEST_CASE("one call of io_cancel reaches a request, and the device may be faster") {
    auto answer = with(100);
    answer.einprogress = 1;
    CHECK(verdict(answer).empty());
    answer.ealready = 1;
    CHECK(verdict(answer) == "contract/cancelled-twice");
}

TEST_CASE("an errno needs the fault that explains it") {
    CHECK(verdict(with(-EIO)) == "contract/unexplained-EIO");
    CHECK(verdict(with(-EIO), "; fault start corrupt").empty());
    CHECK(verdict(with(-ENODEV)) == "contract/unexplained-ENODEV");
    CHECK(verdict(with(-ENODEV), "; fault start remove nth=3").empty());
    CHECK(verdict(with(-ENOMEM), "; fault map fail").empty());
    CHECK(verdict(with(-ENOMEM), "; fault pin fail") == "contract/unexplained-ENOMEM");
    CHECK(verdict(with(-ENXIO), "; fault pin fail err=6").empty());
    CHECK(verdict(with(-EAGAIN)) == "contract/unexplained-EAGAIN");
    auto nowait = with(-EAGAIN);
    nowait.nowait = true;
    CHECK(verdict(nowait).empty());
}

TEST_CASE("ETIMEDOUT needs a fault that can cause one, or a measured stall") {
    CHECK(verdict(with(-ETIMEDOUT)) == "contract/unexplained-ETIMEDOUT");
    for (const char* fault : {"irq drop", "start drop", "start stall", "start reset", "start late",
                              "irq delay delay=100ms"})
        CHECK(verdict(with(-ETIMEDOUT), std::string("; fault ") + fault).empty());
    for (const char* fault : {"irq dup", "irq spurious", "irq steer", "start dup", "start reorder",
                              "start corrupt", "irq delay delay=1ms"})
        CHECK(verdict(with(-ETIMEDOUT), std::string("; fault ") + fault) ==
              "contract/unexplained-ETIMEDOUT");
    auto stalled = with(-ETIMEDOUT);
    stalled.stalled = true;
    CHECK(verdict(stalled).empty());
}

TEST_CASE("the end of the device has its own true result") {
    auto read = with(40);
    read.at_device_end = 40;
    CHECK(verdict(read).empty());
    read.res = 41;
    CHECK(verdict(read) == "contract/beyond-end");
    auto write = with(-ENOSPC);
    CHECK(verdict(write) == "contract/unexplained-ENOSPC");
    write.at_device_end = -ENOSPC;
    CHECK(verdict(write).empty());
}

TEST_CASE("memory that cannot be used is EFAULT, and moves nothing") {
    auto bad = with(-EFAULT);
    CHECK(verdict(bad) == "contract/unexplained-EFAULT");
    bad.bad = true;
    CHECK(verdict(bad).empty());
    bad.res = 100;
    CHECK(verdict(bad) == "contract/bad-buffer");
}

TEST_CASE("a request of more pages than the target takes is short by just those") {
    auto answer = with(60);
    answer.limit = 60;
    CHECK(verdict(answer).empty());
    answer.res = 59;
    CHECK(verdict(answer) == "contract/short");
    answer.res = 100;
    CHECK(verdict(answer) == "contract/beyond-end");
}

TEST_CASE("polls and fsyncs have answers of their own") {
    auto poll = with(0x41); // POLLIN, and its twin that comes with a wake-up
    poll.op = at::Op::poll;
    poll.poll_events = 0x1;
    CHECK(verdict(poll).empty());
    poll.res = 0x4;
    CHECK(verdict(poll) == "contract/poll-mask");
    auto fsync = with(0);
    fsync.op = at::Op::fsync;
    CHECK(verdict(fsync).empty());
    fsync.res = 1;
    CHECK(verdict(fsync) == "contract/fsync");
    fsync.res = -EIO;
    CHECK(verdict(fsync) == "contract/unexplained-EIO");
}

TEST_CASE("each short result needs a fault of its own") {
    CHECK_FALSE(at::judge_shorts(0, 0));
    CHECK_FALSE(at::judge_shorts(3, 3));
    const auto finding = at::judge_shorts(4, 3);
    REQUIRE(finding);
    CHECK(finding->signature == "contract/shorts");
    CHECK(finding->evidence == std::vector<std::string>{"4 short results, 3 faults that make one"});
}

TEST_CASE("io_cancel's own answer") {
    for (const int legal : {-EINPROGRESS, -EINVAL, -EALREADY})
        CHECK(!at::judge_cancel_answer(legal, false));
    CHECK(at::judge_cancel_answer(0, false)->signature == "contract/cancel-zero");
    CHECK(at::judge_cancel_answer(-EAGAIN, false)->signature == "contract/cancel-EAGAIN");
    CHECK(at::judge_cancel_answer(-EINPROGRESS, true)->signature == "contract/cancel-wrote-result");
}
