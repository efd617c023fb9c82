// Shows that kworkers run: one poll request on each CPU, submitted and cancelled again and again.
//
// A cancelled poll ends by a work item (fs/aio.c, aio_poll_cancel()) on the CPU that cancelled, and
// a CPU's work items are started in order.  So when a beat's event has come, every work item that
// was queued there before has been started.  A host that keeps kworkers from running, or a work
// item of somebody else that takes seconds, makes the ledger's requests late too, and is nobody's
// bug: healthy time (heartbeat.h) stands still meanwhile.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "lib/ledger.h"

namespace at {

class WorkBeats {
public:
    // One thread for each of run.cpus; in a process of its own, away from the stressor.
    explicit WorkBeats(SharedRun& run);
    ~WorkBeats();
    WorkBeats(const WorkBeats&) = delete;
    WorkBeats& operator=(const WorkBeats&) = delete;

    // How long the CPU that has been silent longest has been so.
    std::uint64_t longest_silence_ns() const;

private:
    void beat(std::uint32_t cpu);
    SharedRun& run_;
    std::atomic<bool> ending_{false};
    std::vector<std::thread> threads_;
};

} // namespace at
