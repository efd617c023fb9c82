#include "lib/oracles/gadget_leak.h"
#include "lib/oracles/gadget_lost.h"
#include "lib/usb/gadget_race.h"

namespace at {

std::vector<Knob> gadget_knobs(const std::map<std::string_view, const char*>& defaults) {
    constexpr auto scope = Scope::scenario;
    // clang-format off
    std::vector<Knob> knobs = {
        {"requests", scope, Kind::integer, "20000", "1", "1000000000", {}, "requests", "submit at least so many"},
        {"time", scope, Kind::duration, "10s", "10ms", "3600s", {}, "", "end the race after this, whatever was reached"},
        {"pairs", scope, Kind::integer, "1", "1", "2", {}, "pairs", "of endpoints: one OUT, one IN"},
        {"depth", scope, Kind::integer, "24", "1", "512", {}, "requests", "on one endpoint at a time"},
        {"max_len", scope, Kind::size, "8K", "512", "32K", {}, "bytes", "longest request and longest URB"},
        {"submitters", scope, Kind::integer, "2", "1", "16", {}, "threads", "threads that submit"},
        {"cancellers", scope, Kind::integer, "2", "0", "16", {}, "threads", "threads that cancel requests in flight"},
        {"reapers", scope, Kind::integer, "1", "1", "16", {}, "threads", "threads that reap events"},
        {"destroyers", scope, Kind::integer, "0", "0", "16", {}, "threads", "threads that destroy contexts under load and make new ones"},
        {"binders", scope, Kind::integer, "0", "0", "1", {}, "threads", "takes the gadget off the bus and brings it back"},
        {"contexts", scope, Kind::integer, "2", "1", "16", {}, "kioctxs", "contexts that all roles share"},
        {"vectored", scope, Kind::real, "0.2", "0", "1", {}, "share", "requests of two segments"},
        {"lull", scope, Kind::real, "0.3", "0", "1", {}, "share", "URBs after which the host leaves the endpoint alone for a while"},
        {"discard_ratio", scope, Kind::real, "0.5", "0", "1", {}, "share", "of the second host thread's acts: an URB is discarded"},
        {"halt_ratio", scope, Kind::real, "0", "0", "1", {}, "share", "of its acts: an endpoint is halted"},
        {"reset_ratio", scope, Kind::real, "0", "0", "1", {}, "share", "of its acts: the port is reset"},
        {"early", scope, Kind::real, "0.016", "0", "1", {}, "share", "of cancels that go for a request that io_submit() still has, where there is one"},
        {"spin_max", scope, Kind::integer, "300", "1", "1000000", {}, "loops", "longest seeded spin before a cancel"},
        {"bound", scope, Kind::duration, "3s", "100ms", "60s", {}, "", "a request that is due for longer is lost"},
        {"passers_by", scope, Kind::integer, "8", "0", "64", {}, "processes", "processes that cancel one read each and end, before the race"},
        {"exit_kill", scope, Kind::integer, "0", "0", "1", {}, "", "end the race by a SIGKILL in mid-flight, so that exit_aio destroys the contexts"},
    };
    // clang-format on
    return with_fallbacks(with_site_knobs(std::move(knobs)), defaults);
}

namespace {

class GadgetStressor : public Stressor {
public:
    explicit GadgetStressor(const RaceSetup& setup) : setup_(setup) {
        const KnobValues& knobs = setup_.bound.knobs;
        bound_ns_ = static_cast<std::uint64_t>(knobs.nanoseconds("bound"));
        slots_ = static_cast<std::uint32_t>(2 * knobs.integer("pairs") * knobs.integer("depth"));
    }

    bool needs_kworkers() const override { return true; }
    std::size_t buffers_bytes() const override { return sizeof(GadgetBooks); }
    std::uint64_t overdue_ns() const override { return bound_ns_; }
    void prepare(SharedRun& shared) override {
        mm_structs_ = allocated_mm_structs();
        shared.slots_used = slots_;
        shared.timeout_ns = bound_ns_;
    }
    SitesAsked sites() const override { return sites_asked(setup_.bound.knobs); }
    bool run(SharedRun& shared, std::byte* buffers) override {
        return GadgetRace(setup_, shared, books(buffers)).run();
    }
    std::vector<Finding> overdue(SharedRun& shared, std::byte* buffers,
                                 std::uint64_t healthy_ns) override {
        if (!lost_)
            lost_ = std::make_unique<LostGadgetEvents>(shared, books(buffers), bound_ns_);
        return lost_->scan(healthy_ns);
    }

    std::vector<Finding> after_death(SharedRun& shared, std::byte*,
                                     std::chrono::milliseconds) override {
        return judge_mm_structs(mm_structs_, shared.value(Counter::forks));
    }

private:
    // Zeroed memory is a GadgetBooks in its first state.
    static GadgetBooks& books(std::byte* buffers) {
        return *reinterpret_cast<GadgetBooks*>(buffers);
    }

    const RaceSetup& setup_;
    std::uint64_t bound_ns_ = 0;
    std::uint32_t slots_ = 0;
    std::int64_t mm_structs_ = -1;
    std::unique_ptr<LostGadgetEvents> lost_;
};

} // namespace

std::unique_ptr<Stressor> make_gadget_stressor(const RaceSetup& setup) {
    return std::make_unique<GadgetStressor>(setup);
}

} // namespace at
