// Late-write oracle after the stressor's death: its mm is gone and its requests have ended
// (exit_aio() waited for them), so nobody may write to the buffers, which the supervisor holds.
#pragma once

#include <chrono>
#include <vector>

#include "lib/findings.h"
#include "lib/ledger.h"

namespace at {

// Re-patterns every buffer, waits, and looks.
std::vector<Finding> watch_after_death(SharedRun& run, std::byte* buffers,
                                       std::chrono::milliseconds watch);

} // namespace at
