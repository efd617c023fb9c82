// Random walk, PCT and replay. The exhaustive search has a file of its own.
#include "sched/exec.hpp"
#include "sched/random.hpp"
#include "sched/strategy.hpp"

#include <algorithm>
#include <bit>

namespace at::model {

namespace {

FiberId nth_of(Mask set, unsigned n) {
    while (n--)
        set &= set - 1;
    return static_cast<FiberId>(std::countr_zero(set));
}

// One failure site in eight fails, so that schedules get far with the few that they may have.
unsigned failure(Random& random, unsigned n) {
    return random.below(8) ? 0 : 1 + random.below(n - 1);
}

class RandomWalk final : public Strategy {
public:
    explicit RandomWalk(std::uint64_t seed) : random_(seed) {}
    bool begin(Exec&) override { return true; }
    FiberId pick(Mask enabled, FiberId) override {
        return nth_of(enabled, random_.below(static_cast<unsigned>(std::popcount(enabled))));
    }
    unsigned choose(unsigned n) override { return random_.below(n); }
    unsigned choose_failure(unsigned n) override { return failure(random_, n); }

private:
    Random random_;
};

class Pct final : public Strategy {
public:
    Pct(std::uint64_t seed, unsigned depth) : random_(seed), lowered_at_(depth ? depth - 1 : 0) {}

    bool begin(Exec& exec) override {
        exec_ = &exec;
        // Change points are drawn from all steps of the longest schedule so far: k of the bound.
        for (auto& step : lowered_at_)
            step = random_.below(steps_max_);
        return true;
    }
    // Initial priorities lie above `depth`; the i-th change point gives priority i.
    void born(FiberId id) override { priority_[id] = (random_.next() | 0x8000'0000'0000'0000ull); }
    FiberId pick(Mask enabled, FiberId) override {
        FiberId best = highest(enabled);
        const unsigned step = exec_->steps();
        for (unsigned i = 0; i < lowered_at_.size(); ++i)
            if (lowered_at_[i] == step) {
                priority_[best] = i + 1;
                best = highest(enabled);
            }
        return best;
    }
    unsigned choose(unsigned n) override { return random_.below(n); }
    unsigned choose_failure(unsigned n) override { return failure(random_, n); }
    void end(End) override { steps_max_ = std::max(steps_max_, exec_->steps()); }

private:
    FiberId highest(Mask enabled) const {
        auto best = static_cast<FiberId>(std::countr_zero(enabled));
        for (enabled &= enabled - 1; enabled; enabled &= enabled - 1) {
            const auto other = static_cast<FiberId>(std::countr_zero(enabled));
            if (priority_[other] > priority_[best])
                best = other;
        }
        return best;
    }

    Random random_;
    Exec* exec_ = nullptr;
    std::vector<unsigned> lowered_at_;
    std::array<std::uint64_t, max_fibers> priority_{};
    unsigned steps_max_ = 1;
};

class Replay final : public Strategy {
public:
    explicit Replay(Choices choices) : choices_(std::move(choices)) {}
    bool begin(Exec&) override {
        step_ = value_ = 0;
        return !std::exchange(begun_, true);
    }
    FiberId pick(Mask enabled, FiberId previous) override {
        if (step_ < choices_.steps.size())
            return choices_.steps[step_++];
        if (previous != no_fiber && (enabled & bit(previous)))
            return previous;
        return static_cast<FiberId>(std::countr_zero(enabled));
    }
    unsigned choose(unsigned) override {
        return value_ < choices_.values.size() ? choices_.values[value_++] : 0;
    }

private:
    Choices choices_;
    std::size_t step_ = 0;
    std::size_t value_ = 0;
    bool begun_ = false;
};

} // namespace

std::unique_ptr<Strategy> make_random(std::uint64_t seed) {
    return std::make_unique<RandomWalk>(seed);
}
std::unique_ptr<Strategy> make_pct(std::uint64_t seed, unsigned depth) {
    return std::make_unique<Pct>(seed, depth);
}
std::unique_ptr<Strategy> make_replay(Choices choices) {
    return std::make_unique<Replay>(std::move(choices));
}

} // namespace at::model
