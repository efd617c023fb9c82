// What a search strategy decides: which enabled fiber takes the next step, and the value of each
// choose(n). Exec asks; it knows nothing of how the answer is made.
#pragma once

#include "sched/clock.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace at::model {

class Exec;

// Why a schedule ended.
enum class End : std::uint8_t {
    done,       // nothing is enabled: all fibers finished, or a deadlock (Exec says which)
    finding,    // an oracle spoke and the state is no longer worth following
    step_bound, // the step bound was reached
    cut,        // the strategy gave the rest up as redundant (sleep set)
    diverged,   // a replayed choice was not possible: the program is not deterministic
};

struct SearchCounts {
    std::uint64_t schedules = 0; // run to an end, cut ones included
    std::uint64_t steps = 0;
    std::uint64_t sleep_cuts = 0; // schedules given up because a sleep set covered the rest
    std::uint64_t bound_cuts = 0; // choices not taken because of the preemption bound
    std::uint64_t depth_max = 0;  // steps of the longest schedule
    bool complete = false;        // nothing within the bounds is left
};

class Strategy {
public:
    virtual ~Strategy() = default;

    // Starts a schedule; false when the search is over.
    virtual bool begin(Exec& exec) = 0;
    // One of `enabled` (never empty), or no_fiber to give the schedule up. `previous` took the
    // last step (no_fiber at first); it may have finished or blocked since.
    virtual FiberId pick(Mask enabled, FiberId previous) = 0;
    virtual unsigned choose(unsigned n) = 0;
    // As choose(), where 0 is what mostly happens and the rest are failures.
    virtual unsigned choose_failure(unsigned n) { return choose(n); }
    // A fiber with this id came into being.
    virtual void born(FiberId) {}
    virtual void end(End) {}
    // True when the strategy needs Clocks::dep.
    virtual bool wants_dependences() const { return false; }
    // Fills in what the strategy alone knows (cuts, completeness).
    virtual void count(SearchCounts&) const {}
};

// Uniform choice at each step.
std::unique_ptr<Strategy> make_random(std::uint64_t seed);

// Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with Probabilistic
// Guarantees of Finding Bugs" (ASPLOS 2010). A bug of depth d in a program of at most n fibers and
// k steps is found by one schedule with probability at least 1/(n k^(d-1)). n and k are the
// largest seen so far, so the bound holds from the first schedule that no later one outgrows.
std::unique_ptr<Strategy> make_pct(std::uint64_t seed, unsigned depth);

enum class Reduction : std::uint8_t { none, dpor };
inline constexpr unsigned unbounded = ~0u;

// Depth-first over all schedules with at most `preemptions` preemptions.
std::unique_ptr<Strategy> make_exhaustive(unsigned preemptions, Reduction reduction);

// The choices of one schedule, by fiber and by choice index, never by address.
struct Choices {
    std::vector<FiberId> steps;
    std::vector<std::uint8_t> values;
    bool operator==(const Choices&) const = default;
};

// Follows `choices`; after their end, the previous fiber while it is enabled, else the lowest.
std::unique_ptr<Strategy> make_replay(Choices choices);

} // namespace at::model
