// The number of schedules where it is known, and reduction against no reduction on generated
// programs: the outcomes, findings included, must be the same at every bound.
#include "searching.hpp"

#include "sched/random.hpp"

#include <algorithm>
#include <iterator>
#include <span>

using namespace at::model;

namespace {

struct Cells {
    Atomic<int> a{"a"}, b{"b"}, c{"c"};
};

template <unsigned n> void independent(Setup& setup) {
    auto* const cells = create<Cells>("cells");
    setup.task("p", Racer::submitter, [=] {
        for (unsigned i = 0; i < n; ++i)
            cells->a.fetch_add(1);
    });
    setup.task("q", Racer::device, [=] {
        for (unsigned i = 0; i < n; ++i)
            cells->b.fetch_add(1);
    });
}

void same_cell(Setup& setup) {
    auto* const cells = create<Cells>("cells");
    for (const char* name : {"p", "q", "r"})
        setup.task(name, Racer::submitter, [=] { cells->a.fetch_add(1); });
}

void three_values(Setup& setup) {
    setup.task("p", Racer::submitter, [] {
        const unsigned x = choose(3, "x"), y = choose(2, "y");
        outcome("%u%u", x, y);
    });
}

// --- generated programs

enum class Kind : std::uint8_t {
    read,
    write,
    add,
    cmpxchg,
    locked_add,
    test_then_write,
    complete,
    wait,
    choose_write,
    spin,
    arm,
    disarm,
    sleep_until,
    wake,
    count
};
struct Instruction {
    Kind kind;
    std::uint8_t cell;
    std::uint8_t operand;
};
struct Text {
    unsigned threads;
    unsigned length[3];
    Instruction code[3][5];
};
Text text;

struct Machine {
    Atomic<int> cell[3] = {Atomic<int>{"x"}, Atomic<int>{"y"}, Atomic<int>{"z"}};
    SpinLock lock[2] = {SpinLock{"l"}, SpinLock{"m"}};
    Completion done{"done"};
    WaitQueue queue{"queue"};
    Timer* timer;
    int seen[3][5];
    int fired;
};

void interpret(Machine& m, unsigned thread) {
    for (unsigned i = 0; i < text.length[thread]; ++i) {
        const Instruction in = text.code[thread][i];
        Atomic<int>& cell = m.cell[in.cell];
        int& seen = m.seen[thread][i];
        switch (in.kind) {
        case Kind::read:
            seen = cell.read();
            break;
        case Kind::write:
            cell.write(in.operand);
            break;
        case Kind::add:
            seen = cell.fetch_add(in.operand);
            break;
        case Kind::cmpxchg:
            seen = cell.cmpxchg(0, in.operand);
            break;
        case Kind::locked_add: {
            SpinLock& lock = m.lock[in.cell & 1];
            lock.lock();
            seen = cell.fetch_add(in.operand);
            lock.unlock();
            break;
        }
        case Kind::test_then_write:
            if (cell.read() == 0)
                m.cell[in.operand % 3].write(in.operand + 4);
            break;
        case Kind::complete:
            m.done.complete();
            break;
        case Kind::wait:
            m.done.wait();
            break;
        case Kind::choose_write:
            cell.write(static_cast<int>(choose(2, "v")) + 7);
            break;
        case Kind::spin:
            while (cell.read() == 0)
                cpu_relax();
            break;
        case Kind::arm:
            m.timer->mod();
            break;
        case Kind::disarm:
            seen = m.timer->del();
            break;
        case Kind::sleep_until:
            m.queue.wait_event([&] { return cell.read() != 0; }, [&] { return cell.peek() != 0; });
            break;
        case Kind::wake:
            m.queue.wake_up();
            break;
        case Kind::count:
            break;
        }
    }
}

void generated(Setup& setup) {
    auto* const m = create<Machine>("m");
    m->timer = create<Timer>("timer", "timer", Racer::device,
                             [m] { m->fired += m->cell[0].fetch_add(20) + 1; });
    for (auto& row : m->seen)
        for (int& seen : row)
            seen = -1;
    m->fired = 0;
    static constexpr const char* names[] = {"p", "q", "r"};
    for (unsigned t = 0; t < text.threads; ++t)
        setup.task(names[t], Racer::submitter, [m, t] { interpret(*m, t); });
    setup.at_end([m] {
        std::string end;
        for (auto& cell : m->cell)
            end += std::to_string(cell.peek()) + ",";
        for (auto& row : m->seen)
            for (const int seen : row)
                end += std::to_string(seen) + " ";
        outcome("%s f%d", end.c_str(), m->fired);
    });
}

Text generate(Random& random) {
    Text made{};
    made.threads = 2 + random.below(2);
    for (unsigned t = 0; t < made.threads; ++t) {
        made.length[t] = 1 + random.below(made.threads == 2 ? 4 : 3);
        for (unsigned i = 0; i < made.length[t]; ++i)
            made.code[t][i] = {static_cast<Kind>(random.below(static_cast<unsigned>(Kind::count))),
                               static_cast<std::uint8_t>(random.below(3)),
                               static_cast<std::uint8_t>(1 + random.below(3))};
    }
    return made;
}

std::string printed(const Text& program) {
    static constexpr const char* names[] = {
        "read", "write",        "add",  "cmpxchg", "locked_add", "test_then_write", "complete",
        "wait", "choose_write", "spin", "arm",     "disarm",     "sleep_until",     "wake"};
    std::string all;
    for (unsigned t = 0; t < program.threads; ++t) {
        all += "| ";
        for (unsigned i = 0; i < program.length[t]; ++i) {
            const Instruction& in = program.code[t][i];
            all += std::string(names[static_cast<unsigned>(in.kind)]) + "(" +
                   std::to_string(in.cell) + "," + std::to_string(in.operand) + ") ";
        }
    }
    return all;
}

struct Pair {
    SearchReport all;
    SearchReport some;
    bool compared;
};

// Without reduction, and with it when the first ended in time.
Pair both(const Text& program, unsigned bound, const Limits& limits) {
    text = program;
    SearchOptions options;
    options.preemptions = bound;
    options.reduction = Reduction::none;
    options.schedules = 20'000;
    Pair pair{explore(generated, options, limits), {}, false};
    if (!pair.all.counts.complete)
        return pair;
    options.schedules.reset();
    options.reduction = Reduction::dpor;
    pair.some = explore(generated, options, limits);
    pair.compared = true;
    return pair;
}

bool differs(const Text& program, unsigned bound, const Limits& limits) {
    const Pair pair = both(program, bound, limits);
    return pair.compared && pair.some.outcomes != pair.all.outcomes;
}

// The program with every instruction left out that the difference does not need.
Text smallest(Text program, unsigned bound, const Limits& limits) {
    for (bool smaller = true; smaller;) {
        smaller = false;
        for (unsigned t = 0; t < program.threads && !smaller; ++t)
            for (unsigned i = 0; i < program.length[t] && !smaller; ++i) {
                Text less = program;
                for (unsigned k = i + 1; k < less.length[t]; ++k)
                    less.code[t][k - 1] = less.code[t][k];
                --less.length[t];
                if (differs(less, bound, limits)) {
                    program = less;
                    smaller = true;
                }
            }
    }
    return program;
}

struct Tally {
    std::uint64_t full = 0, reduced = 0; // schedules
    unsigned compared = 0;
    unsigned cut = 0; // comparisons in which the step bound ended a schedule
};

Tally compare_generated(std::uint64_t seed, unsigned programs, std::span<const Limits> each) {
    Random random(seed);
    Tally tally;
    for (unsigned program = 0; program < programs; ++program) {
        const Text made = generate(random);
        for (const Limits& limits : each)
            for (const unsigned bound : {0u, 1u, 2u, 3u, unbounded}) {
                const Pair pair = both(made, bound, limits);
                if (!pair.compared)
                    continue;
                tally.full += pair.all.counts.schedules;
                tally.reduced += pair.some.counts.schedules;
                ++tally.compared;
                tally.cut += pair.all.counts.depth_max == limits.steps;
                INFO("program " << program << " bound " << bound << " step bound " << limits.steps
                                << " schedules " << pair.all.counts.schedules << " and "
                                << pair.some.counts.schedules);
                REQUIRE(pair.some.counts.complete);
                if (pair.some.outcomes == pair.all.outcomes)
                    continue;
                std::vector<std::string> lost;
                std::set_difference(pair.all.outcomes.begin(), pair.all.outcomes.end(),
                                    pair.some.outcomes.begin(), pair.some.outcomes.end(),
                                    std::back_inserter(lost));
                INFO("lost " << lost.size() << ", first "
                             << (lost.empty() ? "none" : lost.front()));
                FAIL("smallest: " << printed(smallest(made, bound, limits)));
            }
    }
    return tally;
}

} // namespace

