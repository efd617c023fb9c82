// Runs a build function under a strategy, without a registered core.
#pragma once

#include "explore/search.hpp"

#include <catch2/catch.hpp>

#include <map>

namespace at::model {

inline Exec& runner() {
    static Exec one;
    return one;
}

inline SearchReport explore(void (*build)(Setup&), SearchOptions options = {},
                            const Limits& limits = {}) {
    options.keep_outcomes = true;
    const Core core{.name = "test",
                    .about = "",
                    .cites = "",
                    .variants = {{"only", "", {}}},
                    .build = build,
                    .bounds = {.limits = limits}};
    return search(runner(), core, 0, options);
}

inline SearchReport exhaustive(void (*build)(Setup&), unsigned preemptions = unbounded,
                               Reduction reduction = Reduction::dpor) {
    SearchOptions options;
    options.preemptions = preemptions;
    options.reduction = reduction;
    return explore(build, options);
}

inline std::vector<std::string> signatures(const SearchReport& report) {
    std::vector<std::string> all;
    for (const auto& [signature, shown] : report.shown)
        all.push_back(signature);
    return all;
}

} // namespace at::model
