// The cores of the 2003, 2010 and 2013 texts: each variant shows what it registers and nothing
// else, completely and in time; tokens replay; the reduction loses nothing.
#include "searching.hpp"

#include <string>

using namespace at::model;
using namespace std::chrono_literals;

namespace {

constexpr std::array papers{"2.6.0-test9", "2.6.33", "2013-flag"};

const Core& core_named(std::string_view name) {
    const Core* const core = find_core(name);
    REQUIRE(core);
    return *core;
}

std::string listed(const std::vector<std::string>& all) {
    std::string text;
    for (const std::string& one : all)
        text += one + ' ';
    return text;
}

} // namespace

TEST_CASE("each variant shows what it registers, within 10 s, searched completely", "[papers]") {
    for (const char* const name : papers) {
        const Core& core = core_named(name);
        for (unsigned i = 0; i < core.variants.size(); ++i) {
            INFO(name << ' ' << core.variants[i].name);
            const SearchReport report = search(runner(), core, i, {});
            const Verdict verdict = judge(core.variants[i], report);
            CHECK(listed(verdict.missing) == "");
            CHECK(listed(verdict.unexpected) == "");
            CHECK(report.counts.complete);
            CHECK(report.racers >= 3);
            CHECK(report.preemptions >= 2);
            CHECK(report.took < 10s);
        }
    }
}

TEST_CASE("a variant without findings has none at 3 preemptions either", "[papers]") {
    for (const char* const name : papers) {
        const Core& core = core_named(name);
        for (unsigned i = 0; i < core.variants.size(); ++i) {
            if (!core.variants[i].expected.empty())
                continue;
            INFO(name << ' ' << core.variants[i].name);
            SearchOptions options;
            options.preemptions = 3;
            const SearchReport report = search(runner(), core, i, options);
            CHECK(listed(judge(core.variants[i], report).unexpected) == "");
            CHECK(report.counts.complete);
        }
    }
}

TEST_CASE("every token of the papers replays its finding", "[papers]") {
    for (const char* const name : papers) {
        const Core& core = core_named(name);
        for (unsigned i = 0; i < core.variants.size(); ++i) {
            const SearchReport report = search(runner(), core, i, {});
            for (const auto& [signature, shown] : report.shown) {
                INFO(name << ' ' << core.variants[i].name << ' ' << signature);
                SearchOptions options;
                options.strategy = StrategyKind::replay;
                options.token = parse_token(shown.token);
                REQUIRE(options.token);
                const SearchReport again = search(runner(), core, i, options);
                REQUIRE(again.shown.contains(signature));
                CHECK(again.shown.at(signature).columns == shown.columns);
            }
        }
    }
}

TEST_CASE("the reduction loses no outcome of the papers", "[papers]") {
    for (const char* const name : papers) {
        const Core& core = core_named(name);
        for (unsigned i = 0; i < core.variants.size(); ++i) {
            for (const unsigned preemptions : {0u, 1u, 2u}) {
                INFO(name << ' ' << core.variants[i].name << ", preemptions " << preemptions);
                SearchOptions options;
                options.preemptions = preemptions;
                options.keep_outcomes = true;
                const SearchReport reduced = search(runner(), core, i, options);
                options.reduction = Reduction::none;
                const SearchReport all = search(runner(), core, i, options);
                CHECK(reduced.outcomes == all.outcomes);
                CHECK(reduced.counts.complete);
                CHECK(all.counts.complete);
            }
        }
    }
}
