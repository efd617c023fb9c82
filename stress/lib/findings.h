// Findings: what an oracle says.  They are posted into shared memory, so that one posted just
// before the stressor dies (by its own crash, by an oops, by a SIGKILL) is still told.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
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

    Finding() = default;
    Finding(std::string oracle, std::string title, std::string signature,
            std::vector<std::string> evidence = {});
};

// Tests of the tests (tests/py/test_ablation.py): a finding of this signature, or of those that
// begin so when it ends in / or -, is born nameless, as if nobody had judged.  Empty: none is.  Set
// before there are threads.
std::string& ablated_oracle();

// Is it of that oracle?  `oracle` is a whole oracle (leak) or a part of one, as signatures name it
// (ledger/late): words of the path, from its begin.
bool is_of(std::string_view oracle, const Finding& finding);

nlohmann::json to_json(const Finding& finding);

// Bounded and allocation-free for the writer; any thread may post, one reader collects.
// A (oracle, title) pair is kept once with the evidence of its first few occurrences.
class FindingsRing {
public:
    // Findings of these oracles are dropped from now on; before anybody posts.
    void mute(const std::vector<std::string>& oracles);
    bool mutes(const Finding& finding) const;
    void post(const Finding& finding);
    // Findings posted since the last call with the same `next`.
    std::vector<Finding> collect(std::uint32_t& next) const;
    bool any() const { return claimed_.load(std::memory_order_relaxed) != 0; }
    std::uint32_t overflowed() const { return overflowed_.load(std::memory_order_relaxed); }

private:
    static constexpr std::uint32_t capacity = 48;
    static constexpr std::size_t most_muted = 16;
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
    char muted_[most_muted][64] = {};
};

} // namespace at
