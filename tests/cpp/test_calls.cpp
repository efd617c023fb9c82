// What calls beside a request's event may answer, and how long they may take.
#include <catch2/catch.hpp>

#include <cerrno>

#include <poll.h>

#include "lib/oracles/calls.h"
#include "lib/ready_claim.h"

namespace {

constexpr std::uint64_t ms = 1000000;

std::string named(const std::optional<at::Finding>& finding) {
    return finding ? finding->signature : "";
}

} // namespace

TEST_CASE("io_submit may be refused for want of room, or for a reason that is known") {
    CHECK(named(at::judge_submit(3, false)).empty());
    CHECK(named(at::judge_submit(-EAGAIN, false)).empty());
    CHECK(named(at::judge_submit(-EINVAL, true)).empty());
    CHECK(named(at::judge_submit(-EINVAL, false)) == "contract/submit-EINVAL");
    CHECK(named(at::judge_submit(-EBADF, true)) == "contract/submit-EBADF");
    CHECK(at::judge_submit(-EBADF, true, " of a poll")->title ==
          "io_submit of a poll answered EBADF");
}

TEST_CASE("one call of io_destroy wins a context") {
    CHECK(named(at::judge_destroyers(1)).empty());
    CHECK(named(at::judge_destroyers(0)) == "contract/destroy-nobody");
    CHECK(named(at::judge_destroyers(2)) == "contract/destroy-twice");
}

TEST_CASE("a call that waits for requests lasts no longer than they may") {
    CHECK(named(at::judge_call_wait("fsync", 500 * ms, 0, 300 * ms)).empty());
    CHECK(named(at::judge_call_wait("fsync", 501 * ms, 0, 300 * ms)) == "hang/late/fsync");
    CHECK(named(at::judge_call_wait("close", 201 * ms, 0, 0)) == "hang/late/close");
    CHECK(named(at::judge_call_wait("close", 201 * ms, 2 * ms, 0)).empty());
}

TEST_CASE("fsync succeeds, but for a device that the plan removes") {
    CHECK(named(at::judge_fsync(0, false)).empty());
    CHECK(named(at::judge_fsync(ENODEV, true)).empty());
    CHECK(named(at::judge_fsync(ENODEV, false)) == "contract/fsync-ENODEV");
    CHECK(named(at::judge_fsync(EIO, true)) == "contract/fsync-EIO");
}

TEST_CASE("fsync does not succeed for what ended as its device was gone") {
    CHECK(named(at::judge_fsynced(-ENODEV, true)) == "contract/fsynced-ENODEV");
    CHECK(named(at::judge_fsynced(-ENODEV, false)).empty());
    CHECK(named(at::judge_fsynced(4096, true)).empty());
}

TEST_CASE("a file's position moves by what read answered") {
    CHECK(named(at::judge_position(100, 20, 120)).empty());
    CHECK(named(at::judge_position(100, -1, 100)).empty());
    CHECK(named(at::judge_position(100, 20, 100)) == "contract/position");
    CHECK(named(at::judge_position(100, -1, 120)) == "contract/position");
    CHECK(named(at::judge_shown_position(40, 40)).empty());
    CHECK(named(at::judge_shown_position(0, 40)) == "contract/position");
}

TEST_CASE("poll says that there is room only while there is") {
    at::ReadyClaim claim;
    const auto meet = [&](bool is_read, std::uint64_t flying, std::uint64_t empty) {
        return named(claim.meet(is_read, flying, empty));
    };
    CHECK(meet(true, 1, 100).empty()); // nobody has asked
    claim.make(true, 2, 10, 20);
    CHECK(meet(false, 1, 21).empty());
    CHECK(meet(true, 10, 21).empty()); // it may have come after the answer
    CHECK(meet(true, 1, 20).empty());  // it may have ended before
    for (int i = 0; i < 7; ++i)
        CHECK(meet(true, 1, 21).empty());
    CHECK(meet(true, 1, 21) == "contract/poll-ready-early");
    claim.make(true, 2, 30, 40);
    CHECK(meet(true, 1, 41).empty());
}

