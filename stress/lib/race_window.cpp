// Where window control (window.h) meets the roles: each makes the same calls as blind ones, on the
// request that a submitter named, at the moment that is Calling's to choose.
#include "lib/race_parts.h"

#include <algorithm>

namespace at {

// `word`: as it was read of that slot.
Target Race::target_of(std::uint32_t index, std::uint64_t word) const {
    const Slot& slot = shared_.slots[index];
    return {index, generation_of(word), slot.context.load(std::memory_order_relaxed),
            slot.incarnation.load(std::memory_order_relaxed)};
}

// Of the requests of `submitter` that the device has not taken, the one that `pass` others precede.
std::optional<Target> Race::waiting_in_ring(const SubmitterState& submitter,
                                            std::uint32_t pass) const {
    const std::uint32_t head = submitter.head.load(std::memory_order_acquire);
    const std::uint32_t span = std::min({head, geometry_.depth, recent_kept});
    for (std::uint32_t age = span; age-- > 0;) {
        const std::uint32_t index =
            submitter.recent[(head - 1 - age) % recent_kept].load(std::memory_order_relaxed);
        const Slot& slot = shared_.slots[index];
        const std::uint64_t word = slot.word.load(std::memory_order_acquire);
        if (state_of(word) == SlotState::flying && !windows_->started(index, generation_of(word)) &&
            pass-- == 0)
            return target_of(index, word);
    }
    return std::nullopt;
}

// One of the oldest in flight; `next`: the one that comes to the device next.
std::optional<Target> Race::next_to_start(Random& random, bool next) const {
    if (!next) {
        const std::uint32_t submitter = random.below(geometry_.submitters);
        return waiting_in_ring(*submitters_[submitter], random.below(4));
    }
    std::optional<Target> first;
    auto since = [&](const Target& target) {
        return shared_.slots[target.slot].flying_ns.load(std::memory_order_relaxed);
    };
    for (const auto& submitter : submitters_)
        if (const auto oldest = waiting_in_ring(*submitter, 0);
            oldest && (!first || since(*oldest) < since(*first)))
            first = oldest;
    return first;
}

bool Race::enlist(WindowRacer& racer, Random& random, double share) const {
    return racer.enlist(
        random, [this](Random& drawn, bool next) { return next_to_start(drawn, next); }, share);
}

void Race::end_placement(WindowRacer& racer) {
    Calling::place(nullptr, Call::none);
    racer.finish();
}

bool Race::placed_cancel(WindowRacer& racer, Random& random) {
    // Where blind cancels come too late, one that is placed before the device's part still wins.
    if (!enlist(racer, random, scarce_outcome() == Sought::win ? 3 : 1))
        return false;
    Calling::place(&racer, Call::io_cancel);
    if (cancel_one(racer.target().slot))
        racer.cancel_accepted();
    end_placement(racer);
    return true;
}

bool Race::placed_reap(WindowRacer& racer, Random& random) {
    if (!enlist(racer, random))
        return false;
    static constexpr std::uint64_t timeouts_ns[] = {0, 50000, 300000};
    Calling::place(&racer, Call::io_getevents);
    reap(racer.target().context, 1, timeouts_ns[random.below(3)]);
    end_placement(racer);
    return true;
}

bool Race::placed_destroy(WindowRacer& racer, Random& random) {
    if (!enlist(racer, random))
        return false;
    Calling::place(&racer, Call::io_destroy);
    destroy(racer.target().context, random);
    end_placement(racer);
    return true;
}

// In a lull: what was submitted last ends last, and nothing comes after it.
std::optional<Target> Race::last_to_start() const {
    std::optional<Target> last;
    std::uint64_t since_ns = 0;
    for (std::uint32_t index = 0; index < geometry_.slots; ++index) {
        const Slot& slot = shared_.slots[index];
        const std::uint64_t word = slot.word.load(std::memory_order_acquire);
        const std::uint64_t flying_ns = slot.flying_ns.load(std::memory_order_relaxed);
        if (state_of(word) != SlotState::flying || flying_ns < since_ns ||
            slot.op.load(std::memory_order_relaxed) != Op::transfer ||
            windows_->started(index, generation_of(word)))
            continue;
        since_ns = flying_ns;
        last = target_of(index, word);
    }
    return last;
}

// In a lull: with whose end a direction has room again for who polls for it, when they end in the
// order in which they were submitted (driver/zcdma.c, zcdma_poll()).
std::optional<Target> Race::makes_room(bool reads) const {
    std::vector<std::pair<std::uint64_t, std::uint32_t>> flying;
    for (std::uint32_t index = 0; index < geometry_.slots; ++index) {
        const Slot& slot = shared_.slots[index];
        if (state_of(slot.word.load(std::memory_order_acquire)) == SlotState::flying &&
            slot.op.load(std::memory_order_relaxed) == Op::transfer && slot.is_read == reads)
            flying.emplace_back(slot.flying_ns.load(std::memory_order_relaxed), index);
    }
    const auto limit = static_cast<std::size_t>(knobs_.integer("ring") / 2);
    if (flying.size() < limit)
        return std::nullopt;
    const auto nth = flying.begin() + static_cast<std::ptrdiff_t>(flying.size() - limit);
    std::nth_element(flying.begin(), nth, flying.end());
    const std::uint32_t index = nth->second;
    const std::uint64_t word = shared_.slots[index].word.load(std::memory_order_acquire);
    if (windows_->started(index, generation_of(word)))
        return std::nullopt;
    return target_of(index, word);
}

// Whoever begins to wait while the last request ends is woken by it or by nobody.
bool Race::placed_fsync(WindowRacer& racer, std::uint32_t submitter, Random& random) {
    if (!racer.enlist_to_wait(random, [this](Random&, bool) { return last_to_start(); }))
        return false;
    Calling::place(&racer, Call::fsync);
    sync_file(submitter, random);
    end_placement(racer);
    return true;
}

bool Race::placed_poll(WindowRacer& racer, std::uint32_t submitter, Random& random) {
    const bool reads = !makes_room(false) || (makes_room(true) && random.below(2));
    if (!racer.enlist_to_wait(random, [&](Random&, bool) { return makes_room(reads); }))
        return false;
    Calling::place(&racer, Call::poll);
    poll_until_idle(submitter, random, reads);
    end_placement(racer);
    return true;
}

void Race::name_requests(const std::vector<std::uint32_t>& slots, Random& random) {
    auto target = [&](std::uint32_t index) {
        return target_of(index, shared_.slots[index].word.load(std::memory_order_relaxed));
    };
    const std::uint32_t from = random.below(static_cast<std::uint32_t>(slots.size()));
    for (std::size_t i = 0; i < slots.size() && windows_->wanted(); ++i)
        windows_->name_request(target(slots[(from + i) % slots.size()]), target(slots[0]), random);
}

} // namespace at
