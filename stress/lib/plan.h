// Plan text: one scenario, faults, windows and a seed (docs/interfaces.md section 3).
// parse(print(plan)) == plan, and print() is the canonical form that tokens hash.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/knobs.h"

namespace at {

using KeyValues = std::vector<std::pair<std::string, std::string>>;

struct Fault {
    std::string phase;
    std::string action;
    KeyValues keys;
    bool operator==(const Fault&) const = default;
    std::optional<std::string> key(std::string_view name) const;
};

struct Window {
    std::string racer;
    std::string from;
    std::string to;
    std::string hold; // empty: no hold
    bool operator==(const Window&) const = default;
};

struct Plan {
    std::string scenario;
    KeyValues keys;
    std::vector<Fault> faults;
    std::vector<Window> windows;
    std::uint64_t seed = 1;
    bool operator==(const Plan&) const = default;
};

// Throws PlanError, which names the statement that is wrong.  Scenario names and knobs are
// checked by the catalogue (scenario.h), which knows them.
Plan parse_plan(std::string_view text);
std::string print_plan(const Plan& plan);

const std::vector<std::string>& phase_names();
const std::vector<std::string>& action_names();
bool action_fits(std::string_view phase, std::string_view action);

} // namespace at
