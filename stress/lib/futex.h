// Futexes of this process, with a bound on each wait.
#pragma once

#include <atomic>
#include <cstdint>

namespace at {

// Returns when `word` no longer holds `seen`, at a wake, after `bound_ns`, or for no reason.
void wait_for_change(std::atomic<std::uint32_t>& word, std::uint32_t seen, std::uint64_t bound_ns);
void wake(std::atomic<std::uint32_t>& word, int count);

} // namespace at
