#include "lib/oracles/poll_lost.h"

#include <poll.h>

#include "lib/oracles/poll_contract.h"
#include "lib/poll/station.h"
#include "lib/system.h"

namespace at {

LostWakeups::Due LostWakeups::due(std::uint32_t index, std::uint64_t station_word) const {
    const Slot& slot = run_.slots[index];
    if (slot.einprogress.load(std::memory_order_relaxed))
        return Due::cancelled;
    if (slot.einval.load(std::memory_order_relaxed))
        return Due::unknown_to_cancel;
    const PollSlotBook& poll = books_.slots[index];
    if (poll.uncertain.load(std::memory_order_relaxed))
        return Due::no;
    if (station_word & station_hung)
        return Due::ready;
    const StationBook& station = books_.stations[poll.station.load(std::memory_order_relaxed)];
    const auto kind = static_cast<FileKind>(station.kind.load(std::memory_order_relaxed));
    const bool hears = poll.asked.load(std::memory_order_relaxed) &
                       static_cast<std::uint32_t>(rules_of(kind).interest);
    return (station_word & station_held) && hears ? Due::ready : Due::no;
}

Finding LostWakeups::finding(std::uint32_t index, Due due) const {
    const PollSlotBook& poll = books_.slots[index];
    const StationBook& station = books_.stations[poll.station.load(std::memory_order_relaxed)];
    const std::string kind =
        kind_name(static_cast<FileKind>(station.kind.load(std::memory_order_relaxed)));
    Finding found;
    switch (due) {
    case Due::cancelled:
        found = {"ledger",
                 "event lost of a cancelled poll request: " + kind,
                 "ledger/lost/cancelled/" + kind,
                 {}};
        break;
    case Due::unknown_to_cancel:
        found = {"ledger",
                 "a poll request that io_cancel does not find never ends: " + kind,
                 "ledger/lost/not-found/" + kind,
                 {}};
        break;
    default:
        found = {"hang",
                 "lost wake-up: the file is ready and its poll request waits: " + kind,
                 "hang/wake-up/" + kind,
                 {}};
    }
    found.evidence.push_back(describe_slot(run_, index));
    found.evidence.push_back(
        "asked " + poll_mask_name(poll.asked.load(std::memory_order_relaxed)) + ", epoch " +
        std::to_string(station.word.load(std::memory_order_relaxed) / 4) + ", submitted in epoch " +
        std::to_string(poll.word.load(std::memory_order_relaxed) / 4));
    return found;
}

std::vector<Finding> LostWakeups::scan(std::uint64_t healthy_ns) {
    std::vector<Finding> findings;
    const std::uint64_t now = coarse_ns();
    for (std::uint32_t index = 0; index < run_.slots_used; ++index) {
        Slot& slot = run_.slots[index];
        Watched& watched = watched_[index];
        const std::uint64_t word = slot.word.load(std::memory_order_acquire);
        if (state_of(word) != SlotState::flying) {
            watched = {};
            continue;
        }
        const std::uint64_t station_word =
            books_.stations[books_.slots[index].station.load(std::memory_order_relaxed)].word.load(
                std::memory_order_acquire);
        const Due why = due(index, station_word);
        if (why == Due::no || watched.word != word || watched.due != why ||
            (why == Due::ready && watched.station_word != station_word)) {
            watched = {word, station_word, why, healthy_ns, now};
            continue;
        }
        if (healthy_ns - watched.since_healthy_ns < bound_ns_ ||
            slot.reported.load(std::memory_order_relaxed) ||
            !event_is_owed(run_, slot, watched.since_ns + bound_ns_ / 2) ||
            slot.word.load(std::memory_order_acquire) != word)
            continue;
        slot.reported.store(1, std::memory_order_relaxed);
        run_.count(Counter::events_lost);
        findings.push_back(finding(index, why));
    }
    return findings;
}

} // namespace at
