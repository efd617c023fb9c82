#include "lib/ledger.h"

#include <algorithm>
#include <cstdio>

#include "lib/system.h"

namespace at {

const char* call_name(Call call) {
    static const char* const names[] = {
        "none",  "io_setup", "io_submit",     "io_cancel",     "io_getevents", "io_destroy",
        "pread", "pwrite",   "open",          "close",         "fork",         "waitpid",
        "remap", "removal",  "delete_module", "io_pgetevents", "hotplug",      "reclaim",
        "read",  "fsync",    "poll",          "ioctl",         "write_back"};
    static_assert(std::size(names) == static_cast<std::size_t>(Call::count));
    return call < Call::count ? names[static_cast<std::uint32_t>(call)] : "?";
}

const char* role_name(Role role) {
    static const char* const names[] = {"none",      "submitter", "canceller", "reaper",
                                        "destroyer", "main",      "tender",    "disturber"};
    const auto index = static_cast<std::uint32_t>(role);
    return index < std::size(names) ? names[index] : "?";
}

const char* counter_name(Counter counter) {
    static const char* const names[] = {"submitted",
                                        "completed",
                                        "cancelled",
                                        "cancel_calls",
                                        "cancel_einprogress",
                                        "cancel_einval",
                                        "cancel_ealready",
                                        "cancel_won",
                                        "cancel_lost",
                                        "destroyed",
                                        "destroyed_inflight",
                                        "destroy_einval",
                                        "destroyers_met",
                                        "swept",
                                        "refused",
                                        "killed_inflight",
                                        "events_lost",
                                        "events_dup",
                                        "late_writes",
                                        "reads",
                                        "writes",
                                        "vectored",
                                        "sync_ios",
                                        "short_results",
                                        "whole_results",
                                        "timeouts",
                                        "timeouts_stalled",
                                        "errors",
                                        "nodev",
                                        "bytes_verified",
                                        "watched_again",
                                        "submit_calls",
                                        "reap_calls",
                                        "wakes",
                                        "closes",
                                        "hangups",
                                        "freed_queues",
                                        "lives",
                                        "outside",
                                        "disturbed",
                                        "closed_inflight",
                                        "opened_inflight",
                                        "polled_inflight",
                                        "cleaned_inflight",
                                        "pages_dropped",
                                        "unloads_refused",
                                        "removals",
                                        "binds_starved",
                                        "removed_inflight",
                                        "reloads",
                                        "loads_starved",
                                        "signals_met",
                                        "killed_inside",
                                        "waits_timed",
                                        "forks",
                                        "forked_inflight",
                                        "remapped_inflight",
                                        "rings_moved",
                                        "limit_reached",
                                        "storms",
                                        "hotplugs",
                                        "reclaims",
                                        "compared",
                                        "compared_uring",
                                        "polls",
                                        "fsyncs",
                                        "bad_buffers",
                                        "lulls",
                                        "nowaits_looked_for",
                                        "waited",
                                        "timeouts_bare",
                                        "longest_wait_us",
                                        "longest_cancel_us",
                                        "cancelled_flying",
                                        "urbs",
                                        "urbs_discarded",
                                        "halts",
                                        "port_resets",
                                        "unbinds",
                                        "disconnects",
                                        "reopens"};
    static_assert(std::size(names) == counters_count);
    return names[static_cast<std::uint32_t>(counter)];
}

void SharedRun::report(const Finding& finding) {
    if (findings.mutes(finding))
        return;
    std::uint64_t none = 0;
    // Whoever is first fixes the time; relaxed: read after the run alone.
    if (first_finding_ns.compare_exchange_strong(none, monotonic_ns(), std::memory_order_relaxed))
        first_finding_submitted.store(value(Counter::submitted), std::memory_order_relaxed);
    findings.post(finding);
}

std::uint64_t SharedRun::healthy_ns() const {
    std::uint64_t least = ~std::uint64_t{0};
    for (std::uint32_t cpu = 0; cpu < cpus; ++cpu)
        least = std::min(least, heartbeats[cpu].healthy_ns.load(std::memory_order_relaxed));
    for (std::uint32_t cpu = 0; cpu < work_cpus; ++cpu)
        least = std::min(least, work_beats[cpu].healthy_ns.load(std::memory_order_relaxed));
    return least;
}

EventVerdict book_event(Slot& slot, std::uint64_t generation) {
    // acq_rel on success: the first to count owns the answer, and sees what the submitter wrote
    // before it opened the generation with a release store of `events`.
    std::uint64_t seen = slot.events.load(std::memory_order_acquire);
    do {
        if (generation_of(seen) != generation)
            return generation_of(seen) > generation ? EventVerdict::duplicate
                                                    : EventVerdict::stranger;
        if ((seen & 0xff) == 0xff)
            return EventVerdict::duplicate;
    } while (!slot.events.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel,
                                                std::memory_order_acquire));
    return (seen & 0xff) == 0 ? EventVerdict::first : EventVerdict::duplicate;
}

