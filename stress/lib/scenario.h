// The catalogue of scenarios: one file in stress/ each, registered by a static object.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "lib/knobs.h"
#include "lib/plan.h"

namespace at {

class Race;
class Stressor;
struct RaceSetup;

struct Scenario {
    const char* name;
    const char* invariant;
    std::vector<Knob> knobs;
    // A full cell below one of these has proved nothing (docs/interfaces.md section 4).
    std::map<std::string, std::uint64_t> contention;
    // Requests that move bytes: which roles start, and when it is over.
    void (*race)(Race& race) = nullptr;
    // What it can be run against, as the host names targets.
    std::vector<std::string> targets = {"zcdma"};
    // A scenario of another shape makes its own stressor (lib/stressor.h); `race` is not used then.
    std::unique_ptr<Stressor> (*make)(const RaceSetup& setup) = nullptr;
};

struct Registration {
    explicit Registration(const Scenario& scenario);
};

const std::vector<const Scenario*>& catalogue();
const Scenario& find_scenario(std::string_view name); // throws PlanError

// The plan's scenario and its knobs; throws PlanError for what the catalogue does not know.
struct Bound {
    const Scenario* scenario;
    KnobValues knobs;
};
Bound bind(const Plan& plan);

nlohmann::json describe_all();

} // namespace at
