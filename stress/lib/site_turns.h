// Which instructions of the driver, or of the kernel's fs/aio.c, are drawn out, some at a time
// (fault/sites.c).
//
//     placed beside the start   turn    turn    turn ...
//     [    first group     ][ second ][ third ][ ... the first again
//
// Each instruction that is probed costs its passages some time, so that few stand at once; each
// turn replaces them by the next of the list that the host has drawn from the cell's seed.  While
// racers run, that is for real CPUs alone (docs/windows.md); between two lives it is always done.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "lib/driver_state.h"
#include "lib/knobs.h"
#include "lib/modules.h"

namespace at {

// The knobs of sites, behind a scenario's own.
std::vector<Knob> with_site_knobs(std::vector<Knob> knobs);

// What a plan asks for.  No share, none is placed.
struct SitesAsked {
    std::size_t at_once = 0; // the target's, those of its path, the kernel's
    double share = 0;        // of the passages, that wait
    std::chrono::milliseconds turn{};
    double long_share = 0;     // of the waits, that are long wherever they are
    std::int64_t steal_ns = 0; // from one look where a CPU is to the next; 0: none is taken away
};
SitesAsked sites_asked(const KnobValues& knobs);

// One line of the injector's file `sites`.
struct SiteCount {
    int error = 0; // refused by the kernel
    std::uint64_t passed = 0;
    std::uint64_t stretched = 0;
    std::uint64_t waited_us = 0;
    std::uint64_t missed = 0; // passages inside another probe's handler
    std::uint64_t parted = 0; // of the stretched, between the read and the write of one instruction
    std::uint64_t lost = 0;   // of these, those in which another CPU wrote
};
bool parse_site_line(const std::string& line, std::string& name, SiteCount& count);

std::string with_address(const std::string& site, std::map<std::string, std::uint64_t>& texts);

class SiteTurns {
public:
    SiteTurns(std::vector<std::string> sites, const SitesAsked& asked);

    // The group whose turn it is, in place of what stands.
    void place();
    // The next group is its turn's.
    void next() { next_ += asked_.at_once; }
    // None stands: before the module goes.
    void remove();
    bool any() const { return !sites_.empty(); }
    bool stand() const { return placed_; }
    // The `sites` member of a result; sums go to `counters`.
    nlohmann::json told(nlohmann::json& counters) const;
    // Of all turns that are over, by name.
    const std::map<std::string, SiteCount>& counts() const { return counts_; }

    // Turns are taken while it lives, but for those before which `healthy` says no: on a CPU that
    // does not answer, who patches the kernel's text would wait for ever.
    class Taking {
    public:
        Taking(SiteTurns& turns, std::function<bool()> healthy);
        ~Taking();
        Taking(const Taking&) = delete;
        Taking& operator=(const Taking&) = delete;

    private:
        void take_turns();
        SiteTurns& turns_;
        std::function<bool()> healthy_;
        std::mutex mutex_;
        std::condition_variable ending_;
        bool ends_ = false;
        std::thread thread_;
    };

private:
    void count();
    std::vector<std::string> group() const;
    Steals steals() const;

    std::vector<std::string> sites_;
    SitesAsked asked_;
    std::size_t next_ = 0;
    bool placed_ = false;
    bool optimised_ = false; // were probes, before these
    std::map<std::string, SiteCount> counts_;
    Books stolen_; // of fault/steals.c
};

} // namespace at
