#include "lib/oracles/gadget_lost.h"

#include "lib/system.h"

namespace at {

LostGadgetEvents::Due LostGadgetEvents::due(std::uint32_t index) const {
    const Slot& slot = run_.slots[index];
    if (slot.einprogress.load(std::memory_order_relaxed))
        return Due::cancelled;
    if (slot.einval.load(std::memory_order_relaxed))
        return Due::unknown_to_cancel;
    return books_.final.load(std::memory_order_acquire) ? Due::off_the_bus : Due::no;
}

std::vector<Finding> LostGadgetEvents::scan(std::uint64_t healthy_ns) {
    static const char* const titles[] = {
        "", "event lost of a cancelled request on an endpoint",
        "a request on an endpoint that io_cancel does not find never ends",
        "a request waits on an endpoint that is off the bus"};
    static const char* const signatures[] = {"", "ledger/lost/cancelled", "ledger/lost/not-found",
                                             "ledger/lost/unbound"};
    std::vector<Finding> findings;
    const std::uint64_t now = coarse_ns();
    for (std::uint32_t index = 0; index < run_.slots_used; ++index) {
        Slot& slot = run_.slots[index];
        Watched& watched = watched_[index];
        const std::uint64_t word = slot.word.load(std::memory_order_acquire);
        const Due why = state_of(word) == SlotState::flying ? due(index) : Due::no;
        if (why == Due::no || watched.word != word || watched.due != why) {
            watched = {word, why, healthy_ns, now};
            continue;
        }
        if (healthy_ns - watched.since_healthy_ns < bound_ns_ ||
            slot.reported.load(std::memory_order_relaxed) ||
            !event_is_owed(run_, slot, watched.since_ns + bound_ns_ / 2) ||
            slot.word.load(std::memory_order_acquire) != word)
            continue;
        slot.reported.store(1, std::memory_order_relaxed);
        run_.count(Counter::events_lost);
        const auto which = static_cast<std::size_t>(why);
        findings.push_back(
            {"ledger", titles[which], signatures[which], {describe_slot(run_, index)}});
    }
    return findings;
}

} // namespace at
