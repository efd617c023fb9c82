// Depth-first search over all schedules, with dynamic partial-order reduction.
//
// Without a preemption bound: source sets with sleep sets (Abdulla, Aronis, Jonsson, Sagonas, POPL
// 2014). A step that races with step i makes one of the initials of "what does not follow from i,
// then the racing step" run at i. Adding merely the racing fiber, as Flanagan and Godefroid (POPL
// 2005) do, loses schedules together with sleep sets. That theory knows no operation that
// disables another but locks; here a timer can be deleted, so a race with a step at which the
// operation was pending and disabled is passed over, and those before it are looked at.
//
// With a bound: Coons, Musuvathi, McKinley, "Bounded Partial-Order Reduction" (OOPSLA 2013).
//   - Each backtrack point gets a conservative twin at the start of the block of steps that the
//     same fiber took without a switch: there the other fiber can be run without a preemption.
//   - Races are added for every dependent step since the operation became pending, ordered or not:
//     the schedule in which the race would be found otherwise may lie beyond the bound.
//   - No sleep sets: a sleeping fiber's subtree was searched with another number of preemptions
//     left, so it does not cover what would be cut.
// tests/model compares the outcomes with those of no reduction, on generated programs and cores.
#include "sched/exec.hpp"
#include "sched/strategy.hpp"

#include <bit>

namespace at::model {

namespace {

constexpr std::uint32_t none = ~0u;

bool dependent(const Op& a, const Op& b) {
    return a.cell && a.cell == b.cell && a.access != Access::none && b.access != Access::none &&
           (a.access == Access::write || b.access == Access::write);
}

class Exhaustive final : public Strategy {
public:
    Exhaustive(unsigned preemptions, Reduction reduction)
        : bound_(preemptions), dpor_(reduction == Reduction::dpor),
          sleeps_(dpor_ && preemptions == unbounded) {}

    bool begin(Exec& exec) override {
        exec_ = &exec;
        if (begun_ && !advance())
            return false;
        begun_ = true;
        depth_ = 0;
        sleep_ = 0;
        preemptions_ = 0;
        cells_.assign(cells_.size(), CellBooks{});
        last_step_.fill(none);
        birth_.fill(0);
        taken_ = 0;
        return true;
    }

    void born(FiberId id) override { birth_[id] = static_cast<std::uint32_t>(depth_); }

    FiberId pick(Mask enabled, FiberId previous) override {
        const auto depth = static_cast<std::uint32_t>(depth_++);
        if (depth == path_.size()) {
            const Mask candidates = enabled & ~sleep_;
            if (!candidates) {
                ++sleep_cuts_;
                --depth_;
                return no_fiber;
            }
            const bool goes_on = previous != no_fiber && (candidates & bit(previous));
            Node node;
            node.enabled = enabled;
            node.previous = previous;
            node.preemptions = preemptions_;
            node.sleep = sleep_;
            node.chosen = goes_on ? previous : static_cast<FiberId>(std::countr_zero(candidates));
            node.backtrack = dpor_ ? bit(node.chosen) : enabled;
            path_.push_back(node);
        } else if (path_[depth].enabled != enabled || path_[depth].values) {
            return diverged;
        }
        Node& node = path_[depth];
        const FiberId chosen = node.chosen;
        const Fiber& fiber = exec_->fiber(chosen);
        if (dpor_) {
            if (depth >= branch_)
                find_races(fiber);
            account(fiber, depth);
        }
        preemptions_ = node.preemptions + cost(node, chosen);
        if (sleeps_) {
            sleep_ = 0;
            for (Mask set = (node.sleep | node.done) & ~bit(chosen); set; set &= set - 1) {
                const auto other = static_cast<FiberId>(std::countr_zero(set));
                if (!dependent(exec_->fiber(other).pending, fiber.pending))
                    sleep_ |= bit(other);
            }
        }
        return chosen;
    }

    unsigned choose(unsigned n) override {
        const std::size_t depth = depth_++;
        if (depth == path_.size()) {
            Node node;
            node.values = n;
            path_.push_back(node);
        } else if (path_[depth].values != n) {
            return ~0u;
        }
        return path_[depth].value;
    }

