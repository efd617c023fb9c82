#include <new>

#include "lib/oracles/poll_lost.h"
#include "lib/poll/poll_race.h"

namespace at {

std::vector<Knob> poll_knobs(const std::map<std::string_view, const char*>& defaults) {
    constexpr auto scope = Scope::scenario;
    // clang-format off
    std::vector<Knob> knobs = {
        {"requests", scope, Kind::integer, "300000", "1", "1000000000", {}, "requests", "submit at least so many"},
        {"time", scope, Kind::duration, "10s", "10ms", "3600s", {}, "", "end the race after this, whatever was reached"},
        {"files", scope, Kind::integer, "24", "1", "128", {}, "files", "files that are polled"},
        {"per_file", scope, Kind::integer, "8", "1", "32", {}, "requests", "requests on one file at a time"},
        {"files_of", scope, Kind::choice, "all", "", "", {"all", "peers", "pipe_read", "pipe_write", "eventfd_read", "socket_stream", "timerfd", "epoll", "inotify", "eventfd_write", "socket_dgram", "pty", "signalfd", "signalfd_foreign"}, "", "kinds of files; a signalfd's signals are waited for only when it is named"},
        {"submitters", scope, Kind::integer, "2", "1", "16", {}, "threads", "threads that submit"},
        {"tenders", scope, Kind::integer, "1", "1", "16", {}, "threads", "threads that wake, drain and close files"},
        {"cancellers", scope, Kind::integer, "1", "0", "16", {}, "threads", "threads that cancel requests in flight"},
        {"reapers", scope, Kind::integer, "1", "1", "16", {}, "threads", "threads that reap events"},
        {"destroyers", scope, Kind::integer, "0", "0", "16", {}, "threads", "threads that destroy contexts under load and make new ones"},
        {"contexts", scope, Kind::integer, "2", "1", "16", {}, "kioctxs", "contexts that all roles share"},
        {"close_ratio", scope, Kind::real, "0.02", "0", "1", {}, "share", "of a tender's acts: a file is closed, by either end"},
        {"resfd_ratio", scope, Kind::real, "0.1", "0", "1", {}, "share", "requests whose completion signals an eventfd"},
        {"spin_max", scope, Kind::integer, "300", "1", "1000000", {}, "loops", "longest seeded spin before a cancel or a drain"},
        {"bound", scope, Kind::duration, "3s", "100ms", "60s", {}, "", "a request that is due for longer is lost"},
        {"exit_kill", scope, Kind::integer, "0", "0", "1", {}, "", "end the race by a SIGKILL in mid-flight, so that exit_aio destroys the contexts"},
        {"plant", scope, Kind::choice, "none", "", "", {"none", "wake-lost", "cancel-forgotten", "event-twice"}, "", "for positive controls: what the stressor leaves undone or does twice, unknown to its oracles"},
    };
    // clang-format on
    return with_fallbacks(with_site_knobs(std::move(knobs)), defaults);
}

namespace {

class PollStressor : public Stressor {
public:
    explicit PollStressor(const RaceSetup& setup) : setup_(setup) {
        const KnobValues& knobs = setup_.bound.knobs;
        bound_ns_ = static_cast<std::uint64_t>(knobs.nanoseconds("bound"));
        slots_ = static_cast<std::uint32_t>(knobs.integer("files") * knobs.integer("per_file"));
        if (slots_ > max_slots)
            throw PlanError("files × per_file must not exceed 4096, the ledger's slots");
    }

    bool uses_device() const override { return false; }
    bool needs_kworkers() const override { return true; }
    std::size_t buffers_bytes() const override { return sizeof(PollBooks); }
    std::uint64_t overdue_ns() const override { return bound_ns_; }
    void prepare(SharedRun& shared) override {
        shared.slots_used = slots_;
        shared.timeout_ns = bound_ns_;
    }
    SitesAsked sites() const override { return sites_asked(setup_.bound.knobs); }
    bool run(SharedRun& shared, std::byte* buffers) override {
        return PollRace(setup_, shared, books(buffers)).run();
    }
    std::vector<Finding> overdue(SharedRun& shared, std::byte* buffers,
                                 std::uint64_t healthy_ns) override {
        if (!lost_)
            lost_ = std::make_unique<LostWakeups>(shared, books(buffers), bound_ns_);
        return lost_->scan(healthy_ns);
    }

private:
    // Zeroed memory is a PollBooks in its first state.
    static PollBooks& books(std::byte* buffers) { return *reinterpret_cast<PollBooks*>(buffers); }

    const RaceSetup& setup_;
    std::uint64_t bound_ns_ = 0;
    std::uint32_t slots_ = 0;
    std::unique_ptr<LostWakeups> lost_;
};

} // namespace

std::unique_ptr<Stressor> make_poll_stressor(const RaceSetup& setup) {
    return std::make_unique<PollStressor>(setup);
}

} // namespace at
