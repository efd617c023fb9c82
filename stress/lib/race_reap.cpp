#include "lib/race_parts.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>

#include <sys/syscall.h>
#include <unistd.h>

#include "lib/futex.h"
#include "lib/kioctx.h"
#include "lib/pattern.h"

namespace at {

namespace {

constexpr std::uint32_t max_reap = 128;

} // namespace

void Race::settle(std::uint32_t index, std::byte* memory) {
    Slot& slot = shared_.slots[index];
    Region& region = regions_[index];
    const std::uint64_t region_at = index * geometry_.region_bytes;
    const std::uint64_t generation = generation_of(slot.word.load(std::memory_order_relaxed));
    const bool swept = slot.res == INT64_MIN;
    if (slot.op.load(std::memory_order_relaxed) != Op::transfer)
        return;
    auto report = [&](std::optional<Finding> finding) {
        if (!finding)
            return;
        finding->evidence.push_back(describe_slot(shared_, index));
        if (finding->oracle == "late-write")
            shared_.count(Counter::late_writes);
        shared_.report(*finding);
    };
    forget_replaced(slot, region);
    std::optional<Finding> guards;
    if (memory)
        guards = judge_guards(slot, index, memory, geometry_.buffer_stride, guard_bytes);
    if (guards) {
        report(guards);
        pattern_fill(canary_of(index), 0, memory, geometry_.buffer_stride);
    }
    report(private_.judge(slot, index));
    if (slot.is_read) {
        if (!swept && !guards && memory && bytes_judged_)
            report(judge_read(slot, index, memory, region, region_at));
        if (slot.res > 0)
            shared_.count(Counter::bytes_verified, static_cast<std::uint64_t>(slot.res));
    } else if (!slot.edge) {
        const std::uint64_t payload = stamp(Stamp::payload, index, generation);
        if (!guards && memory)
            report(judge_source(slot, payload, memory));
        const std::uint64_t at = slot.device_at - region_at;
        region.unknown(at, slot.length);
        if (bytes_stored_ && slot.res > 0 && slot.res <= slot.length) {
            const auto moved = static_cast<std::uint64_t>(slot.res);
            pattern_fill(payload, 0, region.content(at), moved);
            region.wrote(at, moved);
            forget_replaced(slot, region);
        }
        region.remember({generation, at, slot.length, slot.segments, slot.res});
        region.source_device_at = at;
        region.source_buffer_at = slot.segment[0].at;
        region.source_length = bytes_stored_ && slot.segments == 1 ? slot.length : 0;
    }
    if (memory)
        fill_canary(slot, index, memory);
}

void Race::on_event(const io_event& event, bool destroyed, std::uint64_t ring_empty_ns) {
    const auto claimed = claim_event(shared_, iocbs_, event);
    if (!claimed)
        return;
    const std::uint32_t index = *claimed;
    Slot& slot = shared_.slots[index];
    const std::uint64_t generation = generation_of(slot.word.load(std::memory_order_relaxed));
    slot.destroyed = destroyed;
    slot.answered_ns = coarse_ns();
    slot.answered_healthy_ns = shared_.healthy_ns();
    slot.answered_exact_ns = monotonic_ns();
    slot.ring_empty_ns = ring_empty_ns;
    if (take_settling(slot, generation))
        settle(index, buffer(index));
    shared_.count(Counter::completed);
    if (slot.res == -ENODEV)
        nodev_seen_.fetch_add(1, std::memory_order_relaxed);
    shared_.contexts[slot.context.load(std::memory_order_relaxed)].in_flight.fetch_sub(
        1, std::memory_order_acq_rel);
    slot.word.store(slot_word(generation, SlotState::answered), std::memory_order_release);
    submitters_[index / geometry_.depth]->answered.fetch_add(1, std::memory_order_release);
}

int Race::reap(std::uint32_t index, long min_nr, std::uint64_t timeout_ns) {
    ContextSlot& context = shared_.contexts[index];
    const Inside inside(context);
    if (!inside)
        return 0;
    io_event events[max_reap];
    const std::uint64_t ring_empty_ns = context.empty_ns.load(std::memory_order_acquire);
    const long got = reap_events(
        shared_, context, inside, min_nr, timeout_ns, events,
        [&](const io_event& event, bool destroyed) { on_event(event, destroyed, ring_empty_ns); });
    if (got > 0)
        for (const auto& submitter : submitters_)
            if (submitter->waiting.load(std::memory_order_relaxed))
                wake(submitter->answered, 1);
    return static_cast<int>(got);
}

void Race::reap_loop(std::uint32_t index, Random random) {
    const std::uint32_t contexts = geometry_.contexts;
    std::uint32_t at = index % contexts;
    std::uint32_t fruitless = 0;
    WindowRacer racer(windows_.get(), Racer::reaper);
    while (!quiet_.load(std::memory_order_acquire) &&
           !shared_.abandon.load(std::memory_order_relaxed)) {
        if (placed_reap(racer, random))
            continue;
        at = (at + 1) % contexts;
        const std::int32_t in_flight =
            shared_.contexts[at].in_flight.load(std::memory_order_relaxed);
        if (in_flight <= 0 && ++fruitless < contexts)
            continue;
        if (in_flight <= 0) { // a whole round without work
            fruitless = 0;
            wait_for_change(submissions_, submissions_.load(std::memory_order_relaxed), ms / 2);
            continue;
        }
        // A canceller can only lose to a completion whose event was not reaped yet.
        if (cancellers_ && random.below(2) && scarce_outcome() == Sought::loss)
            wait_for_change(submissions_, submissions_.load(std::memory_order_relaxed), ms / 10);
        // Wait for a few at once, but not for long: batches save system calls, and a reaper that
        // comes late lets completions pile up for the destroyer.
        const bool wait = contexts == 1 || fruitless++ >= contexts;
        const long min_nr =
            wait ? 1 + random.below(static_cast<std::uint32_t>(std::min(in_flight, 8))) : 0;
        if (reap(at, min_nr, wait ? ms : 0) > 0)
            fruitless = 0;
        if (permitted_.removal && !removal_expected_ &&
            nodev_seen_.load(std::memory_order_relaxed) > 256)
            shared_.stop.store(1, std::memory_order_release);
    }
}

} // namespace at