    void end(End end) override {
        if (!dpor_ || end == End::diverged)
            return;
        // A finding cuts the schedule, and so does the step bound: what the others would have done
        // after it, and raced with before it, is not seen. Nothing is reduced on the way there.
        if (end == End::finding || end == End::step_bound)
            for (Node& node : path_)
                if (!node.values)
                    node.backtrack |= node.enabled;
        // Operations that are still pending were never taken, but they race all the same.
        for (FiberId id = 0; id < exec_->fibers(); ++id)
            if (exec_->fiber(id).state == Fiber::State::live)
                find_races(exec_->fiber(id));
    }

    bool wants_dependences() const override { return dpor_; }

    void count(SearchCounts& counts) const override {
        counts.sleep_cuts = sleep_cuts_;
        counts.bound_cuts = bound_cuts_;
        counts.complete = complete_;
    }

private:
    static constexpr FiberId diverged = 0xfe;

    struct Node {
        Mask enabled = 0;
        Mask backtrack = 0;
        Mask done = 0;
        Mask sleep = 0;
        FiberId chosen = no_fiber;
        FiberId previous = no_fiber;
        unsigned preemptions = 0; // before this step
        unsigned values = 0;      // of a choose(n): n
        unsigned value = 0;
        // Of the step taken from here, valid for the current schedule:
        Epoch epoch = 0;
        Access access = Access::none;
        std::uint32_t earlier = none; // the step before on the same cell
    };
    struct CellBooks {
        std::uint32_t last = none;
        Clock reads; // dependence clocks of all accesses, of writes
        Clock writes;
    };

    static unsigned cost(const Node& node, FiberId chosen) {
        return node.previous != no_fiber && chosen != node.previous &&
               (node.enabled & bit(node.previous));
    }

    CellBooks& books(const Cell& cell) {
        if (cell.id >= cells_.size())
            cells_.resize(cell.id + 16u);
        return cells_[cell.id];
    }

    // Adds the step that `fiber` is about to take to the dependence clocks.
    void account(const Fiber& fiber, std::uint32_t depth) {
        Node& node = path_[depth];
        node.epoch = static_cast<Epoch>(fiber.epoch + 1); // Exec ticks when the step begins
        taken_ = depth + 1;
        node.access = fiber.pending.cell ? fiber.pending.access : Access::none;
        last_step_[fiber.id] = depth;
        if (clock_.size() <= depth)
            clock_.resize(depth + 64);
        if (node.access == Access::none) {
            clock_[depth] = fiber.clocks.dep;
            clock_[depth].set(fiber.id, node.epoch);
            return;
        }
        CellBooks& cell = books(*fiber.pending.cell);
        node.earlier = cell.last;
        cell.last = depth;
        Clock& clock = exec_->dependences_of(fiber.id);
        clock.join(cell.writes, exec_->lanes());
        if (node.access == Access::write)
            clock.join(cell.reads, exec_->lanes());
        Clock& to = node.access == Access::write ? cell.writes : cell.reads;
        to.join(clock, exec_->lanes());
        to.set(fiber.id, node.epoch);
        clock_[depth] = clock;
        clock_[depth].set(fiber.id, node.epoch);
    }

    void find_races(const Fiber& fiber) {
        if (!fiber.pending.cell || fiber.pending.access == Access::none)
            return;
        if (sleeps_) {
            find_reversible(fiber);
            return;
        }
        const std::uint32_t since = last_step_[fiber.id];
        Mask met = 0;
        for (std::uint32_t i = books(*fiber.pending.cell).last; i != none; i = path_[i].earlier) {
            const Node& node = path_[i];
            if (node.chosen == fiber.id ||
                (node.access == Access::read && fiber.pending.access == Access::read))
                continue;
            const bool old = since != none && i < since;
            if (old && (met & bit(node.chosen)))
                continue;
            met |= bit(node.chosen);
            add_bounded(i, fiber.id);
            add_bounded_twin(i, fiber.id);
        }
    }

    // Each race of the pending operation with a step that no third step stands between.
    void find_reversible(const Fiber& fiber) {
        Clock seen = fiber.clocks.dep;
        for (std::uint32_t i = books(*fiber.pending.cell).last; i != none; i = path_[i].earlier) {
            const Node& node = path_[i];
            if (node.chosen == fiber.id || seen[node.chosen] >= node.epoch ||
                (node.access == Access::read && fiber.pending.access == Access::read))
                continue;
            const std::uint32_t last = last_step_[fiber.id];
            const bool was_pending = i >= birth_[fiber.id] && (last == none || last < i);
            if (was_pending && !(node.enabled & bit(fiber.id)))
                continue;
            const Mask initials = initials_after(i, fiber);
            if (!(path_[i].backtrack & initials))
                path_[i].backtrack |= initials & (0 - initials);
            seen.join(clock_[i], exec_->lanes());
        }
    }

