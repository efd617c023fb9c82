// Where window control (window.h) meets the roles: each makes the same calls as blind ones, on the
// request that a submitter named, at the moment that is Calling's to choose.
#include "lib/race_parts.h"

namespace at {

void Race::end_placement(WindowRacer& racer) {
    Calling::place(nullptr, Call::none);
    racer.finish();
}

bool Race::placed_cancel(WindowRacer& racer, Random& random) {
    if (!racer.enlist(random))
        return false;
    Calling::place(&racer, Call::io_cancel);
    cancel_one(racer.target().slot, random);
    end_placement(racer);
    return true;
}

bool Race::placed_reap(WindowRacer& racer, Random& random) {
    if (!racer.enlist(random))
        return false;
    static constexpr std::uint64_t timeouts_ns[] = {0, 50000, 300000};
    Calling::place(&racer, Call::io_getevents);
    reap(racer.target().context, 1, timeouts_ns[random.below(3)]);
    end_placement(racer);
    return true;
}

bool Race::placed_destroy(WindowRacer& racer, Random& random) {
    if (!racer.enlist(random))
        return false;
    Calling::place(&racer, Call::io_destroy);
    destroy(racer.target().context, random);
    end_placement(racer);
    return true;
}

void Race::name_requests(const std::vector<std::uint32_t>& slots, Random& random) {
    const std::uint32_t from = random.below(static_cast<std::uint32_t>(slots.size()));
    for (std::size_t i = 0; i < slots.size() && windows_->wanted(); ++i) {
        const std::uint32_t index = slots[(from + i) % slots.size()];
        const Slot& slot = shared_.slots[index];
        windows_->name_request({index, generation_of(slot.word.load(std::memory_order_relaxed)),
                                slot.context.load(std::memory_order_relaxed),
                                slot.incarnation.load(std::memory_order_relaxed)},
                               random);
    }
}

} // namespace at
