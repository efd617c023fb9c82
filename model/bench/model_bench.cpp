// Speed of the scheduler: steps a second, and schedules a second of a protocol of three threads
// and about eighteen steps, the size that relacy's examples have.
#include "lib/core.hpp"

#include <benchmark/benchmark.h>

namespace {

using namespace at::model;

// Three threads, six atomic steps each: Peterson-like flags, a ticket, a shared counter.
struct Protocol {
    Atomic<unsigned> flag0{"flag0"}, flag1{"flag1"}, flag2{"flag2"};
    Atomic<unsigned> ticket{"ticket"};
    Atomic<unsigned> turn{"turn"};
};

void protocol(void*) {
    Setup setup(0, 3);
    auto* const p = create<Protocol>("protocol");
    const auto racer = [p](Atomic<unsigned>& own, Atomic<unsigned>& next) {
        own.write_release(1);
        const unsigned mine = p->ticket.fetch_add(1);
        p->turn.cmpxchg(mine, mine + 1);
        benchmark::DoNotOptimize(next.read_acquire());
        benchmark::DoNotOptimize(p->turn.read_acquire());
        own.write_release(0);
    };
    setup.task("a", Racer::submitter, [=] { racer(p->flag0, p->flag1); });
    setup.task("b", Racer::device, [=] { racer(p->flag1, p->flag2); });
    setup.task("c", Racer::canceller, [=] { racer(p->flag2, p->flag0); });
}

// Three threads, long enough that starting them counts for nothing.
void long_run(void*) {
    Setup setup(0, 3);
    auto* const p = create<Protocol>("protocol");
    for (const char* name : {"a", "b", "c"})
        setup.task(name, Racer::submitter, [=] {
            for (unsigned i = 0; i < 1000; ++i) {
                p->ticket.fetch_add(1);
                benchmark::DoNotOptimize(p->turn.read());
                p->flag0.write(i);
            }
        });
}

void measure(benchmark::State& state, Strategy& strategy, Exec::Build build) {
    Limits limits;
    limits.steps = 10'000;
    std::uint64_t steps = 0, schedules = 0;
    for (auto _ : state) {
        if (!strategy.begin(*exec)) {
            state.SkipWithError("the search ended");
            break;
        }
        strategy.end(exec->run(strategy, build, nullptr, limits, false));
        steps += exec->steps();
        ++schedules;
    }
    state.counters["steps/s"] = benchmark::Counter(double(steps), benchmark::Counter::kIsRate);
    state.counters["schedules/s"] =
        benchmark::Counter(double(schedules), benchmark::Counter::kIsRate);
    state.counters["steps"] = double(steps) / double(schedules);
}

void random_steps(benchmark::State& state) {
    const auto strategy = make_random(1);
    measure(state, *strategy, long_run);
}
void random_protocol(benchmark::State& state) {
    const auto strategy = make_random(1);
    measure(state, *strategy, protocol);
}
void pct_protocol(benchmark::State& state) {
    const auto strategy = make_pct(1, 3);
    measure(state, *strategy, protocol);
}
// Begins again when the search is complete.
void exhaustive(benchmark::State& state, unsigned preemptions, Reduction reduction) {
    std::uint64_t steps = 0, schedules = 0;
    auto strategy = make_exhaustive(preemptions, reduction);
    Limits limits;
    for (auto _ : state) {
        if (!strategy->begin(*exec)) {
            strategy = make_exhaustive(preemptions, reduction);
            strategy->begin(*exec);
        }
        strategy->end(exec->run(*strategy, protocol, nullptr, limits, false));
        steps += exec->steps();
        ++schedules;
    }
    state.counters["steps/s"] = benchmark::Counter(double(steps), benchmark::Counter::kIsRate);
    state.counters["schedules/s"] =
        benchmark::Counter(double(schedules), benchmark::Counter::kIsRate);
}

BENCHMARK(random_steps);
BENCHMARK(random_protocol);
BENCHMARK(pct_protocol);
BENCHMARK_CAPTURE(exhaustive, dpor, unbounded, Reduction::dpor);
BENCHMARK_CAPTURE(exhaustive, bound2_dpor, 2u, Reduction::dpor);
BENCHMARK_CAPTURE(exhaustive, bound2_none, 2u, Reduction::none);

} // namespace

int main(int argc, char** argv) {
    Exec runner;
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
