// Contract oracle of the calls beside a request's own event: what io_submit, io_destroy, fsync,
// read, poll and close may answer, and how long they may take.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/findings.h"

namespace at {

// io_submit() that took nothing.  EAGAIN is always legal; EINVAL where the context, or the file's
// way of being polled, explains it.  `of`: what was submitted, for the title.
std::optional<Finding> judge_submit(int answer, bool einval_explained, const std::string& of = "");

// Of all calls of io_destroy() for one context exactly one answers 0 (fs/aio.c, kill_ioctx()).
std::optional<Finding> judge_destroyers(std::uint32_t winners);

// A call that waits for requests that were submitted before, and for no others: each ends by its
// time-out and the stop that this takes.  `last_ns`: the longest that one of these may take, 0:
// there is none; `held_ns`: the device was held for a racer.
std::optional<Finding> judge_call_wait(const std::string& call, std::uint64_t waited_ns,
                                       std::uint64_t held_ns, std::uint64_t last_ns);

// fsync(2), by its errno; 0: it succeeded.
std::optional<Finding> judge_fsync(int error, bool removal);

// Of a request with @res that an fsync of the same open file waited for, and succeeded: what ended
// with ENODEV did as the device was gone, and whoever waited for it is told (driver/zcdma.c,
// zcdma_fsync()).
std::optional<Finding> judge_fsynced(std::int64_t res, bool fsynced);

// read(2) at the file's position: it moves by what the call answered.
std::optional<Finding> judge_position(std::int64_t before, std::int64_t got, std::int64_t after);

// The same as /proc shows it, after reads that answered `sum` bytes in all.
std::optional<Finding> judge_shown_position(std::int64_t shown, std::int64_t sum);

// poll(2) said that a direction has room while `proven` transfers of it were in flight, of which
// `limit` leave none.
std::optional<Finding> judge_ready(std::uint32_t proven, std::uint32_t limit);

// poll(2): `healthy_ns` is how long it took, `slept_on` that nothing woke it, `idle` that nothing
// is in flight and nothing was begun meanwhile.
std::optional<Finding> judge_sleeper(bool slept_on, bool idle, std::uint64_t healthy_ns,
                                     std::uint64_t last_ns);
// poll(2) that sleeps, `asleep` and not merely without a CPU, while another look at the device has
// said for so long of healthy time that what it waits for is there.
std::optional<Finding> judge_overslept(bool asleep, std::uint64_t ready_for_ns);
// fsync(2) that sleeps, `asleep` as above, while for so long of healthy time the driver has had no
// request that is as old.
std::optional<Finding> judge_fsync_overslept(bool asleep, std::uint64_t drained_for_ns);
std::optional<Finding> judge_revents(short asked, short revents, bool removal);

// A request that waits for descriptors, and so much time later, in which nothing was drawn out,
// still does although they are there.
std::optional<Finding> judge_passed_over(std::uint64_t undisturbed_ns);

// The same of a request that waits in a device which is gone.
std::optional<Finding> judge_left_in_gone(std::uint64_t undisturbed_ns);

// A request with RWF_NOWAIT that waits in a device which was halted from before its call to after
// it.
Finding taken_while_halted();

// A request with RWF_NOWAIT that was taken, when so many others were in the device's lists before,
// during and after its call: each has a descriptor or waits for one.
std::optional<Finding> judge_nowait_taken(std::size_t others, std::size_t ring);

// A read into a buffer that is registered with io_uring: bytes or -errno.  ENOMEM: the kernel did
// not register it.
std::optional<Finding> judge_registered_buffer(std::int64_t answer);

// open, dup, dup3 and close of a device that is there; `error` 0: it succeeded.
std::optional<Finding> judge_file_call(const std::string& call, int error);

// A read of one byte or more from the device's beginning: bytes or -errno.
std::optional<Finding> judge_read_at_start(std::int64_t answer);

// A request whose io_cancel() was accepted (-EINPROGRESS) before it was queued: zc_queue() refuses
// it, where a cancellation does more than to leave a mark (docs/interfaces.md).
std::optional<Finding> judge_cancelled_early(bool started);

// A call, by what it answered or -errno, to a device that is gone for good.
std::optional<Finding> judge_call_of_removed(const std::string& call, std::int64_t answer);
// A debugfs file of it that was open before: debugfs refuses (fs/debugfs/file.c,
// debugfs_file_get()), whoever the file is of.
std::optional<Finding> judge_books_of_removed(const std::string& file, std::int64_t answer);
// poll(2), asked for nothing or for room, that returned so long after the device had gone.
std::optional<Finding> judge_poll_of_removed(short revents, std::uint64_t late_ns);

// A card was pulled, and so much healthy time later poll(2) does not say that it is gone.
std::optional<Finding> judge_unnoticed(std::uint64_t healthy_ns);

// delete_module() while files of the module are open: 0 or -errno.
std::optional<Finding> judge_unload_in_use(int answer);

// A context belongs to the mm that made it (fs/aio.c, lookup_ioctx()): a child's calls with it.
std::optional<Finding> judge_child_call(const std::string& call, std::int64_t answer);
std::optional<Finding> judge_child_read(std::int64_t answer);
// A buffer in a forked child, which is its own, by two checksums.
std::optional<Finding> judge_child_memory(std::uint64_t before, std::uint64_t now,
                                          std::uint32_t buffer);

// One io_pgetevents() on a context without requests, with a signal that may come.
struct SignalWait {
    std::int64_t answer = 0;
    std::uint64_t took_ns = 0;
    std::uint64_t timeout_ns = 0;
    bool let_in = false;    // the call's mask lets the signal in
    bool handled = false;   // its handler ran
    bool mask_kept = false; // afterwards it is blocked again
};
std::vector<Finding> judge_signal_wait(const SignalWait& wait);

// At aio-max-nr: an io_setup() that was refused, a request in a context that was given, the count
// itself, and io_destroy().
std::vector<Finding> judge_setup_refused(int answer, bool left_id);
std::optional<Finding> judge_submit_at_limit(int taken);
std::optional<Finding> judge_aio_nr(long count, long limit);
std::optional<Finding> judge_destroy_at_limit(int answer);

} // namespace at
