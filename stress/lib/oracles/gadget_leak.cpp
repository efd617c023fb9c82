#include "lib/oracles/gadget_leak.h"

#include <cstdlib>
#include <filesystem>

#include <sched.h>
#include <unistd.h>

#include "lib/system.h"

namespace at {

namespace {

constexpr char cache[] = "/sys/kernel/slab/mm_struct";
constexpr std::uint64_t bound_ns = 2000000000;

// Each CPU runs this process for a moment, and lets go of the mm that it had borrowed.
void visit_every_cpu() {
    cpu_set_t own;
    if (sched_getaffinity(0, sizeof own, &own))
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &own))
            continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof one, &one);
    }
    sched_setaffinity(0, sizeof own, &own);
}

} // namespace

std::int64_t allocated_mm_structs() {
    const std::filesystem::path path = cache;
    std::error_code error;
    // A symbolic link is a cache that was merged with others of its size.
    if (!std::filesystem::is_directory(path, error) || std::filesystem::is_symlink(path, error))
        return -1;
    write_file((path / "shrink").string(), "1\n");
    const auto objects = read_file((path / "objects").string());
    return objects ? std::strtoll(objects->c_str(), nullptr, 10) : -1;
}

std::optional<Finding> judge_mm_count(std::int64_t before, std::int64_t now, std::uint64_t ended) {
    if (now - before <= static_cast<std::int64_t>(ended) / 2)
        return std::nullopt;
    return Finding{"leak",
                   "the mm of processes that are gone stays referenced",
                   "leak/mm_struct",
                   {"mm_struct objects: " + std::to_string(before) + " before, " +
                        std::to_string(now) + " after",
                    std::to_string(ended) + " processes submitted one request each and ended"}};
}

std::vector<Finding> judge_mm_structs(std::int64_t before, std::uint64_t ended) {
    if (before < 0 || ended < 4)
        return {};
    const std::uint64_t until = monotonic_ns() + bound_ns;
    std::int64_t now = 0;
    do {
        visit_every_cpu();
        now = allocated_mm_structs();
        if (now < 0 || !judge_mm_count(before, now, ended))
            return {};
        usleep(20000);
    } while (monotonic_ns() < until);
    return {*judge_mm_count(before, now, ended)};
}

} // namespace at
