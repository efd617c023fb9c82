// at-explore CORE|list [--variant V] [--strategy exhaustive|pct|random|replay] …
//
// Standard output is the same, byte for byte, for the same arguments on any machine; times go to
// standard error. Status: 0 nothing found, 1 findings, 2 usage.
#include "explore/json.hpp"
#include "explore/mutant.hpp"
#include "explore/search.hpp"

#include <charconv>
#include <cstdio>
#include <iostream>

namespace {

using namespace at::model;

constexpr const char* usage =
    "usage: at-explore CORE|list [--variant V] [--strategy exhaustive|pct|random|replay]\n"
    "                  [--seed N] [--schedules N] [--preemptions N|none] [--threads N]\n"
    "                  [--alloc-failures N] [--faults N] [--depth N] [--time SECONDS] [--token T]\n"
    "                  [--reduction dpor|none] [--compare] [--json]\n"
    "                  [--mutant NAME|PATH]\n"
    "  --compare  searches again without reduction: the outcomes must be the same\n"
    "  --mutant   core zcdma with a patch of mutants/driver/ in its driver\n"
    "  --depth    of PCT: the number of orders that a bug needs (default 3)\n";

struct Usage {
    std::string complaint;
};

struct Arguments {
    std::string core;
    std::string variant;
    std::string mutant;
    SearchOptions search;
    bool compare = false;
    bool json = false;
};

template <class T> T number(std::string_view option, std::string_view text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size())
        throw Usage{std::string(option) + " " + std::string(text) + ": not a number in range"};
    return value;
}

StrategyKind strategy_named(std::string_view name) {
    if (name == "exhaustive")
        return StrategyKind::exhaustive;
    if (name == "pct")
        return StrategyKind::pct;
    if (name == "random")
        return StrategyKind::random;
    if (name == "replay")
        return StrategyKind::replay;
    throw Usage{"--strategy " + std::string(name) + ": no such strategy"};
}

Arguments parse(int argc, char** argv) {
    Arguments arguments;
    for (int i = 1; i < argc; ++i) {
        const std::string_view option = argv[i];
        const auto value = [&]() -> std::string_view {
            if (++i == argc)
                throw Usage{std::string(option) + " needs a value"};
            return argv[i];
        };
        SearchOptions& search = arguments.search;
        if (option == "--variant")
            arguments.variant = value();
        else if (option == "--mutant")
            arguments.mutant = value();
        else if (option == "--strategy")
            search.strategy = strategy_named(value());
        else if (option == "--seed")
            search.seed = number<std::uint64_t>(option, value());
        else if (option == "--schedules")
            search.schedules = number<std::uint64_t>(option, value());
        else if (option == "--preemptions") {
            const auto text = value();
            search.preemptions = text == "none" ? unbounded : number<unsigned>(option, text);
        } else if (option == "--threads")
            search.racers = number<unsigned>(option, value());
        else if (option == "--alloc-failures")
            search.failed_allocations = number<unsigned>(option, value());
        else if (option == "--faults")
            search.faults = number<unsigned>(option, value());
        else if (option == "--depth")
            search.pct_depth = number<unsigned>(option, value());
        else if (option == "--time")
            search.time = std::chrono::duration<double>(number<double>(option, value()));
        else if (option == "--token") {
            search.token = parse_token(value());
            if (!search.token)
                throw Usage{"--token: damaged or not a token of the model lane"};
            search.strategy = StrategyKind::replay;
        } else if (option == "--reduction") {
            const auto text = value();
            if (text != "dpor" && text != "none")
                throw Usage{"--reduction is dpor or none"};
            search.reduction = text == "none" ? Reduction::none : Reduction::dpor;
        } else if (option == "--compare")
            arguments.compare = true;
        else if (option == "--json")
            arguments.json = true;
        else if (option.starts_with("-") || !arguments.core.empty())
            throw Usage{"what is " + std::string(option) + "?"};
        else
            arguments.core = option;
    }
    if (arguments.core.empty())
        throw Usage{"which core? (list shows them)"};
    if (arguments.search.strategy == StrategyKind::replay && !arguments.search.token)
        throw Usage{"--strategy replay needs --token"};
    return arguments;
}

