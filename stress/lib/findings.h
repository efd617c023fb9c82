// Findings: what an oracle says.  They are posted into shared memory, so that one posted just
// before the stressor dies (by its own crash, by an oops, by a SIGKILL) is still told.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace at {

// Title and signature name the cause and nothing that varies from run to run: never an address,
// a count, a time, a thread number or a cookie.  Those belong to the evidence.
struct Finding {
    std::string oracle;
    std::string title;
    std::string signature;
    std::vector<std::string> evidence;
};

nlohmann::json to_json(const Finding& finding);

// Bounded and allocation-free for the writer; any thread may post, one reader collects.
// A (oracle, title) pair is kept once with the evidence of its first few occurrences.
class FindingsRing {
public:
    void post(const Finding& finding);
    // Findings posted since the last call with the same `next`.
    std::vector<Finding> collect(std::uint32_t& next) const;
    bool any() const { return claimed_.load(std::memory_order_relaxed) != 0; }
    std::uint32_t overflowed() const { return overflowed_.load(std::memory_order_relaxed); }

private:
    static constexpr std::uint32_t capacity = 48;
    struct Entry {
        // release after the text is whole, acquire by the reader: the text is seen whole.
        std::atomic<std::uint32_t> ready;
        char oracle[16];
        char title[256];
        char signature[256];
        char evidence[2048]; // lines end in \n
    };
    std::atomic<std::uint32_t> claimed_;
    std::atomic<std::uint32_t> overflowed_;
    Entry entries_[capacity];
};

} // namespace at
