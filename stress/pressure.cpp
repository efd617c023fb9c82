// Invariant: neither a system that is short of memory and CPUs nor one that moves them loses,
// delays without bound or damages a request.
//
// Racers: submitters, cancellers, reapers and destroyers; a reclaimer that takes most of the free
// memory and gives it back, drops caches and compacts memory (movable pages are migrated; pinned
// ones must stay where the device knows them: mm/migrate.c, folio_expected_refs()); and, with two
// CPUs, an operator that switches one off and on again beside timers, work items and interrupts.
//
// Legal outcomes: those of destroy_under_load.

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <sys/mman.h>
#include <sys/utsname.h>

#include "lib/race.h"
#include "lib/racer.h"

namespace {

constexpr char cpu_switch[] = "/sys/devices/system/cpu/cpu1/online";
constexpr std::uint64_t page_bytes = 4096;

std::uint64_t available_bytes() {
    const std::string text = at::read_file("/proc/meminfo").value_or("");
    const auto at = text.find("MemAvailable:");
    unsigned long long kb = 0;
    if (at != std::string::npos)
        std::sscanf(text.c_str() + at, "MemAvailable: %llu", &kb);
    return kb << 10;
}

// Far from what would call the OOM killer, which is no finding of ours.
void take_and_give_back(at::Random& random) {
    const std::uint64_t bytes = available_bytes() / 100 * (20 + random.below(40));
    void* taken = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (taken == MAP_FAILED)
        return;
    for (std::uint64_t i = 0; i < bytes; i += 4 * page_bytes)
        static_cast<volatile char*>(taken)[i] = 1;
    munmap(taken, bytes);
}

void reclaim_loop(at::Race& race, at::Random random) {
    while (!race.stopped()) {
        {
            const at::Calling calling(at::Call::reclaim);
            switch (random.below(3)) {
            case 0:
                take_and_give_back(random);
                break;
            case 1:
                at::write_file("/proc/sys/vm/drop_caches", "3\n");
                break;
            default:
                at::write_file("/proc/sys/vm/compact_memory", "1\n");
            }
        }
        race.shared().count(at::Counter::reclaims);
        race.pause_drawn(random, 1000, 50000);
    }
}

// Before 5.11 a CPU on its way out may still pull a realtime task to itself, which then stays there
// (kernel/sched/rt.c, pull_rt_task(), called by the schedule() of a parked migration/N;
// set_task_cpu() warns).  The supervisor's heartbeats are such tasks.
bool may_switch_cpus() {
    utsname name{};
    int major = 0;
    int minor = 0;
    if (uname(&name) || std::sscanf(name.release, "%d.%d", &major, &minor) != 2)
        return false;
    return (major > 5 || (major == 5 && minor >= 11)) && at::read_file(cpu_switch).has_value();
}

void switch_loop(at::Race& race, at::Random random) {
    while (!race.stopped()) {
        race.pause_drawn(random, 5000, 200000);
        const at::Calling calling(at::Call::hotplug);
        if (!at::write_file(cpu_switch, "0\n"))
            continue; // busy: EBUSY while another operation on CPUs is under way
        race.pause_drawn(random, 1000, 60000);
        while (!at::write_file(cpu_switch, "1\n") && !race.stopped())
            race.pause(10000000);
        race.shared().count(at::Counter::hotplugs);
    }
    at::write_file(cpu_switch, "1\n");
}

const at::Scenario scenario{
    "pressure",
    "neither reclaim, compaction nor CPUs that go and come damage or delay a request",
    at::common_knobs({{"requests", "4000"}, {"contexts", "4"}, {"destroyers", "2"}}),
    {{"submitted", 2000}, {"reclaims", 20}},
    [](at::Race& race) {
        const bool cpus = may_switch_cpus();
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_destroyers();
        race.start_disturbers(cpus ? 2 : 1, [&race](std::uint32_t index, at::Random random) {
            index ? switch_loop(race, random) : reclaim_loop(race, random);
        });
        race.until_contended();
    },
};

const at::Registration registered(scenario);

} // namespace