    // v: the steps after i that do not follow from i, then the pending operation. Its initials:
    // the fibers whose first step in v follows from no other step of v.
    Mask initials_after(std::uint32_t i, const Fiber& fiber) const {
        const Node& first = path_[i];
        Mask met = 0, initials = 0;
        const auto follows_none = [&](const Clock& clock, std::size_t end) {
            for (std::size_t m = i + 1; m < end; ++m)
                if (in_v(m, first) && clock[path_[m].chosen] >= path_[m].epoch)
                    return false;
            return true;
        };
        const std::size_t end = taken_;
        for (std::size_t k = i + 1; k < end; ++k) {
            if (!in_v(k, first) || (met & bit(path_[k].chosen)))
                continue;
            met |= bit(path_[k].chosen);
            if (follows_none(clock_[k], k))
                initials |= bit(path_[k].chosen);
        }
        if (!(met & bit(fiber.id))) {
            Clock clock = fiber.clocks.dep;
            const CellBooks& cell = cells_[fiber.pending.cell->id];
            clock.join(cell.writes, exec_->lanes());
            if (fiber.pending.access == Access::write)
                clock.join(cell.reads, exec_->lanes());
            if (follows_none(clock, end))
                initials |= bit(fiber.id);
        }
        // Only enabled fibers can be run; none of them is a sign of an edge that is not in the
        // clocks, and then all are tried.
        initials &= first.enabled;
        return initials ? initials : first.enabled & ~bit(first.chosen);
    }
    bool in_v(std::size_t k, const Node& first) const {
        return !path_[k].values && clock_[k][first.chosen] < first.epoch;
    }

    void add_bounded(std::uint32_t i, FiberId fiber) {
        Node& node = path_[i];
        node.backtrack |= (node.enabled & bit(fiber)) ? bit(fiber) : node.enabled;
    }

    void add_bounded_twin(std::uint32_t i, FiberId fiber) {
        // Back to the first step of the block that step i belongs to.
        while (i > 0) {
            if (path_[i].values || path_[i].previous == path_[i].chosen) {
                --i;
                continue;
            }
            break;
        }
        add_bounded(i, fiber);
    }

    bool advance() {
        while (!path_.empty()) {
            Node& node = path_.back();
            if (node.values) {
                if (++node.value < node.values) {
                    branch_ = path_.size() - 1;
                    return true;
                }
                path_.pop_back();
                continue;
            }
            node.done |= bit(node.chosen);
            for (Mask set = node.backtrack & ~node.done & ~node.sleep; set; set &= set - 1) {
                const auto other = static_cast<FiberId>(std::countr_zero(set));
                if (bound_ != unbounded && node.preemptions + cost(node, other) > bound_) {
                    node.done |= bit(other);
                    ++bound_cuts_;
                    continue;
                }
                node.chosen = other;
                branch_ = path_.size() - 1;
                return true;
            }
            path_.pop_back();
        }
        complete_ = true;
        return false;
    }

    const unsigned bound_;
    const bool dpor_;
    const bool sleeps_;
    Exec* exec_ = nullptr;
    bool begun_ = false;
    bool complete_ = false;
    std::size_t depth_ = 0;
    std::size_t branch_ = 0;
    Mask sleep_ = 0;
    unsigned preemptions_ = 0;
    std::vector<Node> path_;
    std::vector<CellBooks> cells_;
    std::array<std::uint32_t, max_fibers + 1> last_step_{};
    std::array<std::uint32_t, max_fibers + 1> birth_{};
    std::vector<Clock> clock_; // dependence clock of each step of the current schedule
    std::size_t taken_ = 0;    // steps accounted for in it
    std::uint64_t sleep_cuts_ = 0;
    std::uint64_t bound_cuts_ = 0;
};

} // namespace

std::unique_ptr<Strategy> make_exhaustive(unsigned preemptions, Reduction reduction) {
    return std::make_unique<Exhaustive>(preemptions, reduction);
}

} // namespace at::model
