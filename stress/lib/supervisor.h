// One run: modules in, faults armed, the stressor forked and watched, the end checks, modules out.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "lib/plan.h"

namespace at {

struct ModuleFile {
    std::string name;
    std::string path;
    std::string parameters; // beside those that the plan's target knobs give to zcdma
    bool keep = false;      // the kernel's own: fine when it is there, and it stays
};

struct RunRequest {
    Plan plan;
    std::vector<ModuleFile> modules;
    std::chrono::milliseconds deadline{60000};
    std::string device = "/dev/zcdma0";
    // Shell commands, run when the modules are loaded, and before they are unloaded.
    std::vector<std::string> set_up;
    std::vector<std::string> tear_down;
    bool shared = false; // others use this machine: counts of all of it say nothing about the run
    bool end_at_finding = false; // the race ends with the first; the checks follow as ever
    // symbol+offset, drawn out where the plan's knobs ask for it; fail_injector is among the
    // modules.
    std::vector<std::string> sites;
    bool marked = true; // fail_injector is there for the marks of a driver, and not for sites alone
    std::vector<std::string> mute; // oracles whose findings are dropped: what would the others see?
};

// What the supervisor needs of whoever runs it; every call returns soon.
struct RunHooks {
    std::function<void(const nlohmann::json& event)> emit;
    // Serves other requests for up to `bound`; true when the run was told to end.
    std::function<bool(std::chrono::milliseconds bound)> attend;
};

// Throws std::runtime_error (PlanError, std::system_error) when the run could not be made; that
// is a broken harness and never a finding.
nlohmann::json supervise(const RunRequest& request, const RunHooks& hooks);

// Loads the modules, runs set-up and tear-down, and opens the device once; throws
// std::runtime_error that says what is missing.
void probe(const RunRequest& request);

// Counts what of the kernel's memory is in use, so that the first run need not.
void count_memory();

// Unloads what earlier runs left loaded, last loaded first.
void unload_all_modules();

} // namespace at
