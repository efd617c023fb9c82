// What the supervisor runs and watches, whatever the target is.
//
// A stressor lives twice.  In the supervisor it sizes the shared memory before the fork, and then
// reads the ledger from outside: what is overdue while the race runs, what is wrong after its end.
// In the child it races.  Only what lies in SharedRun and in `buffers` is common to both.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <vector>

#include "lib/findings.h"
#include "lib/ledger.h"
#include "lib/scenario.h"
#include "lib/site_turns.h"

namespace at {

struct RaceSetup {
    Plan plan;
    Bound bound;
    std::string device;           // of slot 0's submitter; others follow by number
    bool cookie_in_offset = true; // false for targets that are ordinary files (unit tests)
    // The device, opened by the supervisor: a life that uses it dies without the file's release,
    // which waits for its requests and would hide one that was left behind.  -1: none.
    int inherited_fd = -1;
    // The target's module, which this run loaded; empty: there is none, or it is not this run's.
    std::string module = {};
};

class Stressor {
public:
    virtual ~Stressor() = default;

    // False: the scenario opens its own files and needs no device node.
    virtual bool uses_device() const { return true; }
    // True when the target understands the request's name in the file offset.
    virtual bool wants_cookie() const { return false; }
    // True when requests end by a kworker: healthy time then counts only while those run.
    virtual bool needs_kworkers() const { return false; }
    // Bytes of memory that the supervisor holds for the child, beside the ledger.
    virtual std::size_t buffers_bytes() const = 0;
    // The longest that a request may go unanswered for a reason that is nobody's fault.
    virtual std::uint64_t overdue_ns() const = 0;
    // Before the fork: what `shared` must say before anybody reads it.
    virtual void prepare(SharedRun& shared) = 0;
    // Before the fork, where the target carries marks: the windows that racers shall be placed in.
    virtual void choose_windows(SharedRun&) {}
    // Shall functions without marks be drawn out?
    virtual bool stretches() const { return false; }
    // How the request's sites are to stand.
    virtual SitesAsked sites() const { return {}; }
    // In the child: the race from begin to end.  False: it could not be run.
    virtual bool run(SharedRun& shared, std::byte* buffers) = 0;
    // In the supervisor, every 50 ms.  A finding here ends the run.
    virtual std::vector<Finding> overdue(SharedRun& shared, std::byte* buffers,
                                         std::uint64_t healthy_ns) = 0;
    // In the supervisor, when the child has ended in whatever way.
    virtual std::vector<Finding> at_end(SharedRun&) { return {}; }
    // In the supervisor, when the child and its mm are gone; buffers are watched for so long.
    virtual std::vector<Finding> after_death(SharedRun&, std::byte*,
                                             std::chrono::milliseconds /*watch*/) {
        return {};
    }
};

// The stressor of the setup's scenario; throws PlanError when the knobs do not fit together.
std::unique_ptr<Stressor> make_stressor(const RaceSetup& setup);

} // namespace at