bool take_settling(Slot& slot, std::uint64_t generation) {
    std::uint64_t free = generation << 8;
    // acq_rel: the one who settles sees the buffer as the one who set it up left it.
    return slot.settler.compare_exchange_strong(free, free | 1, std::memory_order_acq_rel);
}

bool event_is_owed(const SharedRun& run, const Slot& slot, std::uint64_t since_ns) {
    const ContextSlot& context =
        run.contexts[slot.context.load(std::memory_order_relaxed) % max_contexts];
    return context.state.load(std::memory_order_acquire) == ContextState::live &&
           context.incarnation.load(std::memory_order_relaxed) ==
               slot.incarnation.load(std::memory_order_relaxed) &&
           context.empty_ns.load(std::memory_order_acquire) > since_ns;
}

LeftAtDeath left_at_death(const SharedRun& run) {
    LeftAtDeath left;
    for (std::uint32_t i = 0; i < run.slots_used; ++i) {
        const SlotState state = state_of(run.slots[i].word.load(std::memory_order_relaxed));
        left.in_flight += in_flight(state);
        left.unseen += state != SlotState::idle;
    }
    for (const ThreadBoard& board : run.threads)
        left.unseen += board.role.load(std::memory_order_relaxed) == Role::submitter &&
                       board.now_in() == Call::read;
    return left;
}

std::string describe_slot(const SharedRun& run, std::uint32_t index) {
    static const char* const states[] = {"idle",  "prepared", "flying",   "answered",
                                         "swept", "refused",  "retiring", "sync"};
    const Slot& slot = run.slots[index];
    const std::uint64_t word = slot.word.load(std::memory_order_acquire);
    static const char* const ops[] = {"", " fsync", " fdsync", " poll"};
    char text[320];
    std::snprintf(
        text, sizeof text,
        "cookie=0x%llx slot=%u gen=%llu state=%s %s%s%s%s%s%s context=%u/%u device_at=0x%llx "
        "len=%u segments=%u res=%lld cancel: einprogress=%u ealready=%u einval=%u",
        static_cast<unsigned long long>(cookie_of(index, generation_of(word))), index,
        static_cast<unsigned long long>(generation_of(word)),
        states[static_cast<std::uint8_t>(state_of(word)) % 8], slot.is_read ? "read" : "write",
        slot.is_sync ? " sync" : "", slot.nowait ? " nowait" : "", slot.edge ? " edge" : "",
        slot.bad ? " bad" : "", ops[static_cast<std::uint8_t>(slot.op.load()) % 4],
        slot.context.load(std::memory_order_relaxed),
        slot.incarnation.load(std::memory_order_relaxed),
        static_cast<unsigned long long>(slot.device_at), slot.length, slot.segments,
        static_cast<long long>(slot.res), slot.einprogress.load(std::memory_order_relaxed),
        slot.ealready.load(std::memory_order_relaxed), slot.einval.load(std::memory_order_relaxed));
    return text;
}

} // namespace at
