// The system: most of the free memory is taken and given back, caches are dropped, memory is
// compacted (movable pages are migrated; pinned ones must stay where the device knows them:
// mm/migrate.c, folio_expected_refs()), and a CPU goes and comes back beside timers, work items and
// interrupts.
#include "lib/disturb/disturb.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <sys/mman.h>
#include <sys/utsname.h>

#include "lib/race.h"
#include "lib/racer.h"

namespace at {

namespace {

constexpr char cpu_switch[] = "/sys/devices/system/cpu/cpu1/online";
constexpr std::uint64_t page_bytes = 4096;

std::uint64_t available_bytes() {
    const std::string text = read_file("/proc/meminfo").value_or("");
    const auto at = text.find("MemAvailable:");
    unsigned long long kb = 0;
    if (at != std::string::npos)
        std::sscanf(text.c_str() + at, "MemAvailable: %llu", &kb);
    return kb << 10;
}

// Far from what would call the OOM killer, which is no finding of ours.
void take_and_give_back(Random& random) {
    const std::uint64_t bytes = available_bytes() / 100 * (20 + random.below(40));
    void* taken = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (taken == MAP_FAILED)
        return;
    for (std::uint64_t i = 0; i < bytes; i += 4 * page_bytes)
        static_cast<volatile char*>(taken)[i] = 1;
    munmap(taken, bytes);
}

void reclaim_loop(Race& race, Random random) {
    while (!race.stopped()) {
        const bool loaded = race.requests_in_flight();
        {
            const Calling calling(Call::reclaim);
            switch (random.below(3)) {
            case 0:
                take_and_give_back(random);
                break;
            case 1:
                write_file("/proc/sys/vm/drop_caches", "3\n");
                break;
            default:
                write_file("/proc/sys/vm/compact_memory", "1\n");
            }
        }
        if (loaded)
            race.disturbed(Counter::reclaims);
        else
            race.shared().count(Counter::reclaims);
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
    return (major > 5 || (major == 5 && minor >= 11)) && read_file(cpu_switch).has_value();
}

void switch_loop(Race& race, Random random) {
    while (!race.stopped()) {
        race.pause_drawn(random, 5000, 200000);
        const Calling calling(Call::hotplug);
        if (!write_file(cpu_switch, "0\n"))
            continue; // busy: EBUSY while another operation on CPUs is under way
        race.pause_drawn(random, 1000, 60000);
        while (!write_file(cpu_switch, "1\n") && !race.stopped())
            race.pause(10000000);
        race.shared().count(Counter::hotplugs);
    }
    write_file(cpu_switch, "1\n");
}

} // namespace

void start_reclaim(Race& race) {
    race.start_disturbers(1, [&race](std::uint32_t, Random random) { reclaim_loop(race, random); });
}

void start_cpu_switch(Race& race) {
    if (may_switch_cpus())
        race.start_disturbers(1,
                              [&race](std::uint32_t, Random random) { switch_loop(race, random); });
}

} // namespace at
