// Ledger oracle, seen from outside: events that never come, and calls that never return.
//
// Both run in the supervisor, on the ledger in shared memory, and count in healthy time
// (heartbeat.h): a host that stands still raises neither.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/findings.h"
#include "lib/ledger.h"

namespace at {

// An event is lost when its request was seen flying for `overdue`, and the context's ring was
// seen empty by an io_getevents() that began that long after the submit: so it is neither in the
// driver's hands for a legal reason nor waiting to be reaped.  A poll may wait for as long as the
// driver has work: its time counts while no transfer flies.
class LostEvents {
public:
    LostEvents(SharedRun& run, std::uint64_t overdue_ns) : run_(run), overdue_ns_(overdue_ns) {}
    // Findings name phase and references from the driver's own list of live requests.
    std::vector<Finding> scan(std::uint64_t healthy_ns);

private:
    struct Watched {
        std::uint64_t word = 0;
        std::uint64_t since_ns = 0;
    };
    bool overdue(std::uint32_t slot, std::uint64_t healthy_ns, bool quiet);
    SharedRun& run_;
    const std::uint64_t overdue_ns_;
    Watched watched_[max_slots] = {};
};

// A thread that is in one and the same system call for longer than any legal wait.
class StuckCalls {
public:
    StuckCalls(SharedRun& run, std::uint64_t bound_ns) : run_(run), bound_ns_(bound_ns) {}
    bool scan(std::uint64_t healthy_ns);
    const std::string& name() const { return name_; } // of the call that scan() found
    // Does that call wait for the device, and not work for as long as the kernel takes?
    bool awaits_device() const { return awaits_device_; }
    std::string any_call() const; // a call that some thread is in now

private:
    struct Watched {
        std::uint64_t call = 0;
        std::uint64_t since_ns = 0;
    };
    SharedRun& run_;
    const std::uint64_t bound_ns_;
    Watched watched_[max_threads] = {};
    std::string name_;
    bool awaits_device_ = false;
};

} // namespace at
