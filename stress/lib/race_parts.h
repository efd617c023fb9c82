// What the parts of the race share: race.cpp (threads, the stressor's main) and race_*.cpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "lib/poll_sleeper.h"
#include "lib/race.h"
#include "lib/racer.h"

namespace at {

constexpr std::uint32_t guard_bytes = 64;
constexpr std::uint32_t page_bytes = 4096;
constexpr std::uint32_t target_pages = 256; // of one request: driver/zcdma.h, ZC_MAX_PAGES
constexpr std::uint32_t recent_kept = 1024; // submissions a canceller can look back on
constexpr std::uint32_t max_iovecs = max_segments + 1; // one more may be empty
constexpr std::uint64_t ms = 1000000;
// Between two calls of a blind racer, at most: as many calls as aimed ones make, or more.
constexpr std::uint32_t blind_pause_us = 400;
// Of the aimed share: a submitter that waits as a racer submits nothing meanwhile.
constexpr double submitters_share = 0.25;

constexpr std::uint32_t rounded(std::uint32_t value, std::uint32_t unit) {
    return (value + unit - 1) / unit * unit;
}

// What one submitter and the cancellers after it share.
struct Race::SubmitterState {
    std::atomic<std::uint32_t> answered{0}; // bumped when slots of it were answered; futex
    std::atomic<std::uint32_t> waiting{0};
    // The last submissions in order; relaxed: a canceller checks the slot itself.
    std::atomic<std::uint32_t> head{0};
    std::atomic<std::uint32_t> recent[recent_kept]{};
    std::vector<std::uint64_t> dwell_until; // of each own slot
    // What flew when an own slot's fsync was submitted: slot and word.
    std::map<std::uint32_t, std::vector<std::pair<std::uint32_t, std::uint64_t>>> before_fsync;
    PollSleeper sleeper;
    bool after_lull = false; // what is drawn next meets an idle device
    Fd positioned;           // read(2) at its position
    std::vector<std::byte> scratch;
};

} // namespace at
