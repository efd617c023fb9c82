#include "lib/oracles/late_waits.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "lib/oracles/timing.h"

namespace at {

namespace {

constexpr std::size_t kept = 1024;        // fault/fail_injector.c, AT_LOG_ENTRIES
constexpr std::size_t being_written = 64; // entries that a reader may not get

std::string in_ms(std::uint64_t ns) {
    return std::to_string(ns / 1000000) + " ms";
}

Finding of_kind(LateKind kind) {
    switch (kind) {
    case LateKind::timed_out:
        return {"ledger",
                "a request timed out far from any fault",
                "ledger/late/timed-out-unexplained",
                {}};
    case LateKind::waited:
        return {"ledger",
                "a request waited for its time-out far from any fault",
                "ledger/late/waited-unexplained",
                {}};
    case LateKind::cancel:
        break;
    }
    return {"ledger",
            "a cancelled request was answered by its time-out alone, far from any fault",
            "ledger/late/cancel-unexplained",
            {}};
}

} // namespace

void LateWaits::note(const LateWait& late) {
    const std::uint32_t index = taken.fetch_add(1, std::memory_order_relaxed);
    if (index >= max_late_waits)
        return;
    wait[index] = late;
    // Pairs with the supervisor's acquire: the entry is whole.
    ready[index].store(1, std::memory_order_release);
}

LossLog parse_losses(const std::string& text) {
    LossLog log;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        unsigned long long time_ns = 0;
        unsigned long long delay_ns = 0;
        const auto delay = line.find(" delay_ns=");
        if (std::sscanf(line.c_str(), "time_ns=%llu", &time_ns) != 1 ||
            delay == std::string::npos ||
            std::sscanf(line.c_str() + delay, " delay_ns=%llu", &delay_ns) != 1)
            continue;
        log.losses.push_back({time_ns, delay_ns});
    }
    std::sort(log.losses.begin(), log.losses.end(),
              [](const Loss& a, const Loss& b) { return a.time_ns < b.time_ns; });
    if (log.losses.size() + being_written >= kept)
        log.whole_since_ns = log.losses.front().time_ns;
    return log;
}

std::optional<Finding> judge_late_wait(const LateWait& wait, const LossLog& log,
                                       const WaitBounds& bounds) {
    if (!log.read || bounds.unlogged || wait.begin_ns < log.whole_since_ns + bounds.reach_ns)
        return std::nullopt;
    const Loss* last = nullptr; // before the wait was over
    for (const Loss& loss : log.losses) {
        if (loss.time_ns > wait.end_ns)
            break;
        if (loss.time_ns + loss.delay_ns + bounds.reach_ns >= wait.begin_ns)
            return std::nullopt;
        last = &loss;
    }
    Finding finding = of_kind(wait.kind);
    finding.evidence.push_back("slot " + std::to_string(wait.slot) + " generation " +
                               std::to_string(wait.generation) + " in flight for " +
                               in_ms(wait.end_ns - wait.begin_ns));
    finding.evidence.push_back(last ? "the last fault before it fired " +
                                          in_ms(wait.begin_ns - last->time_ns) +
                                          " before it was submitted"
                                    : std::string("no fault had fired before it ended"));
    return finding;
}

} // namespace at
