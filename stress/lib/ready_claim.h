// What poll(2) said of the driver's ring, held to what the ledger proves later.
//
//   transfer   flying ······································ event
//   poll(2)             asked ─── said "readable"    │ the ring was seen empty after it
//
// A transfer that flew before the question and whose event came after the answer was counted by the
// driver all the while (driver/zcdma.c, zcdma_poll()).  Enough of them refute the answer.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

#include "lib/oracles/calls.h"

namespace at {

class ReadyClaim {
public:
    // Takes the place of the claim before.  `limit`: so many transfers of that direction, and poll
    // must not say so.
    void make(bool reads, std::uint32_t limit, std::uint64_t asked_ns, std::uint64_t said_ns) {
        const std::lock_guard lock(mutex_);
        reads_ = reads;
        limit_ = limit;
        asked_ns_ = asked_ns;
        said_ns_ = said_ns;
        proven_ = 0;
    }

    // One transfer; times as in oracles/timing.h.
    std::optional<Finding> meet(bool is_read, std::uint64_t flying_ns,
                                std::uint64_t ring_empty_ns) {
        const std::lock_guard lock(mutex_);
        if (!limit_ || is_read != reads_ || !flying_ns || flying_ns >= asked_ns_ ||
            ring_empty_ns <= said_ns_)
            return std::nullopt;
        return judge_ready(++proven_, limit_);
    }

private:
    std::mutex mutex_;
    bool reads_ = false;
    std::uint32_t limit_ = 0; // 0: no claim yet
    std::uint64_t asked_ns_ = 0;
    std::uint64_t said_ns_ = 0;
    std::uint32_t proven_ = 0;
};

} // namespace at
