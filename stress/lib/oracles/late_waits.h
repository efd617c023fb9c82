// Late-wait oracle: a request that ended by its time-out needs a fault near it, not one anywhere in
// the run.
//
// The injector logs when what loses a transfer, an interrupt or an abort fired (its file `losses`).
// From a loss on, requests may wait until a time-out has found it and a halt has put it right; one
// whose life does not touch such a stretch was made to wait by somebody else.
//
//   loss ──── time-out, halt, what expires meanwhile ────┤ reach
//        what is in flight here is explained              what begins here is not
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/findings.h"

namespace at {

struct WaitBounds;

enum class LateKind : std::uint32_t { timed_out, waited, cancel };

// One wait that only a fault excuses.
struct LateWait {
    LateKind kind;
    std::uint32_t slot;
    std::uint64_t generation;
    std::uint64_t begin_ns; // CLOCK_MONOTONIC
    std::uint64_t end_ns;
};

// What racers noted, for the supervisor to judge.
constexpr std::uint32_t max_late_waits = 512;
struct LateWaits {
    std::atomic<std::uint32_t> taken;
    std::atomic<std::uint32_t> ready[max_late_waits];
    LateWait wait[max_late_waits];

    void note(const LateWait& late); // beyond max_late_waits none is kept
};

// Of the injector's file: what fired when, and how long it lasts.
struct Loss {
    std::uint64_t time_ns;
    std::uint64_t delay_ns;
};
struct LossLog {
    bool read = false;                // there was such a file
    std::uint64_t whole_since_ns = 0; // what fired before may be missing
    std::vector<Loss> losses;         // in the order of time
};
LossLog parse_losses(const std::string& text);

// `log` is read after the wait was over.
std::optional<Finding> judge_late_wait(const LateWait& wait, const LossLog& log,
                                       const WaitBounds& bounds);

} // namespace at