TEST_CASE("a sleeper in poll is woken before the driver is idle") {
    CHECK(named(at::judge_sleeper(true, true, 500 * ms, 300 * ms)) == "ledger/lost/poll");
    CHECK(named(at::judge_sleeper(false, true, 500 * ms, 300 * ms)).empty());
    CHECK(named(at::judge_sleeper(true, false, 500 * ms, 300 * ms)).empty());
    CHECK(named(at::judge_sleeper(true, true, 450 * ms, 300 * ms)).empty());
}

TEST_CASE("a sleeper in poll is woken when what it waits for is there, not by what comes next") {
    CHECK(named(at::judge_overslept(true, 50 * ms)) == "ledger/lost/poll-ready");
    CHECK(named(at::judge_overslept(true, 20 * ms)).empty());  // on its way
    CHECK(named(at::judge_overslept(false, 50 * ms)).empty()); // woken, and waits for a CPU
}

TEST_CASE("a sleeper in fsync is woken when what came before it has ended, whatever came since") {
    CHECK(named(at::judge_fsync_overslept(true, 150 * ms)) == "ledger/lost/fsync-drained");
    CHECK(named(at::judge_fsync_overslept(true, 50 * ms)).empty());
    CHECK(named(at::judge_fsync_overslept(false, 150 * ms)).empty());
}

TEST_CASE("poll answers what it was asked, and of a removed device that it is gone") {
    CHECK(named(at::judge_revents(POLLIN, POLLIN, false)).empty());
    CHECK(named(at::judge_revents(POLLIN, POLLOUT, false)) == "contract/poll-mask");
    CHECK(named(at::judge_revents(POLLIN, POLLIN | POLLHUP, true)).empty());
    CHECK(named(at::judge_revents(POLLIN, POLLIN | POLLHUP, false)) == "contract/poll-mask");
}

TEST_CASE("a device that is there can be opened, duplicated and closed") {
    CHECK(named(at::judge_file_call("open", 0)).empty());
    for (const char* call : {"open", "dup", "dup3", "close"})
        CHECK(named(at::judge_file_call(call, EIO)) == std::string("contract/") + call);
}

TEST_CASE("room is given to who waits first, and a halted device takes none that must not wait") {
    CHECK(named(at::judge_passed_over(39 * ms)).empty());
    CHECK(named(at::judge_passed_over(40 * ms)) == "ledger/lost/passed-over");
    CHECK(named(at::judge_left_in_gone(39 * ms)).empty());
    CHECK(named(at::judge_left_in_gone(40 * ms)) == "ledger/lost/gone");
    CHECK(at::taken_while_halted().signature == "contract/nowait-halted");
}

TEST_CASE("a device has bytes at its beginning") {
    CHECK(named(at::judge_read_at_start(1)).empty());
    CHECK(named(at::judge_read_at_start(-ENODEV)).empty());
    CHECK(named(at::judge_read_at_start(0)) == "contract/nothing-at-start");
}

TEST_CASE("a request is not started whose cancellation was accepted before it was queued") {
    CHECK(named(at::judge_cancelled_early(false)).empty());
    CHECK(named(at::judge_cancelled_early(true)) == "contract/cancelled-early");
}

