#include "lib/race_parts.h"

#include <string>

#include "lib/futex.h"
#include "lib/kioctx.h"

namespace at {

bool Race::make_context(std::uint32_t index) {
    std::string why;
    if (open_context(shared_, index, geometry_.slots + 8, rings_, why))
        return true;
    harness_error(why);
    return false;
}

void Race::sweep(std::uint32_t index) {
    ContextSlot& context = shared_.contexts[index];
    const std::uint32_t incarnation = context.incarnation.load(std::memory_order_relaxed);
    for (std::uint32_t slot = 0; slot < geometry_.slots; ++slot) {
        Slot& s = shared_.slots[slot];
        const std::uint64_t word = s.word.load(std::memory_order_acquire);
        if (state_of(word) != SlotState::flying ||
            s.context.load(std::memory_order_relaxed) != index ||
            s.incarnation.load(std::memory_order_relaxed) != incarnation)
            continue;
        shared_.count(Counter::swept);
        s.res = INT64_MIN; // unknown: its event went with the ring
        s.destroyed = true;
        if (take_settling(s, generation_of(word)))
            settle(slot, buffer(slot));
        s.word.store(slot_word(generation_of(word), SlotState::swept), std::memory_order_release);
        SubmitterState& submitter = *submitters_[slot / geometry_.depth];
        submitter.answered.fetch_add(1, std::memory_order_release);
        if (submitter.waiting.load(std::memory_order_relaxed))
            wake(submitter.answered, 1);
    }
    context.in_flight.store(0, std::memory_order_release);
}

// False when the context was left alone.
bool Race::destroy(std::uint32_t index, Random& random) {
    const Destruction what = destroy_context(shared_, index, random, !blind_);
    if (what == Destruction::ended) {
        sweep(index);
        make_context(index);
    }
    return what != Destruction::none;
}

void Race::destroy_loop(std::uint32_t, Random random) {
    WindowRacer racer(windows_.get(), Racer::destroyer);
    while (!stopped()) {
        if (keeps_still())
            continue;
        if (blind_) {
            pause_drawn(random, 0, blind_pause_us);
            destroy(random.below(geometry_.contexts), random);
            continue;
        }
        if (placed_destroy(racer, random))
            continue;
        const std::uint32_t seen = submissions_.load(std::memory_order_acquire);
        const std::uint32_t drawn = random.below(geometry_.contexts);
        const std::uint32_t index = context_to_meet_at(shared_).value_or(drawn);
        const ContextSlot& context = shared_.contexts[index];
        const auto wanted = static_cast<std::int32_t>(1 + random.below(4));
        const ContextState state = context.state.load(std::memory_order_relaxed);
        const bool chosen = state == ContextState::dying ||
                            (state == ContextState::live &&
                             context.in_flight.load(std::memory_order_relaxed) >= wanted);
        if (chosen && destroy(index, random))
            continue;
        submission_waiters_.fetch_add(1, std::memory_order_relaxed);
        wait_for_change(submissions_, seen, ms / 2); // until something is submitted
        submission_waiters_.fetch_sub(1, std::memory_order_relaxed);
    }
}

} // namespace at
