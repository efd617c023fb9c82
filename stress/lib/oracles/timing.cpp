#include "lib/oracles/timing.h"

#include <algorithm>
#include <string>

#include "lib/ledger.h"

namespace at {

namespace {

constexpr std::uint64_t ms = 1000000;
// What threads, work queues and timers of a busy guest take, beyond any bound of the driver's.
constexpr std::uint64_t slack_ns = 80 * ms;
// From a timer to the end of the work that it queues, beside racers.
constexpr std::uint64_t recovery_ns = 40 * ms;
// aio_complete_rw() takes a request off the list a moment before its event is in the ring
// (fs/aio.c, aio_remove_iocb() and aio_complete()).
constexpr std::uint64_t list_margin_ns = 12 * ms;
// Descriptors of requests up to this length never fill a ring of that size in one time-out.
constexpr std::int64_t short_bytes = 4096;
constexpr std::int64_t wide_ring = 2048;

std::string milliseconds_of(std::uint64_t ns) {
    return std::to_string(ns / ms) + " ms";
}

std::uint64_t between(std::uint64_t from, std::uint64_t to, std::uint64_t unhealthy) {
    return from && to > from + unhealthy ? to - from - unhealthy : 0;
}

} // namespace

bool makes_wait(const Fault& fault, std::uint64_t timeout_ns) {
    const std::string& action = fault.action;
    if (action == "delay") {
        const auto delay = fault.key("delay");
        return delay && static_cast<std::uint64_t>(parse_duration_ns(*delay)) >= timeout_ns / 8;
    }
    return action == "drop" || action == "stall" || action == "reset" || action == "remove" ||
           action == "late";
}

WaitBounds wait_bounds(const Plan& plan, const KnobValues& knobs) {
    WaitBounds bounds;
    const auto number = [&](const char* name) {
        return static_cast<std::uint64_t>(knobs.integer(name));
    };
    const std::uint64_t timeout_ns = number("timeout_ms") * ms;
    const std::uint64_t stop_ns = number("stop_ms") * ms;
    const std::string mode = knobs.text("cancel");
    bounds.cancels = mode != "none";
    std::uint64_t late_ns = number("ack_ns");
    bool slow_stop = false;
    bool blocks_all = false;
    bounds.unlogged = knobs.integer("time_to_answer") == 0;
    for (const Fault& fault : plan.faults) {
        const std::string& action = fault.action;
        bounds.answer_explained |= makes_wait(fault, timeout_ns);
        bounds.unlogged |= action == "delay" && makes_wait(fault, timeout_ns);
        if (const auto delay = fault.key("delay"))
            if (action == "late" || action == "delay")
                late_ns = std::max<std::uint64_t>(
                    late_ns, static_cast<std::uint64_t>(parse_duration_ns(*delay)));
        slow_stop |= action == "stall";
        blocks_all |= action == "stall" || action == "reset" || action == "remove" ||
                      (action == "drop" && fault.phase == "irq") || action == "delay";
        bounds.reset_explained |= action == "reset" || action == "remove";
        // An abort needs its interrupt; a flag needs an engine that comes to the descriptor; a
        // flush polls the engine's state and needs neither.
        const bool lost_state = action == "reset" || action == "remove";
        if (mode == "callback")
            bounds.cancel_explained |=
                lost_state || action == "stall" || (action == "drop" && fault.phase == "irq");
        else if (mode == "flag")
            bounds.cancel_explained |= makes_wait(fault, timeout_ns);
        else
            bounds.cancel_explained |= lost_state;
    }
    slow_stop |= late_ns >= stop_ns;
    bounds.reset_explained |= slow_stop || late_ns >= stop_ns / 2 || stop_ns < 2 * stall_ns;
    const std::uint64_t stop_bound_ns = slow_stop ? stop_ns : std::min(stop_ns, late_ns);
    bounds.answer_ns = timeout_ns / 20 * 17 + late_ns;
    bounds.timed_out_ns = timeout_ns / 5 * 4;
    bounds.cancel_ns = std::max(timeout_ns / 2, 2 * stop_bound_ns + slack_ns / 2);
    // Expired while a recovery was under way: that one's stop, and one of its own.
    bounds.last_ns = timeout_ns + 2 * stop_bound_ns + slack_ns + late_ns;
    // What it stopped is found by a time-out and put right by a halt.  Who was submitted after that
    // has its own time-out before it, for which a device that runs again needs no more.  A hung
    // transfer ends by a stop or an abort alone.
    bounds.reach_ns = timeout_ns + 2 * stop_bound_ns + recovery_ns;
    const auto in_flight = static_cast<std::uint32_t>(number("submitters") * (number("depth") + 1));
    // Slots return in the ring's order, so that one hung chain stops a ring that is small.
    const bool wide = knobs.integer("ring") >= wide_ring && knobs.integer("max_len") <= short_bytes;
    bounds.explained_each = wide && !blocks_all ? 1 : in_flight;
    return bounds;
}

WaitVerdict judge_waits(const Waits& waits, const WaitBounds& bounds) {
    const std::uint64_t answer = between(waits.flying_ns, waits.ring_empty_ns, waits.unhealthy_ns);
    const std::uint64_t cancel = between(waits.cancel_ns, waits.ring_empty_ns, waits.unhealthy_ns);
    WaitVerdict verdict;
    const auto finding = [&](const char* oracle, const char* kind, const std::string& title,
                             std::uint64_t waited) {
        verdict.finding =
            Finding{oracle, title, kind, {"in flight for another " + milliseconds_of(waited)}};
        return verdict;
    };
    if (waits.fsynced_ns && waits.ring_empty_ns > waits.fsynced_ns)
        return finding("ledger", "ledger/fsync-early",
                       "fsync returned while a request submitted before it was in flight",
                       waits.ring_empty_ns - waits.fsynced_ns);
    const std::uint64_t denied = between(waits.einval_ns, waits.ring_empty_ns, waits.unhealthy_ns);
    if (bounds.cancels && denied > list_margin_ns)
        return finding("contract", "contract/einval-in-flight",
                       "io_cancel answered EINVAL for a request that stayed in flight", denied);
    if (answer > bounds.last_ns)
        return finding("ledger", "ledger/late/beyond-bound",
                       "a request was answered later than its time-out and the stop allow", answer);
    // What ended before its time-out was late, but by whom is not known: a busy guest's kworker?
    if (cancel > bounds.cancel_ns && answer > bounds.timed_out_ns) {
        if (!bounds.cancel_explained)
            return finding("ledger", "ledger/late/cancel",
                           "a cancelled request was answered by its time-out alone", cancel);
        verdict.cancel_waited = true;
    }
    if (answer > bounds.answer_ns) {
        if (!bounds.answer_explained)
            return finding("ledger", "ledger/late/answer",
                           "a request waited for its time-out, and no fault explains it", answer);
        verdict.waited = true;
    }
    return verdict;
}

bool is_starved(std::uint64_t healthy_ns, std::uint64_t wall_ns, std::uint64_t timeout_ns) {
    return healthy_ns < std::max(wall_ns, timeout_ns) / 4 * 3;
}

std::optional<Finding> judge_early_timeout(std::uint64_t age_ns, std::uint64_t timeout_ns) {
    if (age_ns >= timeout_ns / 2)
        return std::nullopt;
    return Finding{"ledger",
                   "a request timed out long before its time-out",
                   "ledger/late/timed-out-early",
                   {"submitted " + milliseconds_of(age_ns) + " before, with a time-out of " +
                    milliseconds_of(timeout_ns)}};
}

std::optional<Finding> judge_resets(std::int64_t resets, std::uint64_t stalls,
                                    const WaitBounds& bounds) {
    if (bounds.reset_explained || resets <= static_cast<std::int64_t>(stalls))
        return std::nullopt;
    return Finding{"ledger",
                   "the engine was reset, and nothing kept it from stopping",
                   "ledger/late/reset",
                   {"reset " + std::to_string(resets) + " times, CPUs stood still " +
                    std::to_string(stalls) + " times"}};
}

std::optional<Finding> judge_account(std::uint64_t waited, std::uint64_t timed_out,
                                     std::uint64_t fired, const WaitBounds& bounds) {
    const std::uint64_t explained = fired * bounds.explained_each;
    const auto evidence = [&](const char* what, std::uint64_t count) {
        return std::vector<std::string>{std::string(what) + " " + std::to_string(count) + ", " +
                                        std::to_string(fired) + " faults explain " +
                                        std::to_string(explained)};
    };
    if (timed_out > explained)
        return Finding{"ledger", "more requests timed out than faults can explain",
                       "ledger/late/too-many-timeouts", evidence("timed out", timed_out)};
    if (waited > explained)
        return Finding{"ledger", "more requests waited for their time-out than faults can explain",
                       "ledger/late/too-many-waits", evidence("waited", waited)};
    return std::nullopt;
}

} // namespace at
