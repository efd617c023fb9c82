#include "lib/oracles/late_watch.h"

#include <thread>

#include "lib/oracles/residue.h"
#include "lib/pattern.h"

namespace at {

std::vector<Finding> watch_after_death(SharedRun& run, std::byte* buffers,
                                       std::chrono::milliseconds watch) {
    std::vector<Finding> findings;
    for (std::uint32_t i = 0; i < run.slots_used; ++i)
        pattern_fill(canary_of(i), 0, buffers + std::size_t{i} * run.buffer_stride,
                     run.buffer_stride);
    std::this_thread::sleep_for(watch);
    for (std::uint32_t i = 0; i < run.slots_used; ++i)
        if (auto finding = judge_quiet_all(i, buffers + std::size_t{i} * run.buffer_stride,
                                           run.buffer_stride, "its process had ended")) {
            finding->evidence.push_back(describe_slot(run, i));
            run.count(Counter::late_writes);
            findings.push_back(*finding);
        }
    return findings;
}

} // namespace at
