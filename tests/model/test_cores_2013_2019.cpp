// The cores of 2013 and 2019: reduction against none, and the corrected forms at three preemptions.
// That each variant shows what it is registered with is in test_strategies.cpp.
#include "searching.hpp"

#include <chrono>

using namespace at::model;

namespace {

constexpr std::string_view names[] = {"cancel_without_callback_2013", "aio_poll_2019"};

template <class F> void each_variant(F f) {
    for (const std::string_view name : names) {
        const Core* const core = find_core(name);
        REQUIRE(core);
        for (unsigned i = 0; i < core->variants.size(); ++i) {
            INFO(name << " " << core->variants[i].name);
            f(*core, i);
        }
    }
}

} // namespace

TEST_CASE("the cores of 2013 and 2019 have the same outcomes with and without reduction") {
    for (const unsigned preemptions : {1u, 2u})
        each_variant([&](const Core& core, unsigned variant) {
            SearchOptions options;
            options.keep_outcomes = true;
            options.preemptions = preemptions;
            const auto reduced = search(runner(), core, variant, options);
            options.reduction = Reduction::none;
            const auto all = search(runner(), core, variant, options);
            CHECK(reduced.counts.complete);
            CHECK(all.counts.complete);
            CHECK(reduced.outcomes == all.outcomes);
            CHECK(reduced.counts.schedules <= all.counts.schedules);
        });
}

TEST_CASE("what 2013 and 2019 have corrected stays silent at three preemptions") {
    unsigned silent = 0;
    each_variant([&](const Core& core, unsigned variant) {
        if (!core.variants[variant].expected.empty())
            return;
        SearchOptions options;
        options.preemptions = 3;
        const auto report = search(runner(), core, variant, options);
        CHECK(report.counts.complete);
        CHECK(report.shown.empty());
        ++silent;
    });
    CHECK(silent >= 30);
}

TEST_CASE("each mistake of 2013 and 2019 is found within ten seconds") {
    each_variant([&](const Core& core, unsigned variant) {
        const auto report = search(runner(), core, variant, {});
        CHECK(judge(core.variants[variant], report).missing.empty());
        CHECK(report.took < std::chrono::seconds(10));
    });
}
