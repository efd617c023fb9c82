#include <catch2/catch.hpp>

#include "lib/oracles/hang.h"
#include "lib/system.h"

namespace {

at::TaskState task(const char* file, char state) {
    at::TaskState task;
    task.tid = 41;
    task.comm = "at-stressor";
    task.state = state;
    const auto text = at::read_file(std::string(TEST_FILES) + "/" + file);
    REQUIRE(text);
    task.stack = at::parse_stack(*text);
    return task;
}

const std::vector<at::DriverRequest> requests =
    at::parse_requests("cookie=0x1002 phase=start refs=core age_us=10\n"
                       "cookie=0x1001 phase=queue refs=engine age_us=4000000\n");

} // namespace

TEST_CASE("a call that only a kill ended is told by its name") {
    CHECK(at::judge_killed_call("pread").signature == "hang/killed/pread");
}

TEST_CASE("recorded kernel stacks name the call") {
    CHECK(at::blocking_call(task("stack-io_destroy.txt", 'D').stack) == "io_destroy");
    CHECK(at::blocking_call(task("stack-exit_aio.txt", 'D').stack) == "exit_aio");
    CHECK(at::blocking_call(task("stack-pread.txt", 'D').stack) == "preadv");
    CHECK(at::blocking_call({}).empty());
    CHECK(at::parse_stack("[<0>] f.isra.0+0x1/0x2 [m]\n") == std::vector<std::string>{"f"});
    CHECK(at::parse_state("Name:\tx\nState:\tD (disk sleep)\n") == 'D');
    CHECK(at::parse_state("") == '?');
}

TEST_CASE("a hang is blamed on the call that waits for others, and on the oldest request") {
    const auto finding = at::diagnose_hang(
        {task("stack-pread.txt", 'D'), task("stack-io_destroy.txt", 'D')}, requests, false, "");
    CHECK(finding.title == "unkillable wait in io_destroy: request in phase queue, reference "
                           "engine not returned");
    CHECK(finding.signature == "hang/io_destroy/queue/engine");
}

TEST_CASE("a title says what is known, and nothing that varies") {
    CHECK(at::diagnose_hang({task("stack-exit_aio.txt", 'D')}, {}, false, "").title ==
          "unkillable wait in exit_aio: no request left in the driver");
    at::TaskState running;
    running.state = 'R';
    CHECK(at::diagnose_hang({running}, {}, true, "io_cancel").title ==
          "unkillable loop in io_cancel: the driver's books do not answer");
}

TEST_CASE("a killed thread that sleeps on is told where nothing that it began keeps it") {
    CHECK(at::has_kill_pending("Name:\tx\nSigPnd:\t0000000000000100\nShdPnd:\t0\n"));
    CHECK(!at::has_kill_pending("SigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n"));
    CHECK(!at::has_kill_pending(""));
    const auto of = [](const std::string& wchan, const std::string& request) {
        return at::judge_killed_sleepers({{7, ""}}, {{7, wchan}}, at::parse_requests(request));
    };
    const std::string waited = "cookie=0x1 phase=queue refs=submit,engine,timeout sync=1 pid=7\n";
    const std::string cancelled = "cookie=0x1 phase=queue refs=submit,cancel sync=1 pid=7\n";
    CHECK(of("zcdma_fsync", "")->signature == "hang/not-killable/fsync");
    CHECK(of("zcdma_rw", waited)->signature == "hang/not-killable/sync");
    CHECK(!of("zcdma_rw", cancelled));
    CHECK(!of("zcdma_rw", "cookie=0x1 phase=queue refs=submit sync=1 pid=7 result=-110\n"));
    CHECK(!of("zcdma_rw", "cookie=0x1 phase=irq refs=submit sync=1 pid=7\n"));
    CHECK(!of("exit_aio", "cookie=0x1 phase=queue refs=engine sync=0 pid=7\n"));
    CHECK(!of("zcdma_rw", "cookie=0x1 phase=queue refs=submit sync=1 pid=8\n"));
    CHECK(!at::judge_killed_sleepers({{8, ""}}, {{7, "zcdma_fsync"}}, {}));
}

TEST_CASE("kworkers that run nothing and books that do not answer are told") {
    CHECK(!at::judge_kworkers(30000000000));
    CHECK(at::judge_kworkers(30000000001)->signature == "hang/kworkers");
    CHECK(!at::judge_unread_books(false));
    CHECK(at::judge_unread_books(true)->signature == "hang/books-blocked");
}
