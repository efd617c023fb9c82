#include "lib/findings.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <nlohmann/json.hpp>

namespace at {

namespace {

template <std::size_t size> void copy_text(char (&to)[size], const std::string& from) {
    const std::size_t length = std::min(from.size(), size - 1);
    std::memcpy(to, from.data(), length);
    to[length] = '\0';
}

// Findings about time alone: a host that starves the guest can cause one without the driver's
// doing, so whoever judges the cell sets the host's run-delay beside it.
bool starved_host_explains(const std::string& signature) {
    constexpr std::array about_time = {"contract/unexplained-ETIMEDOUT", "ledger/late/reset"};
    return std::find(about_time.begin(), about_time.end(), signature) != about_time.end();
}

// A signature, or the begin of several when it ends in / or -.
bool is_ablated(std::string_view signature) {
    const std::string_view oracle = ablated_oracle();
    if (oracle.ends_with('/') || oracle.ends_with('-'))
        return signature.starts_with(oracle);
    return !oracle.empty() && signature == oracle;
}

} // namespace

std::string& ablated_oracle() {
    static std::string oracle;
    return oracle;
}

Finding::Finding(std::string oracle_, std::string title_, std::string signature_,
                 std::vector<std::string> evidence_)
    : oracle(std::move(oracle_)), title(std::move(title_)), signature(std::move(signature_)),
      evidence(std::move(evidence_)) {
    if (is_ablated(signature))
        oracle = title = signature = "ablated";
}

bool is_of(std::string_view oracle, const Finding& finding) {
    const std::string_view path = finding.signature;
    return oracle == finding.oracle || (path.starts_with(oracle) && (path.size() == oracle.size() ||
                                                                     path[oracle.size()] == '/'));
}

nlohmann::json to_json(const Finding& finding) {
    return {{"oracle", finding.oracle},
            {"title", finding.title},
            {"signature", finding.signature},
            {"evidence", finding.evidence},
            {"lockup", starved_host_explains(finding.signature)}};
}

void FindingsRing::mute(const std::vector<std::string>& oracles) {
    if (oracles.size() > most_muted)
        throw std::runtime_error("mute: more oracles than can be muted at once");
    for (std::size_t i = 0; i < oracles.size(); ++i)
        copy_text(muted_[i], oracles[i]);
}

bool FindingsRing::mutes(const Finding& finding) const {
    return std::any_of(std::begin(muted_), std::end(muted_),
                       [&](const char* oracle) { return *oracle && is_of(oracle, finding); });
}

void FindingsRing::post(const Finding& finding) {
    const std::uint32_t seen = std::min(claimed_.load(std::memory_order_acquire), capacity);
    for (std::uint32_t i = 0; i < seen; ++i)
        if (entries_[i].ready.load(std::memory_order_acquire) &&
            finding.title.compare(0, sizeof entries_[i].title - 1, entries_[i].title) == 0 &&
            finding.oracle == entries_[i].oracle)
            return;
    // acq_rel: only uniqueness of the index matters here; the text is ordered by `ready`.
    const std::uint32_t index = claimed_.fetch_add(1, std::memory_order_acq_rel);
    if (index >= capacity) {
        claimed_.store(capacity, std::memory_order_relaxed);
        overflowed_.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    Entry& entry = entries_[index];
    copy_text(entry.oracle, finding.oracle);
    copy_text(entry.title, finding.title);
    copy_text(entry.signature, finding.signature);
    std::string evidence;
    for (const std::string& line : finding.evidence)
        evidence += line + "\n";
    copy_text(entry.evidence, evidence);
    entry.ready.store(1, std::memory_order_release);
}

std::vector<Finding> FindingsRing::collect(std::uint32_t& next) const {
    std::vector<Finding> found;
    const std::uint32_t end = std::min(claimed_.load(std::memory_order_acquire), capacity);
    while (next < end && entries_[next].ready.load(std::memory_order_acquire)) {
        const Entry& entry = entries_[next++];
        Finding finding;
        finding.oracle = entry.oracle;
        finding.title = entry.title;
        finding.signature = entry.signature;
        std::istringstream lines(entry.evidence);
        for (std::string line; std::getline(lines, line);)
            finding.evidence.push_back(line);
        found.push_back(std::move(finding));
    }
    return found;
}

} // namespace at
