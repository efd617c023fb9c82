// Timing oracle: was this request answered when its bounds say, and on the list while it flew?
//
// When an event came is known by the ring alone: a reap that began at t and found the ring empty
// afterwards proves that an event which a later reap brings was put there after t.  So a reaper
// that comes late makes no request look late.  From every wait the time is taken off in which a
// CPU did not schedule (heartbeat.h).
//
//   flying ───────────────────────────────── ring seen empty ── event
//      │        io_cancel = -EINPROGRESS ───────────│  its own bound: the stop's, or the abort's
//      │        io_cancel = -EINVAL ────────────────│  it was on the list: -EINVAL is wrong
//      │        fsync returned ─────────────────────│  fsync did not wait for it
//      └──────────── time-out ──────────────────────│  only its time-out answered it
#pragma once

#include <cstdint>
#include <optional>

#include "lib/findings.h"
#include "lib/knobs.h"
#include "lib/plan.h"

namespace at {

// Of one event; 0: did not happen.
struct Waits {
    std::uint64_t flying_ns = 0;     // io_submit() had returned
    std::uint64_t cancel_ns = 0;     // io_cancel() had accepted, or had said that it is ending
    std::uint64_t einval_ns = 0;     // io_cancel() had denied that it is on the list
    std::uint64_t fsynced_ns = 0;    // an fsync that was begun later had returned
    std::uint64_t ring_empty_ns = 0; // the ring was seen empty after this
    std::uint64_t unhealthy_ns = 0;  // of the time since `flying`
};

struct WaitBounds {
    std::uint64_t answer_ns = 0;    // a longer wait needs a fault
    std::uint64_t timed_out_ns = 0; // a shorter wait was not ended by the time-out
    std::uint64_t cancel_ns = 0;    // as `answer`, since the cancel
    std::uint64_t last_ns = 0;      // a longer wait is wrong whatever the faults
    std::uint64_t reach_ns = 0;     // a fault may still make wait what is submitted so much later
    bool answer_explained = false;  // the plan has faults that make requests wait
    bool unlogged = false;          // … some of which the injector's log of losses does not tell
    bool cancel_explained = false;  // … and that keep a cancel from its work
    bool reset_explained = false;   // … and that keep a stop from being acknowledged in its time
    bool cancels = true;            // the target registers its requests
    std::uint32_t explained_each = 0; // requests that one such fault can make wait
};
WaitBounds wait_bounds(const Plan& plan, const KnobValues& knobs);

struct WaitVerdict {
    std::optional<Finding> finding;
    bool waited = false;        // longer than `answer`, and a fault may explain it: to be accounted
    bool cancel_waited = false; // the same of a cancelled one: its time-out alone answered it
};
WaitVerdict judge_waits(const Waits& waits, const WaitBounds& bounds);

// Each firing explains at most so many waits as there are requests in flight.  `fired` is read
// after the other two, so that no cause is missing in it.
std::optional<Finding> judge_account(std::uint64_t waited, std::uint64_t timed_out,
                                     std::uint64_t fired, const WaitBounds& bounds);

// Did the CPUs schedule in too little of a life of `wall_ns` for its time-out to mean anything? The
// time-out may have come in the worse part of a life that a late answer made longer.
bool is_starved(std::uint64_t healthy_ns, std::uint64_t wall_ns, std::uint64_t timeout_ns);

// A timer never fires half its time too soon: who says -ETIMEDOUT by then was taken for another.
// `age_ns`: from before its submission to after its event, with no CPU that stood still meanwhile,
// whose ticks would come late and make the timers that are armed before them short.
std::optional<Finding> judge_early_timeout(std::uint64_t age_ns, std::uint64_t timeout_ns);

// A driver resets an engine that does not acknowledge a stop in time; nothing but a fault, or a CPU
// that stood still for half that time (`stalls`), keeps this one from it.
std::optional<Finding> judge_resets(std::int64_t resets, std::uint64_t stalls,
                                    const WaitBounds& bounds);

// Faults that make requests wait, by their place in the plan.
bool makes_wait(const Fault& fault, std::uint64_t timeout_ns);

} // namespace at
