// Kernel modules and the fault injector's rules.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "lib/oracles/late_waits.h"
#include "lib/plan.h"

namespace at {

// Loaded by this process, in order; std::runtime_error when a module does not load.
// The same for a module of the kernel's own, which may be there already and is never unloaded.
void keep_module(const std::string& name, const std::string& path, const std::string& parameters);
void load_module(const std::string& name, const std::string& path, const std::string& parameters);
// Unloads the last one loaded; false when it stayed in use for the bound (then it is still
// counted as loaded), with the reason in `why`.
bool unload_last_module(std::string& name, std::string& why);
// Loads a module while the `nth` allocation of who loads it fails, and unloads it where it was loaded
// all the same.  False: that allocation was never made, or the kernel cannot be asked to let it fail.
bool load_without_memory(const std::string& name, const std::string& path,
                         const std::string& parameters, std::uint32_t nth);
// The same without an allocation that fails.  False: it took its parameters.
bool load_is_refused(const std::string& name, const std::string& path,
                     const std::string& parameters);
bool modules_loaded();
const std::string& last_module_loaded(); // while there is one

// Waits for a device node that devtmpfs makes.
bool wait_for_node(const std::string& path);

// Writes the plan's faults as rules and switches them on; with windows, probes the system calls
// that racers make, and with probes what has no mark.  The lines of those that could not be placed.
std::vector<std::string> arm_faults(const Plan& plan, bool windows, bool probes);
// Ends what arm_faults() and place_sites() began.
void disarm_faults();
// Where CPUs are taken away between any two instructions (fault/steals.c).
struct Steals {
    std::uint64_t from = 0; // the text
    std::uint64_t bytes = 0;
    std::int64_t period_ns = 0; // 0: nowhere
};
// Instructions that are drawn out in a share of their passages, in place of those before; none:
// off.  So large a share of the waits may take 1 ms even where nothing could be preempted.
void place_sites(const std::vector<std::string>& sites, double share, double long_share,
                 const Steals& steals);
// The injector's file.
std::string read_steals();
// May the kernel make jumps of probes?  What was so before.  It does that later, while racers run,
// and keeps who places the next probe waiting for a grace period of all tasks (kernel/kprobes.c,
// kprobe_optimizer()).
bool optimise_probes(bool optimise);
// Where the kernel is preempted: "none", "voluntary" or "full" (CONFIG_PREEMPT_DYNAMIC,
// kernel/sched/debug.c, sched_dynamic_show()).  What was so before; empty: it cannot be chosen.
std::string choose_preemption(const std::string& mode);
// While it lives, synchronize_rcu() asks the CPUs instead of waiting for them (kernel/rcu/tree.c,
// rcu_gp_is_expedited()): loading, unloading and the end of the probes wait for ten grace periods, and
// no race goes on beside them.  call_rcu() takes its time all the same; a real-time kernel refuses.
class HastyGracePeriods {
public:
    HastyGracePeriods();
    ~HastyGracePeriods();
    HastyGracePeriods(const HastyGracePeriods&) = delete;
    HastyGracePeriods& operator=(const HastyGracePeriods&) = delete;

private:
    std::string before_; // empty: it cannot be chosen
};
// The injector's file: what became of each.
std::string read_sites();
// The `faults` member of a result; fired in total is added to `fired`.
nlohmann::json fault_counters(const Plan& plan, std::uint64_t& fired);

// The injector's log of what makes requests wait for their time-out.
LossLog fault_losses();

} // namespace at
