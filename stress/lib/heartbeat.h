// One thread on each CPU that only shows that the CPU schedules.
//
// A host that is overloaded, or that pauses a guest, makes everything in the guest late: bounds
// that must not be broken by that are measured in healthy time, which passes only while every CPU
// is seen to schedule.  At most 4 ms are credited for a beat of 2 ms, however late it comes: a host
// with several threads for each CPU gives a vCPU some milliseconds at a time and takes away more.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "lib/ledger.h"

namespace at {

class Heartbeats {
public:
    explicit Heartbeats(SharedRun& run); // one thread for each of run.cpus
    ~Heartbeats();
    Heartbeats(const Heartbeats&) = delete;
    Heartbeats& operator=(const Heartbeats&) = delete;

    std::uint64_t healthy_ns() const; // SharedRun::healthy_ns()
    // How long the CPU that has been silent longest has been so; its number in `cpu`.
    std::uint64_t longest_silence_ns(std::uint32_t& cpu) const;

private:
    void beat(std::uint32_t cpu);
    SharedRun& run_;
    std::atomic<bool> ending_{false};
    std::vector<std::thread> threads_;
};

} // namespace at