TEST_CASE("a removed device is gone, and a module in use stays") {
    CHECK(named(at::judge_call_of_removed("pread", -ENODEV)).empty());
    CHECK(named(at::judge_call_of_removed("pread", -EIO)) == "contract/removed-answers");
    CHECK(named(at::judge_call_of_removed("fsync", 0)) == "contract/removed-answers");
    CHECK(named(at::judge_books_of_removed("remove", -EIO)).empty());
    CHECK(named(at::judge_books_of_removed("remove", 1)) == "contract/removed-books");
    CHECK(named(at::judge_books_of_removed("ring", 0)) == "contract/removed-books");
    CHECK(named(at::judge_poll_of_removed(POLLHUP | POLLERR, 200 * ms)).empty());
    CHECK(named(at::judge_poll_of_removed(POLLHUP | POLLERR, 201 * ms)) ==
          "hang/late/poll-of-removed");
    CHECK(named(at::judge_poll_of_removed(POLLIN, 0)) == "contract/removed-poll");
    CHECK(named(at::judge_unnoticed(49 * ms)).empty());
    CHECK(named(at::judge_unnoticed(50 * ms)) == "hang/late/pulled-unnoticed");
    CHECK(named(at::judge_unload_in_use(-EWOULDBLOCK)).empty());
    CHECK(named(at::judge_unload_in_use(0)) == "contract/unload-in-use");
    CHECK(named(at::judge_unload_in_use(-EIO)) == "contract/unload-in-use");
}

TEST_CASE("a child has no context of its parent's, and its memory is its own") {
    CHECK(named(at::judge_child_call("io_destroy", -EINVAL)).empty());
    CHECK(named(at::judge_child_call("io_destroy", 0)) == "contract/child-io_destroy");
    CHECK(named(at::judge_child_read(512)).empty());
    CHECK(named(at::judge_child_read(-EFAULT)) == "contract/child-read");
    CHECK(named(at::judge_child_memory(7, 7, 0)).empty());
    CHECK(named(at::judge_child_memory(7, 8, 0)) == "late-write/child");
}

TEST_CASE("a signal interrupts a wait that lets it in, and no time-out is early") {
    at::SignalWait wait;
    wait.took_ns = wait.timeout_ns = 5 * ms;
    wait.mask_kept = true;
    const auto verdict = [&] {
        const auto found = at::judge_signal_wait(wait);
        CHECK(found.size() <= 1);
        return found.empty() ? std::string() : found[0].signature;
    };
    CHECK(verdict().empty());
    wait.took_ns = 4 * ms;
    CHECK(verdict() == "contract/pgetevents-early");
    wait.answer = 1;
    CHECK(verdict() == "contract/pgetevents-event");
    wait.answer = -EINVAL;
    CHECK(verdict() == "contract/pgetevents-errno");
    wait.answer = -EINTR;
    wait.handled = true;
    CHECK(verdict() == "contract/pgetevents-blocked");
    wait.let_in = true;
    CHECK(verdict().empty());
    wait.handled = false;
    CHECK(verdict() == "contract/pgetevents-handler");
    wait.handled = true;
    wait.mask_kept = false;
    CHECK(verdict() == "contract/pgetevents-mask");
}

TEST_CASE("at the limit io_setup says EAGAIN and leaves nothing") {
    CHECK(at::judge_setup_refused(-EAGAIN, false).empty());
    CHECK(at::judge_setup_refused(-ENOMEM, false).at(0).signature == "contract/limit-errno");
    CHECK(at::judge_setup_refused(-EAGAIN, true).at(0).signature == "contract/limit-id");
    CHECK(named(at::judge_submit_at_limit(1)).empty());
    CHECK(named(at::judge_submit_at_limit(-EAGAIN)) == "contract/limit-submit");
    CHECK(named(at::judge_aio_nr(64, 64)).empty());
    CHECK(named(at::judge_aio_nr(65, 64)) == "contract/limit-above");
    CHECK(named(at::judge_destroy_at_limit(0)).empty());
    CHECK(named(at::judge_destroy_at_limit(-EINVAL)) == "contract/limit-destroy");
}

TEST_CASE("a request that must not wait is refused when the others fill the ring") {
    CHECK(named(at::judge_nowait_taken(16, 16)) == "contract/nowait-taken");
    CHECK(named(at::judge_nowait_taken(15, 16)).empty());
}

TEST_CASE("a buffer that is no user's memory is refused") {
    CHECK(named(at::judge_registered_buffer(4096)) == "contract/registered-buffer");
    CHECK(named(at::judge_registered_buffer(-EFAULT)) == "contract/registered-buffer");
    CHECK(named(at::judge_registered_buffer(-EOPNOTSUPP)).empty());
}