void list(bool json) {
    Json all = Json::array();
    for (const Core* core : cores()) {
        if (!json)
            std::printf("%-16.*s %.*s\n", int(core->name.size()), core->name.data(),
                        int(core->about.size()), core->about.data());
        Json variants = Json::array();
        for (const Variant& variant : core->variants) {
            if (!json)
                std::printf("    %-20.*s %.*s\n", int(variant.name.size()), variant.name.data(),
                            int(variant.about.size()), variant.about.data());
            Json expected = Json::array();
            for (const Expected& one : variant.expected)
                expected.add(Json::object()
                                 .with("signature", one.signature)
                                 .with("reason", one.reason)
                                 .with("required", one.required));
            variants.add(Json::object()
                             .with("name", variant.name)
                             .with("about", variant.about)
                             .with("expected", expected));
        }
        all.add(Json::object()
                    .with("core", core->name)
                    .with("about", core->about)
                    .with("cites", core->cites)
                    .with("variants", variants));
    }
    if (json)
        std::printf("%s\n", all.text().c_str());
}

struct Result {
    const Variant* variant;
    SearchReport report;
    Verdict verdict;
    std::optional<SearchReport> unreduced;
    bool same_outcomes = true;
};

std::string command(const Core& core, const Arguments& arguments, const std::string& token) {
    return "at-explore " + std::string(core.name) +
           (arguments.mutant.empty() ? "" : " --mutant " + arguments.mutant) +
           " --strategy replay --token " + token;
}

Json to_json(const Core& core, const Result& result) {
    Json findings = Json::array();
    for (const auto& [signature, shown] : result.report.shown)
        findings.add(Json::object()
                         .with("oracle", shown.finding.oracle)
                         .with("title", shown.finding.title)
                         .with("signature", signature)
                         .with("evidence", shown.finding.evidence)
                         .with("schedule", shown.schedule)
                         .with("times", shown.times)
                         .with("token", shown.token)
                         .with("columns", shown.columns));
    const SearchCounts& counts = result.report.counts;
    Json out = Json::object()
                   .with("core", core.name)
                   .with("variant", result.variant->name)
                   .with("racers", result.report.racers)
                   .with("preemptions", result.report.preemptions == unbounded
                                            ? Json::null()
                                            : Json(result.report.preemptions))
                   .with("as_expected", result.verdict.as_expected())
                   .with("missing", result.verdict.missing)
                   .with("unexpected", result.verdict.unexpected)
                   .with("complete", counts.complete)
                   .with("schedules", counts.schedules)
                   .with("steps", counts.steps)
                   .with("steps_max", counts.depth_max)
                   .with("sleep_cuts", counts.sleep_cuts)
                   .with("bound_cuts", counts.bound_cuts)
                   .with("executed_twice", result.report.executed_twice)
                   .with("deterministic", !result.report.nondeterministic)
                   .with("findings", findings);
    if (result.unreduced)
        out = out.with("outcomes", result.report.outcomes.size())
                  .with("same_outcomes", result.same_outcomes)
                  .with("schedules_without_reduction", result.unreduced->counts.schedules);
    return out;
}

void print_findings(const Core& core, const Arguments& arguments, const Result& result) {
    for (const auto& [signature, shown] : result.report.shown) {
        std::printf("\n%.*s %.*s: %s\n", int(core.name.size()), core.name.data(),
                    int(result.variant->name.size()), result.variant->name.data(),
                    signature.c_str());
        for (const std::string& row : shown.columns)
            std::printf("%s\n", row.c_str());
        std::printf("%s: %s\n", shown.finding.oracle.c_str(), shown.finding.title.c_str());
        for (const std::string& line : shown.finding.evidence)
            std::printf("    %s\n", line.c_str());
        for (const Expected& one : result.variant->expected)
            if (one.signature == signature)
                std::printf("    expected: %.*s\n", int(one.reason.size()), one.reason.data());
        if (!shown.token.empty())
            std::printf("%s\n", command(core, arguments, shown.token).c_str());
    }
}

