#include "lib/stressor.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "lib/modules.h"
#include "lib/oracles/late_watch.h"
#include "lib/oracles/lost.h"
#include "lib/oracles/timing.h"
#include "lib/race.h"
#include "lib/window.h"

namespace at {

namespace {

constexpr std::uint64_t ms = 1000000;

// Requests that move bytes, against a driver or a file.
class RaceStressor : public Stressor {
public:
    explicit RaceStressor(const RaceSetup& setup)
        : setup_(setup), geometry_(geometry_of(setup.bound.knobs)) {
        const KnobValues& knobs = setup_.bound.knobs;
        timeout_ns_ = static_cast<std::uint64_t>(knobs.integer("timeout_ms")) * ms;
        // A request may wait its time-out, the stop and the reset, and once more for each of the
        // two attempts a driver may make; then the event is overdue.
        overdue_ns_ =
            3 * timeout_ns_ + static_cast<std::uint64_t>(knobs.integer("stop_ms")) * ms + 500 * ms;
    }

    bool wants_cookie() const override { return setup_.bound.knobs.integer("cookie") != 0; }
    std::size_t buffers_bytes() const override { return geometry_.buffers_bytes(); }
    std::uint64_t overdue_ns() const override { return overdue_ns_; }

    void prepare(SharedRun& shared) override {
        shared.slots_used = geometry_.slots;
        shared.buffer_stride = geometry_.buffer_stride;
        shared.timeout_ns = timeout_ns_;
    }

    bool stretches() const override {
        return setup_.bound.knobs.real("stretch") > 0 && !setup_.bound.knobs.integer("blind");
    }

    SitesAsked sites() const override {
        const KnobValues& knobs = setup_.bound.knobs;
        return knobs.integer("blind") ? SitesAsked{} : sites_asked(knobs);
    }

    void choose_windows(SharedRun& shared) override {
        const KnobValues& knobs = setup_.bound.knobs;
        if (aim_of(setup_.plan, knobs) <= 0)
            return;
        bool racers[racers_count] = {};
        racers[static_cast<std::size_t>(Racer::submitter)] = knobs.integer("submitters") > 1;
        racers[static_cast<std::size_t>(Racer::canceller)] = knobs.integer("cancellers") > 0;
        racers[static_cast<std::size_t>(Racer::destroyer)] = knobs.integer("destroyers") > 0;
        racers[static_cast<std::size_t>(Racer::reaper)] = knobs.integer("reapers") > 0;
        at::choose_windows(shared.windows, setup_.plan.windows, racers, timeout_ns_);
    }

    bool run(SharedRun& shared, std::byte* buffers) override {
        return Race(setup_, shared, buffers).run();
    }

    std::vector<Finding> overdue(SharedRun& shared, std::byte*, std::uint64_t healthy_ns) override {
        if (!lost_)
            lost_ = std::make_unique<LostEvents>(shared, overdue_ns_);
        std::vector<Finding> findings = lost_->scan(healthy_ns);
        if (auto finding = account(shared))
            findings.push_back(*finding);
        if (auto finding = late(shared))
            findings.push_back(*finding);
        return findings;
    }

    std::vector<Finding> at_end(SharedRun& shared) override {
        const auto finding = late(shared);
        return finding ? std::vector<Finding>{*finding} : std::vector<Finding>{};
    }

    std::vector<Finding> after_death(SharedRun& shared, std::byte* buffers,
                                     std::chrono::milliseconds watch) override {
        return watch_after_death(shared, buffers, watch);
    }

private:
    // Of the waits that were noted since the last call.
    std::optional<Finding> late(SharedRun& shared) {
        const std::uint32_t noted =
            std::min(shared.late_waits.taken.load(std::memory_order_relaxed), max_late_waits);
        const WaitBounds bounds = wait_bounds(setup_.plan, setup_.bound.knobs);
        if (late_judged_ >= noted || bounds.unlogged || setup_.plan.faults.empty())
            return std::nullopt;
        std::uint32_t whole = late_judged_;
        while (whole < noted && shared.late_waits.ready[whole].load(std::memory_order_acquire))
            ++whole;
        const LossLog log = fault_losses();
        std::optional<Finding> finding;
        for (; late_judged_ < whole && !finding; ++late_judged_)
            finding = judge_late_wait(shared.late_waits.wait[late_judged_], log, bounds);
        return finding;
    }

    // Faults are read after what they explain, and seldom: each read is a thread's.
    std::optional<Finding> account(const SharedRun& shared) {
        const std::uint64_t waited = shared.value(Counter::waited);
        const std::uint64_t timed_out = shared.value(Counter::timeouts_bare);
        const WaitBounds bounds = wait_bounds(setup_.plan, setup_.bound.knobs);
        if (!setup_.bound.knobs.integer("time_to_answer") || !bounds.answer_explained ||
            (waited <= accounted_ && timed_out <= accounted_))
            return std::nullopt;
        std::uint64_t all = 0;
        std::uint64_t fired = 0;
        const auto counters = fault_counters(setup_.plan, all);
        for (const auto& counter : counters) {
            const auto rule = counter.at("rule").get<std::size_t>();
            if (rule < setup_.plan.faults.size() &&
                makes_wait(setup_.plan.faults[rule], timeout_ns_))
                fired += counter.at("fired").get<std::uint64_t>();
        }
        if (counters.empty())
            return std::nullopt;
        accounted_ = fired * bounds.explained_each;
        return judge_account(waited, timed_out, fired, bounds);
    }

    const RaceSetup& setup_;
    std::uint32_t late_judged_ = 0;
    std::uint64_t accounted_ = 0; // so many are explained by what had fired
    const Geometry geometry_;
    std::uint64_t timeout_ns_ = 0;
    std::uint64_t overdue_ns_ = 0;
    std::unique_ptr<LostEvents> lost_;
};

} // namespace

std::unique_ptr<Stressor> make_stressor(const RaceSetup& setup) {
    if (setup.bound.scenario->make)
        return setup.bound.scenario->make(setup);
    return std::make_unique<RaceStressor>(setup);
}

} // namespace at
