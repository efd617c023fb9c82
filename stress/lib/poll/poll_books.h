// What the poll stressor shows the supervisor beside the ledger.
#pragma once

#include <atomic>
#include <cstdint>

#include "lib/ledger.h"

namespace at {

constexpr std::uint32_t max_stations = 128;

// epoch << 2 | hung << 1 | held.  `held`: the file is ready now and stays so, until the tender has
// seen every request end that waited when the epoch began.  `hung`: its other end is gone for good.
struct alignas(64) StationBook {
    std::atomic<std::uint64_t> word;
    std::atomic<std::uint32_t> kind;
    std::atomic<std::uint32_t> incarnation;
    std::atomic<std::uint32_t> touched; // somebody made it ready, or closed its other end
};
constexpr std::uint64_t station_held = 1;
constexpr std::uint64_t station_hung = 2;
constexpr std::uint64_t station_epoch = 4;

struct PollSlotBook {
    std::atomic<std::uint32_t> station;
    std::atomic<std::uint32_t> incarnation; // of the station, at the submit
    std::atomic<std::uint64_t> word;        // of the station, at the submit
    std::atomic<std::uint32_t> asked;       // poll mask
    // The descriptor was being closed during the submit: which file it reached is open.
    std::atomic<std::uint32_t> uncertain;
};

struct PollBooks {
    StationBook stations[max_stations];
    PollSlotBook slots[max_slots];
};

} // namespace at
