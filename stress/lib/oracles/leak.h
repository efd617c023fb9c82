// Leak oracle: what was taken is given back, after bounded polling.
//
// RCU grace periods, rcu_work and deferred fput() take their time, aio-nr falls when a context is
// killed, nr_foll_pin_* needs vm.stat_refresh, slab counts need a shrink and an unmerged cache.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/driver_state.h"
#include "lib/findings.h"

namespace at {

// The system's own books: name -> count.  What cannot be seen here is absent.
using SystemBooks = std::map<std::string, std::int64_t>;
SystemBooks read_system_books();

// What is wrong with the driver's books when nobody uses it; empty: all was given back.
std::vector<Finding> judge_books(const Books& books, std::int64_t ring,
                                 const std::vector<DriverRequest>& requests);
std::vector<Finding> judge_system(const SystemBooks& before, const SystemBooks& now);

// How many pages of users have been pinned on this machine; none: it does not count them.
std::optional<std::int64_t> read_pins();
// A device that has written or read so many requests of users has had at least a page of each
// pinned: who took them by another reference does not keep a fork from sharing them
// (Documentation/core-api/pin_user_pages.rst). Half of them is enough, since the zero page is not
// counted.
std::optional<Finding> judge_unpinned(std::int64_t pins, std::int64_t transfers);

// Requests of a process that is gone.  exit_aio() waits for the asynchronous ones and a killed
// waiter for its own, so none may be before its answer any more; the tail of a completion (unpin,
// free) may still run.
std::vector<Finding> judge_survivors(const std::vector<DriverRequest>& requests);

// A request whose event was seen so long ago, in healthy time and with nothing held meanwhile: what
// is left of a completion then takes a work item's time, no time-out's.
constexpr std::uint64_t kept_ns = 80000000;
// … beside a race, where a worker of the driver's may have to wait for a CPU.
constexpr std::uint64_t kept_in_race_ns = 250000000;
std::optional<Finding> judge_kept(const DriverRequest& request, std::uint64_t since_ns,
                                  std::uint64_t bound_ns = kept_ns);

// What the ledger knows of the driver's completions: each kind lies between the events seen and
// those plus the requests whose events went with a ring; whole and short ones are at least those
// seen.
struct LedgerTotals {
    std::int64_t cancelled = 0;
    std::int64_t timeouts = 0;
    std::int64_t whole = 0;
    std::int64_t shorts = 0;
    std::int64_t unseen = 0; // swept, or in flight at a SIGKILL
};
std::vector<Finding> judge_totals(const Books& books, const LedgerTotals& totals);

// A request that was answered before the last close of its file began, and is there after it.
Finding left_by_close(const DriverRequest& request);

// One of a process that could be waited for: its end cancels, waits for and closes all that it has.
Finding left_by_death(const DriverRequest& request);

// A module that nothing uses any more can be unloaded.
std::optional<Finding> judge_unload(bool unloaded, const std::string& module,
                                    const std::string& why);

// After loads that failed for want of memory a module can be loaded as before.
Finding judge_load_after_failure(const std::string& module, const std::string& why);

// A polled file whose last request ended, and that nobody has closed for so long in healthy time.
std::optional<Finding> judge_open_file(const std::string& kind, std::uint64_t waited_ns,
                                       std::uint64_t bound_ns);

} // namespace at