TEST_CASE("without reduction, two threads of n steps have (2n)!/(n!)^2 schedules") {
    CHECK(exhaustive(independent<1>, unbounded, Reduction::none).counts.schedules == 2);
    CHECK(exhaustive(independent<2>, unbounded, Reduction::none).counts.schedules == 6);
    CHECK(exhaustive(independent<4>, unbounded, Reduction::none).counts.schedules == 70);
    CHECK(exhaustive(independent<7>, unbounded, Reduction::none).counts.schedules == 3432);
}

TEST_CASE("independent steps need one schedule") {
    const auto report = exhaustive(independent<7>);
    CHECK(report.counts.schedules == 1);
    CHECK(report.counts.complete);
}

TEST_CASE("k steps on one cell need k! schedules") {
    CHECK(exhaustive(same_cell).counts.schedules - exhaustive(same_cell).counts.sleep_cuts == 6);
    CHECK(exhaustive(same_cell, unbounded, Reduction::none).counts.schedules == 6);
}

TEST_CASE("without preemptions, two threads of n steps have two schedules, with one 2 + 2(n-1)") {
    CHECK(exhaustive(independent<5>, 0, Reduction::none).counts.schedules == 2);
    // A preemption after any of the first n-1 steps, of either thread; then the other runs out.
    CHECK(exhaustive(independent<5>, 1, Reduction::none).counts.schedules == 10);
}

TEST_CASE("each value of a choice is taken") {
    const auto report = exhaustive(three_values);
    CHECK(report.counts.schedules == 6);
    CHECK(report.outcomes.size() == 6);
}

TEST_CASE("a search that is cut short does not call itself complete") {
    SearchOptions options;
    options.reduction = Reduction::none;
    options.preemptions = unbounded;
    options.schedules = 69;
    CHECK_FALSE(explore(independent<4>, options).counts.complete);
    options.schedules = 70;
    CHECK(explore(independent<4>, options).counts.complete);
}

TEST_CASE("reduction keeps every outcome of generated programs, at every bound") {
    const Tally tally = compare_generated(20131026, 1500, std::array{Limits{}});
    CHECK(tally.compared > 4000);
    CHECK(tally.reduced * 2 < tally.full);
}

TEST_CASE("reduction keeps every outcome where the step bound cuts schedules") {
    Limits limits[3];
    limits[0].steps = 3;
    limits[1].steps = 5;
    limits[2].steps = 8;
    const Tally tally = compare_generated(20101108, 500, limits);
    CHECK(tally.compared > 4000);
    CHECK(tally.cut > 1000);
}
