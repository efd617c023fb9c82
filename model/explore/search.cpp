#include "explore/search.hpp"

#include <algorithm>

namespace at::model {

namespace {

struct Program {
    const Core* core;
    unsigned variant;
    unsigned racers;
};

void build(void* argument) {
    const auto& program = *static_cast<const Program*>(argument);
    Setup setup(program.variant, program.racers);
    program.core->build(setup);
}

std::unique_ptr<Strategy> make_strategy(StrategyKind kind, const SearchOptions& options,
                                        unsigned preemptions) {
    switch (kind) {
    case StrategyKind::pct:
        return make_pct(options.seed, options.pct_depth);
    case StrategyKind::random:
        return make_random(options.seed);
    case StrategyKind::replay:
        return make_replay(options.token->choices);
    case StrategyKind::exhaustive:
        break;
    }
    return make_exhaustive(preemptions, options.reduction);
}

// Runs the schedule just run a second time, recorded; whether it went the same way.
bool again(Exec& exec, Program& program, const Limits& limits) {
    const std::uint64_t hash = exec.trace_hash();
    const Choices choices = exec.choices();
    std::vector<std::string> before;
    for (const Finding& finding : exec.findings())
        before.push_back(finding.signature);
    const auto replay = make_replay(choices);
    replay->begin(exec);
    exec.run(*replay, build, &program, limits, true);
    std::vector<std::string> after;
    for (const Finding& finding : exec.findings())
        after.push_back(finding.signature);
    return exec.trace_hash() == hash && exec.choices() == choices && before == after;
}

std::string end_of(const Exec& exec) {
    std::string text = exec.outcome();
    for (const Finding& finding : exec.findings())
        text += " !" + finding.signature;
    return text;
}

Shown nondeterminism(std::uint64_t schedule) {
    Shown shown;
    shown.finding = {"nondeterminism",
                     "the same choices gave another run: something outside the scheduler decides",
                     "nondeterminism:trace",
                     {}};
    shown.schedule = schedule;
    shown.times = 1;
    return shown;
}

} // namespace

SearchReport search(Exec& exec, const Core& core, unsigned variant, const SearchOptions& options) {
    using Clock = std::chrono::steady_clock;
    SearchReport report;
    const std::uint64_t sampled = core.variants[variant].sampled;
    report.strategy =
        options.strategy.value_or(sampled ? StrategyKind::random : StrategyKind::exhaustive);
    Limits limits = core.variants[variant].limits.value_or(core.bounds.limits);
    if (options.faults)
        limits.faults = *options.faults;
    if (options.failed_allocations)
        limits.failed_allocations = *options.failed_allocations;
    report.racers = options.racers.value_or(core.bounds.racers);
    report.preemptions = options.preemptions.value_or(core.bounds.preemptions);
    if (report.strategy == StrategyKind::replay) {
        limits = options.token->limits;
        report.racers = options.token->racers;
    }
    Program program{&core, variant, report.racers};
    const std::uint64_t schedules_max =
        options.schedules.value_or(report.strategy == StrategyKind::exhaustive ? ~std::uint64_t{0}
                                   : sampled                                   ? sampled
                                                                               : 100'000);
    const auto strategy = make_strategy(report.strategy, options, report.preemptions);
    const auto started = Clock::now();

    while (report.counts.schedules < schedules_max && strategy->begin(exec)) {
        const End end = exec.run(*strategy, build, &program, limits, false);
        const std::uint64_t number = ++report.counts.schedules;
        report.counts.steps += exec.steps();
        report.counts.depth_max = std::max<std::uint64_t>(report.counts.depth_max, exec.steps());
        strategy->end(end);
        report.trace_hash = (report.trace_hash ^ exec.trace_hash()) * 0x9e3779b97f4a7c15ull;
        if (end == End::diverged) {
            report.nondeterministic = true;
            report.shown.emplace("nondeterminism:trace", nondeterminism(number));
            break;
        }
        if (options.keep_outcomes && end != End::cut)
            report.outcomes.insert(end_of(exec));
        bool unseen = false;
        for (const Finding& finding : exec.findings()) {
            Shown& shown = report.shown[finding.signature];
            unseen |= shown.times++ == 0;
        }
        if (unseen || number % options.sample_every == 1) {
            ++report.executed_twice;
            if (!again(exec, program, limits)) {
                report.nondeterministic = true;
                report.shown.emplace("nondeterminism:trace", nondeterminism(number));
                break;
            }
        }
        if (unseen) {
            const std::string token =
                print_token({name_hash(core.name), name_hash(core.variants[variant].name),
                             report.racers, limits, exec.choices()});
            const auto columns = print_columns(exec);
            for (const Finding& finding : exec.findings()) {
                Shown& shown = report.shown[finding.signature];
                if (shown.times != 1)
                    continue;
                shown.finding = finding;
                shown.schedule = number;
                shown.token = token;
                shown.columns = columns;
            }
        }
        if (options.time && number % 256 == 0 && Clock::now() - started > *options.time)
            break;
    }
    // A broken-off search stands at a schedule that is not its last.
    if (report.strategy == StrategyKind::exhaustive && !report.nondeterministic &&
        report.counts.schedules == schedules_max)
        strategy->begin(exec);
    strategy->count(report.counts);
    report.took = Clock::now() - started;
    return report;
}

namespace {
bool matches(std::string_view pattern, std::string_view signature) {
    if (pattern.ends_with('*'))
        return signature.starts_with(pattern.substr(0, pattern.size() - 1));
    return pattern == signature;
}
} // namespace

Verdict judge(const Variant& variant, const SearchReport& report) {
    Verdict verdict;
    for (const Expected& expected : variant.expected)
        if (expected.required &&
            std::none_of(report.shown.begin(), report.shown.end(),
                         [&](const auto& one) { return matches(expected.signature, one.first); }))
            verdict.missing.emplace_back(expected.signature);
    for (const auto& [signature, shown] : report.shown)
        if (std::none_of(variant.expected.begin(), variant.expected.end(),
                         [&](const Expected& one) { return matches(one.signature, signature); }))
            verdict.unexpected.push_back(signature);
    return verdict;
}

std::vector<std::string> print_columns(const Exec& exec) {
    std::array<Mask, 4> in_column{};
    for (const TraceLine& line : exec.lines())
        if (line.fiber < max_fibers)
            in_column[static_cast<unsigned>(exec.fiber(line.fiber).racer)] |= bit(line.fiber);
    std::vector<unsigned> columns;
    for (unsigned racer = 0; racer < in_column.size(); ++racer)
        if (in_column[racer])
            columns.push_back(racer);
    const std::size_t width = columns.size() <= 2 ? 44 : columns.size() == 3 ? 36 : 30;

    const auto padded = [&](std::string text) {
        if (text.size() > width - 2)
            text = text.substr(0, width - 4) + "..";
        text.resize(width, ' ');
        return text;
    };
    std::vector<std::string> rows;
    std::string head = "step  ";
    for (const unsigned racer : columns)
        head += padded(racer_name(static_cast<Racer>(racer)));
    rows.push_back(head + "source");
    unsigned step = 0;
    for (const TraceLine& line : exec.lines()) {
        std::string number = line.step ? std::to_string(++step) : "";
        number.insert(0, 4 - std::min<std::size_t>(4, number.size()), ' ');
        std::string row = number + "  ";
        const std::string source = line.where.text();
        if (line.fiber >= max_fibers || line.text.starts_with("**")) {
            const bool placed = !source.starts_with("exec.cpp:");
            rows.push_back(row + line.text + (placed ? "  (" + source + ")" : ""));
            continue;
        }
        const Fiber& fiber = exec.fiber(line.fiber);
        const auto racer = static_cast<unsigned>(fiber.racer);
        const bool alone = (in_column[racer] & (in_column[racer] - 1)) == 0;
        const std::string text = (alone && std::string_view(fiber.name) == racer_name(fiber.racer)
                                      ? ""
                                      : std::string(fiber.name) + ": ") +
                                 line.text;
        for (const unsigned column : columns)
            row += padded(column == racer ? text : "");
        rows.push_back(row + source);
    }
    return rows;
}

} // namespace at::model
