// Runs one variant of one core under a strategy and collects what was found.
#pragma once

#include "lib/core.hpp"
#include "sched/token.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <set>

namespace at::model {

enum class StrategyKind : std::uint8_t { exhaustive, pct, random, replay };

struct SearchOptions {
    std::optional<StrategyKind> strategy; // default: exhaustive, random where a variant is sampled
    std::uint64_t seed = 1;
    std::optional<std::uint64_t> schedules; // default: no limit exhaustive, 100 000 else
    std::optional<unsigned> preemptions;    // default: the core's
    std::optional<unsigned> racers;
    std::optional<unsigned> failed_allocations;
    std::optional<unsigned> faults;
    std::optional<std::chrono::duration<double>> time;
    unsigned pct_depth = 3;
    Reduction reduction = Reduction::dpor;
    std::optional<Token> token; // for replay
    bool keep_outcomes = false;
    // Every so many schedules one is run a second time and must give the same trace.
    std::uint64_t sample_every = 4096;
};

struct Shown {
    Finding finding;
    std::uint64_t schedule = 0; // 1: the first
    std::string token;
    std::uint64_t times = 0;          // schedules that showed it
    std::vector<std::string> columns; // the interleaving, printed
};

struct SearchReport {
    StrategyKind strategy = StrategyKind::exhaustive;
    SearchCounts counts;
    unsigned racers = 0;
    unsigned preemptions = 0;
    std::map<std::string, Shown> shown; // by signature
    std::set<std::string> outcomes;     // with keep_outcomes: ends and signatures
    std::uint64_t executed_twice = 0;
    bool nondeterministic = false;
    std::uint64_t trace_hash = 0; // of all schedules
    std::chrono::duration<double> took{};
};

SearchReport search(Exec& exec, const Core& core, unsigned variant, const SearchOptions& options);

// What differs from the variant's expectations: empty when nothing.
struct Verdict {
    std::vector<std::string> missing;    // required and not shown
    std::vector<std::string> unexpected; // shown and not expected
    bool as_expected() const { return missing.empty() && unexpected.empty(); }
};
Verdict judge(const Variant& variant, const SearchReport& report);

// The interleaving of the schedule that `exec` has just recorded, a column for each racer.
std::vector<std::string> print_columns(const Exec& exec);

} // namespace at::model