void print_row(const Result& result) {
    const SearchReport& report = result.report;
    std::string state = report.counts.complete                        ? "complete"
                        : report.strategy == StrategyKind::exhaustive ? "not complete"
                        : report.strategy == StrategyKind::replay     ? "replayed"
                                                                      : "sampled";
    if (!result.verdict.as_expected())
        state += ", NOT AS EXPECTED";
    std::printf("%-24.*s %8zu %8zu %12llu %12llu  %s\n", int(result.variant->name.size()),
                result.variant->name.data(), result.variant->expected.size(), report.shown.size(),
                static_cast<unsigned long long>(report.counts.schedules),
                static_cast<unsigned long long>(report.counts.steps), state.c_str());
    if (result.unreduced)
        std::printf("    without reduction %llu schedules, factor %.1f, outcomes %zu, %s\n",
                    static_cast<unsigned long long>(result.unreduced->counts.schedules),
                    double(result.unreduced->counts.schedules) / double(report.counts.schedules),
                    report.outcomes.size(), result.same_outcomes ? "the same" : "NOT THE SAME");
    for (const std::string& missing : result.verdict.missing)
        std::printf("    missing: %s\n", missing.c_str());
    for (const std::string& unexpected : result.verdict.unexpected)
        std::printf("    unexpected: %s\n", unexpected.c_str());
}

Result explore(Exec& exec, const Core& core, unsigned index, const Arguments& arguments) {
    Result result;
    result.variant = &core.variants[index];
    SearchOptions options = arguments.search;
    options.keep_outcomes = arguments.compare;
    result.report = search(exec, core, index, options);
    result.verdict = judge(*result.variant, result.report);
    // A replay shows one schedule, a sample need not meet everything.
    if (!result.report.counts.complete)
        result.verdict.missing.clear();
    if (arguments.compare) {
        options.reduction = Reduction::none;
        result.unreduced = search(exec, core, index, options);
        result.same_outcomes = result.unreduced->outcomes == result.report.outcomes;
    }
    std::fprintf(stderr, "%.*s %.*s: %.3f s\n", int(core.name.size()), core.name.data(),
                 int(result.variant->name.size()), result.variant->name.data(),
                 result.report.took.count());
    return result;
}

int run(const Arguments& arguments) {
    if (arguments.core == "list") {
        list(arguments.json);
        return 0;
    }
    const Core* const core = find_core(arguments.core);
    if (!core)
        throw Usage{"no core " + arguments.core + " (list shows them)"};
    std::vector<unsigned> chosen;
    for (unsigned i = 0; i < core->variants.size(); ++i) {
        const Variant& variant = core->variants[i];
        const auto& token = arguments.search.token;
        if (token &&
            (token->core != name_hash(core->name) || token->variant != name_hash(variant.name)))
            continue;
        if (arguments.variant.empty() || variant.name == arguments.variant)
            chosen.push_back(i);
    }
    if (chosen.empty())
        throw Usage{arguments.search.token ? "the token is of another core or variant"
                                           : "no variant " + arguments.variant};

    if (!arguments.mutant.empty()) {
        if (core->name != "zcdma")
            throw Usage{"--mutant is for core zcdma"};
        load_mutant(arguments.mutant);
    }
    Exec exec;
    std::vector<Result> results;
    for (const unsigned index : chosen)
        results.push_back(explore(exec, *core, index, arguments));

    bool any = false;
    for (const Result& result : results)
        any |= !result.report.shown.empty() || !result.same_outcomes;
    if (arguments.json) {
        Json all = Json::array();
        for (const Result& result : results)
            all.add(to_json(*core, result));
        std::printf("%s\n", all.text().c_str());
        return any;
    }
    for (const Result& result : results)
        print_findings(*core, arguments, result);
    const SearchReport& first = results.front().report;
    std::printf("\n%.*s: %u racers, %s%s\n", int(core->name.size()), core->name.data(),
                first.racers,
                first.strategy != StrategyKind::exhaustive ? "sampled"
                : first.preemptions == unbounded
                    ? "no preemption bound"
                    : (std::to_string(first.preemptions) + " preemptions").c_str(),
                "");
    std::printf("%-24s %8s %8s %12s %12s  %s\n", "variant", "expected", "found", "schedules",
                "steps", "search");
    for (const Result& result : results)
        print_row(result);
    if (results.size() == 1 && !first.shown.empty())
        std::printf("%s\n", command(*core, arguments, first.shown.begin()->second.token).c_str());
    return any;
}

} // namespace

int main(int argc, char** argv) {
    try {
        return run(parse(argc, argv));
    } catch (const Usage& error) {
        std::cerr << error.complaint << '\n' << usage;
    } catch (const std::exception& error) {
        std::cerr << "at-explore: " << error.what() << '\n';
    }
    return 2;
}
