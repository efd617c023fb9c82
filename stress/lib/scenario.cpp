#include "lib/scenario.h"

#include <algorithm>
#include <cstring>

#include <nlohmann/json.hpp>

namespace at {

namespace {

std::vector<const Scenario*>& registered() {
    static std::vector<const Scenario*> scenarios;
    return scenarios;
}

} // namespace

Registration::Registration(const Scenario& scenario) {
    registered().push_back(&scenario);
    std::sort(registered().begin(), registered().end(), [](const Scenario* a, const Scenario* b) {
        return std::strcmp(a->name, b->name) < 0;
    });
}

const std::vector<const Scenario*>& catalogue() {
    return registered();
}

const Scenario& find_scenario(std::string_view name) {
    for (const Scenario* scenario : catalogue())
        if (name == scenario->name)
            return *scenario;
    throw PlanError("no scenario is called '" + std::string(name) + "'");
}

Bound bind(const Plan& plan) {
    const Scenario& scenario = find_scenario(plan.scenario);
    Bound bound{&scenario, KnobValues(&scenario.knobs)};
    for (const auto& [name, value] : plan.keys)
        bound.knobs.set(name, value);
    return bound;
}

nlohmann::json describe_all() {
    nlohmann::json scenarios = nlohmann::json::array();
    for (const Scenario* scenario : catalogue()) {
        nlohmann::json knobs = nlohmann::json::array();
        for (const Knob& knob : scenario->knobs)
            knobs.push_back(describe(knob));
        scenarios.push_back({{"name", scenario->name},
                             {"invariant", scenario->invariant},
                             {"targets", scenario->targets},
                             {"knobs", knobs},
                             {"contention", scenario->contention}});
    }
    nlohmann::json knobs = nlohmann::json::array();
    for (const Knob& knob : target_knobs())
        knobs.push_back(describe(knob));
    return {{"scenarios", scenarios},
            {"target_knobs", knobs},
            {"phases", phase_names()},
            {"actions", action_names()}};
}

} // namespace at
