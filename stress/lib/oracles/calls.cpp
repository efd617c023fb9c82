#include "lib/oracles/calls.h"

#include <algorithm>
#include <cerrno>

#include <poll.h>

#include "lib/oracles/contract.h"

namespace at {

namespace {

constexpr std::uint64_t ms = 1000000;
// Until a thread runs that was woken, beside racers that keep all CPUs busy, on a debug kernel.
constexpr std::uint64_t wake_up_ns = 200 * ms;
// A completion has counted its request off, and is on its way to the wake-up.
constexpr std::uint64_t overslept_ns = 40 * ms;
// From the interrupt of a card that goes to the end of the recovery that it asks for; less than any
// time-out, by which the driver would learn of it as well.
constexpr std::uint64_t noticed_ns = 50 * ms;

Finding wrong(const std::string& signature, const std::string& title) {
    return {"contract", title, signature, {}};
}

// What goes on for as long as the bound and longer, with its length as evidence.
std::optional<Finding> lasting(std::uint64_t ns, std::uint64_t bound_ns, const char* oracle,
                               const char* title, const char* signature) {
    if (ns < bound_ns)
        return std::nullopt;
    return Finding{oracle, title, signature, {"for " + std::to_string(ns / ms) + " ms"}};
}

std::string name_of(std::int64_t answer) {
    return answer < 0 ? errno_name(static_cast<int>(-answer)) : "success";
}

} // namespace

std::optional<Finding> judge_submit(int answer, bool einval_explained, const std::string& of) {
    if (answer >= 0 || answer == -EAGAIN || (answer == -EINVAL && einval_explained))
        return std::nullopt;
    return Finding{"contract",
                   "io_submit" + of + " answered " + errno_name(-answer),
                   "contract/submit-" + errno_name(-answer),
                   {}};
}

std::optional<Finding> judge_destroyers(std::uint32_t winners) {
    if (winners == 1)
        return std::nullopt;
    return Finding{"contract",
                   winners ? "two calls of io_destroy won one context"
                           : "no call of io_destroy won a live context",
                   winners ? "contract/destroy-twice" : "contract/destroy-nobody",
                   {}};
}

std::optional<Finding> judge_call_wait(const std::string& call, std::uint64_t waited_ns,
                                       std::uint64_t held_ns, std::uint64_t last_ns) {
    if (waited_ns <= last_ns + held_ns + wake_up_ns)
        return std::nullopt;
    return Finding{"hang",
                   call + (last_ns ? " waited longer than any request may take"
                                   : " waited, and no request of the file was left"),
                   "hang/late/" + call,
                   {"waited " + std::to_string(waited_ns / ms) + " ms"}};
}

std::optional<Finding> judge_fsync(int error, bool removal) {
    if (!error || (error == ENODEV && removal))
        return std::nullopt;
    return Finding{"contract",
                   "fsync answered " + errno_name(error),
                   "contract/fsync-" + errno_name(error),
                   {}};
}

std::optional<Finding> judge_fsynced(std::int64_t res, bool fsynced) {
    if (res != -ENODEV || !fsynced)
        return std::nullopt;
    return Finding{"contract",
                   "fsync succeeded, and what was submitted before it ended as its device was gone",
                   "contract/fsynced-ENODEV",
                   {}};
}

std::optional<Finding> judge_position(std::int64_t before, std::int64_t got, std::int64_t after) {
    if (after - before == std::max<std::int64_t>(got, 0))
        return std::nullopt;
    return Finding{"contract",
                   "read(2) left the file's position at another place than its result says",
                   "contract/position",
                   {"at " + std::to_string(before) + ", read " + std::to_string(got) +
                    ", then at " + std::to_string(after)}};
}

std::optional<Finding> judge_shown_position(std::int64_t shown, std::int64_t sum) {
    if (shown == sum)
        return std::nullopt;
    return Finding{"contract",
                   "read(2) did not move the file's position by its result",
                   "contract/position",
                   {std::to_string(shown) + ", not " + std::to_string(sum)}};
}

std::optional<Finding> judge_sleeper(bool slept_on, bool idle, std::uint64_t healthy_ns,
                                     std::uint64_t last_ns) {
    if (!slept_on || !idle || healthy_ns <= last_ns + 150 * ms)
        return std::nullopt;
    return Finding{
        "ledger", "a poll was not woken, and the driver is idle", "ledger/lost/poll", {}};
}

std::optional<Finding> judge_overslept(bool asleep, std::uint64_t ready_for_ns) {
    if (!asleep || ready_for_ns < overslept_ns)
        return std::nullopt;
    return Finding{"ledger",
                   "a poll sleeps on, and another finds the device ready",
                   "ledger/lost/poll-ready",
                   {"ready for " + std::to_string(ready_for_ns / ms) + " ms"}};
}

std::optional<Finding> judge_fsync_overslept(bool asleep, std::uint64_t drained_for_ns) {
    // One that was woken may look the same until it has a CPU; the correct driver was told of at
    // 41 ms on a host that kept half of each.
    return lasting(asleep ? drained_for_ns : 0, 3 * overslept_ns, "ledger",
                   "an fsync sleeps on, and nothing that was submitted before it is left",
                   "ledger/lost/fsync-drained");
}

std::optional<Finding> judge_ready(std::uint32_t proven, std::uint32_t limit) {
    // Uncounted already, and their events not yet in the ring: one on its way in each context of
    // each CPU.
    constexpr std::uint32_t on_their_way = 6;
    if (proven < limit + on_their_way)
        return std::nullopt;
    return Finding{
        "contract",
        "a poll was told of room while half the ring and more was taken",
        "contract/poll-ready-early",
        {std::to_string(proven) + " transfers in flight, limit " + std::to_string(limit)}};
}

std::optional<Finding> judge_revents(short asked, short revents, bool removal) {
    if (!(revents & ~(asked | (removal ? POLLERR | POLLHUP : 0))))
        return std::nullopt;
    return Finding{"contract",
                   "a poll was answered with what it did not ask for",
                   "contract/poll-mask",
                   {"revents " + std::to_string(revents)}};
}

std::optional<Finding> judge_file_call(const std::string& call, int error) {
    if (!error)
        return std::nullopt;
    return wrong("contract/" + call, call + " of the device answered " + errno_name(error));
}

std::optional<Finding> judge_read_at_start(std::int64_t answer) {
    if (answer != 0)
        return std::nullopt;
    return wrong("contract/nothing-at-start", "a read of the device's first bytes answered 0");
}

std::optional<Finding> judge_cancelled_early(bool started) {
    if (!started)
        return std::nullopt;
    return Finding{"contract",
                   "a request was started, and its cancellation had been accepted before it was "
                   "queued",
                   "contract/cancelled-early",
                   {}};
}

std::optional<Finding> judge_call_of_removed(const std::string& call, std::int64_t answer) {
    if (answer == -ENODEV)
        return std::nullopt;
    return wrong("contract/removed-answers",
                 call + " of a removed device answered " + name_of(answer));
}

std::optional<Finding> judge_books_of_removed(const std::string& file, std::int64_t answer) {
    if (answer == -EIO)
        return std::nullopt;
    return wrong("contract/removed-books",
                 "the file " + file + " of a removed device answered " + name_of(answer));
}

std::optional<Finding> judge_poll_of_removed(short revents, std::uint64_t late_ns) {
    if (!(revents & POLLHUP))
        return wrong("contract/removed-poll", "poll of a removed device did not say POLLHUP");
    if (late_ns <= wake_up_ns)
        return std::nullopt;
    return Finding{"hang",
                   "a poll slept on, and its device was gone",
                   "hang/late/poll-of-removed",
                   {"for " + std::to_string(late_ns / ms) + " ms"}};
}

std::optional<Finding> judge_unnoticed(std::uint64_t healthy_ns) {
    return lasting(healthy_ns, noticed_ns, "hang",
                   "a card was pulled, and its open files do not say so",
                   "hang/late/pulled-unnoticed");
}

std::optional<Finding> judge_unload_in_use(int answer) {
    if (answer == -EWOULDBLOCK || answer == -EBUSY)
        return std::nullopt;
    return wrong("contract/unload-in-use",
                 answer ? "delete_module with files open answered " + errno_name(-answer)
                        : std::string("the module was unloaded with files open"));
}

std::optional<Finding> judge_child_call(const std::string& call, std::int64_t answer) {
    if (answer == -EINVAL)
        return std::nullopt;
    return wrong("contract/child-" + call,
                 call + " with the parent's context answered " + name_of(answer));
}

std::optional<Finding> judge_child_read(std::int64_t answer) {
    if (answer != -EFAULT)
        return std::nullopt;
    return wrong("contract/child-read", "a child's read answered EFAULT");
}

std::optional<Finding> judge_child_memory(std::uint64_t before, std::uint64_t now,
                                          std::uint32_t buffer) {
    if (now == before)
        return std::nullopt;
    return Finding{"late-write",
                   "a forked child's memory was written by somebody else",
                   "late-write/child",
                   {"buffer " + std::to_string(buffer)}};
}

std::vector<Finding> judge_signal_wait(const SignalWait& wait) {
    std::vector<Finding> found;
    if (!wait.mask_kept)
        found.push_back(
            wrong("contract/pgetevents-mask", "io_pgetevents did not restore the signal mask"));
    const bool interrupted = wait.answer == -EINTR;
    if (wait.answer > 0)
        found.push_back(wrong("contract/pgetevents-event",
                              "io_pgetevents gave an event of a context that has no request"));
    else if (wait.answer == 0 && wait.took_ns < wait.timeout_ns)
        found.push_back(
            wrong("contract/pgetevents-early", "io_pgetevents returned 0 before its time-out"));
    else if (interrupted && !wait.let_in)
        found.push_back(wrong("contract/pgetevents-blocked",
                              "io_pgetevents was interrupted by a blocked signal"));
    else if (interrupted && !wait.handled)
        found.push_back(wrong("contract/pgetevents-handler",
                              "io_pgetevents was interrupted and no handler ran"));
    else if (wait.answer < 0 && !interrupted)
        found.push_back(
            wrong("contract/pgetevents-errno", "io_pgetevents answered " + name_of(wait.answer)));
    return found;
}

std::optional<Finding> judge_nowait_taken(std::size_t others, std::size_t ring) {
    if (others < ring)
        return std::nullopt;
    return wrong("contract/nowait-taken",
                 "a request that must not wait was taken when the ring was full");
}

std::optional<Finding> judge_passed_over(std::uint64_t undisturbed_ns) {
    return lasting(undisturbed_ns, overslept_ns, "ledger",
                   "a request waits for descriptors that are there", "ledger/lost/passed-over");
}

std::optional<Finding> judge_left_in_gone(std::uint64_t undisturbed_ns) {
    return lasting(undisturbed_ns, overslept_ns, "ledger",
                   "a request waits in a device that is gone", "ledger/lost/gone");
}

Finding taken_while_halted() {
    return wrong("contract/nowait-halted",
                 "a request that must not wait was taken when the device was halted");
}

std::optional<Finding> judge_registered_buffer(std::int64_t answer) {
    if (answer == -EOPNOTSUPP || answer == -ENOMEM)
        return std::nullopt;
    return wrong("contract/registered-buffer",
                 "a read into memory that is no user's answered " + name_of(answer));
}

std::vector<Finding> judge_setup_refused(int answer, bool left_id) {
    std::vector<Finding> found;
    if (answer != -EAGAIN)
        found.push_back(wrong("contract/limit-errno", "io_setup answered " + errno_name(-answer)));
    if (left_id)
        found.push_back(wrong("contract/limit-id", "a refused io_setup left a context's id"));
    return found;
}

std::optional<Finding> judge_submit_at_limit(int taken) {
    if (taken == 1)
        return std::nullopt;
    return wrong("contract/limit-submit",
                 "io_submit to a context near the limit answered " + errno_name(-taken));
}

std::optional<Finding> judge_aio_nr(long count, long limit) {
    if (count <= limit)
        return std::nullopt;
    return wrong("contract/limit-above", "aio-nr is above aio-max-nr");
}

std::optional<Finding> judge_destroy_at_limit(int answer) {
    if (!answer)
        return std::nullopt;
    return wrong("contract/limit-destroy", "io_destroy answered " + errno_name(-answer));
}

} // namespace at
