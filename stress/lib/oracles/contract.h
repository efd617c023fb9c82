// Contract oracle: may this request have had this event, after these answers of io_cancel()?
//
// Rules of fs/aio.c (5.10 to 7.3) and of the driver's contract (docs/interfaces.md section 2; the
// table of faults in docs/architecture.md):
//   res2 is 0.
//   -ECANCELED needs an io_cancel() that was answered -EINPROGRESS, or a context being destroyed.
//   io_cancel() deletes the request from the list whatever ki_cancel() said, so at most one call
//   is answered other than -EINVAL.
//   After -EALREADY completion had begun: the event carries the true result.
//   A request whose memory is not all there, or is not writable for a read, is answered EFAULT and
//   moves nothing.  One of more pages than the ring has descriptors, or than 256, moves what fits.
//   fsync answers 0.  A poll answers what it was asked for, ERR and HUP of a removed device, or 0:
//   cancelled, by the kernel itself when it would sleep on two queues (fs/aio.c, aio_poll()).
//   A result that is an errno or short needs the fault, the end of the device, or the measured
//   stall that explains it.  The fault `short` moves at least one byte, and makes one transfer
//   short.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/findings.h"
#include "lib/knobs.h"
#include "lib/ledger.h"
#include "lib/plan.h"

namespace at {

// What the plan's faults permit.
struct Permitted {
    bool corrupt = false;
    bool removal = false;
    bool shorts = false;
    bool timeouts = false;
    bool cancels = true; // the target cancels at all
    std::vector<int> errnos;
};
Permitted permitted_by(const Plan& plan, const KnobValues& knobs);

struct Answer {
    std::int64_t res = 0;
    std::int64_t res2 = 0;
    std::uint32_t length = 0;
    bool is_read = true;
    bool is_sync = false;
    bool nowait = false;
    Op op = Op::transfer;
    bool bad = false;             // its memory cannot be used: EFAULT
    std::int64_t limit = 1 << 30; // bytes that the target takes at once
    short poll_events = 0;
    std::optional<std::int64_t> at_device_end; // the true result there: bytes, or -ENOSPC
    std::uint32_t einprogress = 0;
    std::uint32_t ealready = 0;
    bool destroyed = false; // the context was being destroyed when the event was seen
    bool stalled = false;   // a CPU stood still long enough to explain a time-out
};

// What a transfer moves if nothing goes wrong: bytes, or -ENOSPC.
std::int64_t whole_result(const Answer& answer);
std::optional<Finding> judge(const Answer& answer, const Permitted& permitted);

// Of a whole run: `fired` times the fault `short`.
std::optional<Finding> judge_shorts(std::uint64_t seen, std::uint64_t fired);

// An answer of io_cancel() itself: nullopt, or what is wrong with it.
std::optional<Finding> judge_cancel_answer(int answer, bool result_written);

// Symbolic name of an errno, for titles: "EIO", or "errno 999".
std::string errno_name(int error);

} // namespace at
