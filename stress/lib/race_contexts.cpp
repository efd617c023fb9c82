#include "lib/race_parts.h"

#include <cerrno>

#include <sched.h>

#include "lib/futex.h"

namespace at {

bool Race::make_context(std::uint32_t index) {
    ContextSlot& context = shared_.contexts[index];
    io_context_t id = nullptr;
    int answer = 0;
    {
        const Calling calling(Call::io_setup);
        answer = io_setup(static_cast<int>(geometry_.slots + 8), &id);
    }
    if (answer) {
        harness_error("io_setup: " + errno_name(-answer));
        return false;
    }
    std::string why;
    if (!rings_.place(id, why)) {
        harness_error(why);
        return false;
    }
    context.id.store(reinterpret_cast<std::uint64_t>(id), std::memory_order_relaxed);
    context.in_flight.store(0, std::memory_order_relaxed);
    context.empty_ns.store(0, std::memory_order_relaxed);
    context.incarnation.fetch_add(1, std::memory_order_relaxed);
    context.state.store(ContextState::live, std::memory_order_seq_cst);
    return true;
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
    ContextSlot& context = shared_.contexts[index];
    ContextState expected = ContextState::live;
    if (!context.state.compare_exchange_strong(expected, ContextState::claimed,
                                               std::memory_order_seq_cst)) {
        // Somebody is at it: now and then two io_destroy() meet.  Which of them wins is open.
        if (expected != ContextState::dying || random.below(4))
            return false;
        const Inside inside(context);
        if (!inside || context.state.load(std::memory_order_seq_cst) != ContextState::dying)
            return false;
        const Calling calling(Call::io_destroy);
        const int answer = io_destroy(inside.id());
        if (answer == 0)
            context.destroy_wins.fetch_add(1, std::memory_order_acq_rel);
        else if (answer == -EINVAL)
            shared_.count(Counter::destroy_einval);
        else
            shared_.report({"contract",
                            "io_destroy answered " + errno_name(-answer),
                            "contract/destroy-" + errno_name(-answer),
                            {}});
        return true;
    }
    const auto id = reinterpret_cast<io_context_t>(context.id.load(std::memory_order_relaxed));
    // Nobody else destroys a claimed context, so the ring is still mapped here.
    const auto* ring = reinterpret_cast<const volatile AioRing*>(id);
    const std::uint32_t nr = ring->nr ? ring->nr : 1;
    const std::uint32_t unreaped = (ring->tail % nr + nr - ring->head % nr) % nr;
    const bool loaded =
        context.in_flight.load(std::memory_order_acquire) > static_cast<std::int32_t>(unreaped);
    // A context whose requests have all ended is no race; few of those are destroyed.
    if (!loaded && random.below(8)) {
        context.state.store(ContextState::live, std::memory_order_seq_cst);
        return false;
    }
    context.destroy_wins.store(0, std::memory_order_relaxed);
    context.state.store(ContextState::dying, std::memory_order_seq_cst);
    int answer = 0;
    {
        const Calling calling(Call::io_destroy);
        answer = io_destroy(id);
    }
    context.state.store(ContextState::dead, std::memory_order_seq_cst);
    while (context.users.load(std::memory_order_seq_cst))
        sched_yield();
    const std::uint32_t wins =
        context.destroy_wins.load(std::memory_order_acquire) + (answer == 0 ? 1 : 0);
    if (answer && answer != -EINVAL)
        shared_.report({"contract",
                        "io_destroy answered " + errno_name(-answer),
                        "contract/destroy-" + errno_name(-answer),
                        {}});
    else if (wins != 1)
        shared_.report({"contract",
                        wins ? "two calls of io_destroy won one context"
                             : "no call of io_destroy won a live context",
                        wins ? "contract/destroy-twice" : "contract/destroy-nobody",
                        {}});
    shared_.count(Counter::destroyed);
    if (answer == -EINVAL)
        shared_.count(Counter::destroy_einval);
    if (loaded)
        shared_.count(Counter::destroyed_inflight);
    sweep(index);
    make_context(index);
    return true;
}

void Race::destroy_loop(std::uint32_t, Random random) {
    WindowRacer racer(windows_.get(), Racer::destroyer);
    while (!stopped()) {
        if (placed_destroy(racer, random))
            continue;
        const std::uint32_t seen = submissions_.load(std::memory_order_acquire);
        const std::uint32_t index = random.below(geometry_.contexts);
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
