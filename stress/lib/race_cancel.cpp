#include "lib/race_parts.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lib/futex.h"

namespace at {

Race::Sought Race::scarce_outcome() const {
    if (blind_)
        return Sought::either;
    const std::uint64_t won = shared_.value(Counter::cancel_won);
    const std::uint64_t lost = shared_.value(Counter::cancel_lost);
    if (permitted_.cancels && won < lost)
        return Sought::win;
    return lost < won ? Sought::loss : Sought::either;
}

// Too few cancels were made for the race's length: where one CPU runs all racers, or a host is
// slow.
bool Race::behind_pace() const {
    constexpr std::uint64_t requests_per_outcome = 7; // the scenario's minima leave room for 10
    if (!cancellers_ || blind_)
        return false;
    std::uint64_t scarce = shared_.value(Counter::cancel_lost);
    if (permitted_.cancels) // else none is ever won
        scarce = std::min(scarce, shared_.value(Counter::cancel_won));
    return scarce * requests_per_outcome < shared_.value(Counter::submitted);
}

// Each request in flight as likely as any other (Vitter, "Random sampling with a reservoir", 1985).
std::uint32_t Race::any_in_flight(Random& random) const {
    std::uint32_t chosen = max_slots;
    std::uint32_t seen = 0;
    for (std::uint32_t slot = 0; slot < geometry_.slots; ++slot)
        if (in_flight(state_of(shared_.slots[slot].word.load(std::memory_order_relaxed))) &&
            random.below(++seen) == 0)
            chosen = slot;
    return chosen;
}

// One that the driver may be about to queue, which sites draw out as anything else.
std::uint32_t Race::in_submission(Random& random) const {
    const SubmitterState& submitter = *submitters_[random.below(geometry_.submitters)];
    const std::uint32_t head = submitter.head.load(std::memory_order_acquire);
    const std::uint32_t span = std::min({head, geometry_.depth, recent_kept});
    std::uint32_t chosen = max_slots;
    std::uint32_t seen = 0;
    for (std::uint32_t age = 0; age < span; ++age) {
        const std::uint32_t index =
            submitter.recent[(head - 1 - age) % recent_kept].load(std::memory_order_relaxed);
        const std::uint64_t word = shared_.slots[index].word.load(std::memory_order_relaxed);
        if (state_of(word) != SlotState::prepared)
            continue;
        if (windows_ && windows_->being_submitted(index, generation_of(word)))
            return index;
        if (random.below(++seen) == 0)
            chosen = index;
    }
    return chosen;
}

std::uint32_t Race::choose_target(Random& random) {
    if (blind_)
        return any_in_flight(random);
    if (drawn_out_ && random.below(4) == 0)
        if (const std::uint32_t target = in_submission(random); target < max_slots)
            return target;
    if (const std::uint32_t wanted = windows_ ? windows_->wanted_cancel() : max_slots;
        wanted < max_slots)
        return wanted;
    // A stop for another request would end what a racer waits for.
    if (cancel_stops_ring_ && windows_ && windows_->device_held() && random.below(8))
        return max_slots;
    const SubmitterState& submitter = *submitters_[random.below(geometry_.submitters)];
    const std::uint32_t head = submitter.head.load(std::memory_order_acquire);
    const std::uint32_t span = std::min({head, geometry_.depth, recent_kept});
    if (!span)
        return max_slots;
    auto candidate = [&](std::uint32_t age) {
        return submitter.recent[(head - 1 - age) % recent_kept].load(std::memory_order_relaxed);
    };
    auto flies = [&](std::uint32_t index) {
        const Slot& slot = shared_.slots[index];
        const SlotState state = state_of(slot.word.load(std::memory_order_relaxed));
        // In io_submit() now: a race too, but mostly lost to the list that it is not yet on.
        if (!in_flight(state) || (state == SlotState::prepared && random.below(32)))
            return false;
        // Most that a racer waits for are left to it.
        if (windows_ && windows_->is_awaited(index) && random.below(8))
            return false;
        // Once in a while a request is cancelled again.
        return slot.einprogress.load(std::memory_order_relaxed) +
                       slot.ealready.load(std::memory_order_relaxed) +
                       slot.einval.load(std::memory_order_relaxed) ==
                   0 ||
               random.below(128) == 0;
    };
    const double how = static_cast<double>(random.below(1U << 16)) / (1U << 16);
    const double newest = knobs_.real("cancel_newest");
    // What there are too few of is sought in three draws of four; where a machine's speed puts
    // the balance cannot be known before.
    const Sought sought = random.below(4) ? scarce_outcome() : Sought::either;
    if (sought == Sought::win || (sought == Sought::either && how < newest)) {
        for (std::uint32_t age = random.below(4); age < span && age < 12; ++age)
            if (flies(candidate(age)))
                return candidate(age);
    } else if (sought == Sought::loss || how < newest + knobs_.real("cancel_oldest")) {
        for (std::uint32_t age = span; age-- > 0;)
            if (flies(candidate(age)))
                return candidate(age);
    } else {
        const std::uint32_t from = random.below(span);
        for (std::uint32_t i = 0; i < span && i < 16; ++i)
            if (flies(candidate((from + i) % span)))
                return candidate((from + i) % span);
    }
    return max_slots;
}

void Race::spin(Random& random) const {
    const std::uint32_t spins =
        random.logarithmic(0, static_cast<std::uint32_t>(knobs_.integer("spin_max")));
    for (std::uint32_t i = 0; i < spins; ++i)
        std::atomic_signal_fence(std::memory_order_seq_cst); // keeps the loop
}

bool Race::cancel_one(std::uint32_t index) {
    Slot& slot = shared_.slots[index];
    const Holding holding(slot);
    const SlotState state = state_of(slot.word.load(std::memory_order_seq_cst));
    if (!in_flight(state))
        return false;
    ContextSlot& context = shared_.contexts[slot.context.load(std::memory_order_relaxed)];
    const Inside inside(context);
    if (!inside || context.incarnation.load(std::memory_order_relaxed) !=
                       slot.incarnation.load(std::memory_order_relaxed))
        return false;
    io_event result;
    std::memset(&result, 0x5a, sizeof result);
    int answer = 0;
    {
        const Calling calling(Call::io_cancel);
        answer = io_cancel(inside.id(), &iocbs_[index], &result);
    }
    bool written = false;
    const auto* bytes = reinterpret_cast<const unsigned char*>(&result);
    for (std::size_t i = 0; i < sizeof result; ++i)
        written |= bytes[i] != 0x5a;
    if (auto finding = judge_cancel_answer(answer, written)) {
        finding->evidence.push_back(describe_slot(shared_, index));
        shared_.report(*finding);
    }
    shared_.count(Counter::cancel_calls);
    if (answer == -EINPROGRESS || answer == -EALREADY) {
        slot.cancel_ns.store(monotonic_ns(), std::memory_order_relaxed);
    } else if (answer == -EINVAL && state == SlotState::flying &&
               slot.op.load(std::memory_order_relaxed) != Op::fsync &&
               slot.op.load(std::memory_order_relaxed) != Op::fdsync &&
               context.state.load(std::memory_order_seq_cst) == ContextState::live) {
        std::uint64_t never = 0; // the first counts
        slot.einval_ns.compare_exchange_strong(never, monotonic_ns(), std::memory_order_relaxed);
    }
    // relaxed: the judge reads them after holders fell to 0, which orders them.
    if (answer == -EINPROGRESS) {
        slot.einprogress.fetch_add(1, std::memory_order_relaxed);
        shared_.count(Counter::cancel_einprogress);
    } else if (answer == -EALREADY) {
        slot.ealready.fetch_add(1, std::memory_order_relaxed);
        shared_.count(Counter::cancel_ealready);
    } else if (answer == -EINVAL) {
        if (state == SlotState::flying)
            slot.einval.fetch_add(1, std::memory_order_relaxed);
        shared_.count(Counter::cancel_einval);
    }
    // A call on a request that io_submit() had not taken yet has not lost to a completion.
    if (state == SlotState::flying &&
        (answer != -EINVAL || context.state.load(std::memory_order_relaxed) == ContextState::live))
        slot.lost_cancels.fetch_add(1, std::memory_order_relaxed);
    return answer == -EINPROGRESS;
}

void Race::cancel_loop(std::uint32_t, Random random) {
    WindowRacer racer(windows_.get(), Racer::canceller);
    std::uint32_t seen = submissions_.load(std::memory_order_acquire);
    while (!stopped()) {
        if (keeps_still())
            continue;
        if (blind_) {
            pause_drawn(random, 0, blind_pause_us);
            if (const std::uint32_t target = any_in_flight(random); target < max_slots)
                cancel_one(target);
            continue;
        }
        if (placed_cancel(racer, random))
            continue;
        bool missed = false;
        // The ring fills while nobody cancels; then many at once, for what the first one starts
        // takes its time, a stop above all.
        const bool storm = random.below(8) == 0;
        if (storm)
            pause_drawn(random, 500, 30000);
        for (std::uint32_t i = storm ? 12 : 1 + random.below(4); i > 0; --i) {
            const std::uint32_t target = choose_target(random);
            if (target < max_slots) {
                if (!storm)
                    spin(random);
                cancel_one(target);
            } else {
                missed = true;
            }
        }
        const std::uint32_t now = submissions_.load(std::memory_order_acquire);
        if (now == seen || missed) {
            submission_waiters_.fetch_add(1, std::memory_order_relaxed);
            wait_for_change(submissions_, now, ms);
            submission_waiters_.fetch_sub(1, std::memory_order_relaxed);
        }
        seen = submissions_.load(std::memory_order_acquire);
    }
}

} // namespace at
