#include "lib/race.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/futex.h"
#include "lib/kioctx.h"
#include "lib/oracles/calls.h"
#include "lib/pattern.h"
#include "lib/race_parts.h"

namespace at {

Geometry geometry_of(const KnobValues& knobs) {
    auto get = [&](const char* name) { return static_cast<std::uint32_t>(knobs.integer(name)); };
    Geometry g{};
    g.submitters = get("submitters");
    g.depth = get("depth");
    g.slots = g.submitters * g.depth;
    g.contexts = get("contexts");
    g.devices = get("devices");
    g.max_length = get("max_len");
    if (g.slots > max_slots)
        throw PlanError("submitters × depth must not exceed 4096, the cookie's slots");
    if (get("min_len") > g.max_length)
        throw PlanError("min_len is larger than max_len");
    g.align = get("align");
    if (g.align & (g.align - 1) || g.max_length % g.align)
        throw PlanError("align must be a power of two, and max_len a multiple of it");
    // Each segment may begin on a page of its own.
    const std::uint32_t gap = knobs.real("aligned") > 0 ? page_bytes : guard_bytes;
    g.buffer_stride = rounded(2 * guard_bytes + page_bytes + g.max_length + max_segments * gap +
                                  (max_segments + 2) * g.align,
                              page_bytes);
    g.device_bytes = static_cast<std::uint64_t>(knobs.integer("memory"));
    if (!g.device_bytes)
        g.device_bytes = std::uint64_t{get("mem_mb")} << 20;
    // The last bytes of the device are nobody's: requests that reach beyond its end begin there.
    const std::uint64_t end_bytes = std::min<std::uint64_t>(page_bytes, g.device_bytes / 8);
    if (g.device_bytes < 2 * std::uint64_t{g.max_length} + end_bytes)
        throw PlanError("max_len does not fit into the device's memory");
    g.region_bytes = std::min<std::uint64_t>((g.device_bytes - g.max_length - end_bytes) / g.slots,
                                             std::uint64_t{4} * g.max_length);
    g.region_bytes -= g.region_bytes % g.align;
    if (g.region_bytes < g.max_length)
        throw PlanError("submitters × depth × max_len does not fit into the device's memory");
    return g;
}

Race::Race(const RaceSetup& setup, SharedRun& shared, std::byte* buffers)
    : setup_(setup), knobs_(setup.bound.knobs), geometry_(geometry_of(knobs_)),
      cancelled_errno_(knobs_.integer("cancelled_errno")),
      bytes_stored_(knobs_.text("bytes") == "stored"),
      bytes_judged_(knobs_.text("bytes") != "none"), permitted_(permitted_by(setup.plan, knobs_)),
      cancel_stops_ring_(knobs_.text("cancel") == "flush"),
      cancellers_(knobs_.integer("cancellers") > 0), blind_(knobs_.integer("blind") != 0),
      wait_bounds_(wait_bounds(setup.plan, knobs_)), shared_(shared), buffers_(buffers),
      killed_at_end_(knobs_.integer("exit_kill") != 0), iocbs_(geometry_.slots),
      iovecs_(std::size_t{geometry_.slots} * max_iovecs), bad_memory_(geometry_.max_length),
      sync_ratio_(knobs_.real("sync_ratio")) {
    regions_.reserve(geometry_.slots);
    for (std::uint32_t i = 0; i < geometry_.slots; ++i)
        regions_.emplace_back(geometry_.region_bytes);
    for (std::uint32_t i = 0; i < geometry_.submitters; ++i) {
        submitters_.push_back(std::make_unique<SubmitterState>());
        submitters_.back()->dwell_until.resize(geometry_.depth);
    }
}

Race::~Race() = default;

void Race::harness_error(const std::string& text) {
    if (shared_.harness_errors.fetch_add(1, std::memory_order_acq_rel) == 0)
        std::snprintf(shared_.harness_error, sizeof shared_.harness_error, "%s", text.c_str());
    shared_.stop.store(1, std::memory_order_release);
}

// --- threads -------------------------------------------------------------------------------------

void Race::start(Role role, std::uint32_t count,
                 std::function<void(std::uint32_t index, Random random)> body,
                 std::uint32_t first_stream) {
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint32_t board = boards_used_.fetch_add(1, std::memory_order_relaxed);
        auto thread = std::thread([this, role, i, board, body, first_stream] {
            Calling::attach(shared_.threads[board], role);
            try {
                body(i,
                     Random(setup_.plan.seed, static_cast<std::uint64_t>(role), first_stream + i));
            } catch (const std::exception& error) {
                harness_error(std::string(role_name(role)) + ": " + error.what());
            }
            Calling::detach();
        });
        (role == Role::reaper ? reapers_ : threads_).push_back(std::move(thread));
    }
}

void Race::start_submitters() {
    start(Role::submitter, geometry_.submitters,
          [this](std::uint32_t i, Random random) { submit_loop(i, random); });
}

void Race::start_cancellers() {
    start(Role::canceller, static_cast<std::uint32_t>(knobs_.integer("cancellers")),
          [this](std::uint32_t i, Random random) { cancel_loop(i, random); });
}

void Race::start_reapers() {
    start(Role::reaper, static_cast<std::uint32_t>(knobs_.integer("reapers")),
          [this](std::uint32_t i, Random random) { reap_loop(i, random); });
}

void Race::start_destroyers() {
    start(Role::destroyer, static_cast<std::uint32_t>(knobs_.integer("destroyers")),
          [this](std::uint32_t i, Random random) { destroy_loop(i, random); });
}

bool Race::contended() const {
    if (shared_.value(Counter::submitted) < static_cast<std::uint64_t>(knobs_.integer("requests")))
        return false;
    for (const auto& [name, minimum] : setup_.bound.scenario->contention) {
        if (name == "cancel_won" && !permitted_.cancels)
            continue;
        for (std::uint32_t i = 0; i < counters_count; ++i)
            if (name == counter_name(static_cast<Counter>(i)) &&
                shared_.value(static_cast<Counter>(i)) < minimum)
                return false;
    }
    return true;
}

void Race::until_contended() {
    const std::uint64_t until =
        coarse_ns() + static_cast<std::uint64_t>(knobs_.nanoseconds("time"));
    while (!stopped() && !contended() && coarse_ns() < until)
        wait_for_change(shared_.stop, 0, 5 * ms);
}

namespace {

// A process of its own that shares this mm for a moment: then the last user of the mm is not the
// process that ends, and exit_aio() comes later, in another task.  Raw calls alone: it shares the
// thread-local storage too.
int share_mm(void*) {
    const timespec moment{0, 3000000};
    syscall(SYS_nanosleep, &moment, nullptr);
    syscall(SYS_exit, 0);
    return 0;
}

} // namespace

void Race::until_death() {
    Random random(setup_.plan.seed, static_cast<std::uint64_t>(Role::main), 1);
    const std::uint64_t until =
        coarse_ns() + static_cast<std::uint64_t>(knobs_.nanoseconds("time"));
    // One life in eight may end before its first request.
    while (!blind_ && random.below(8) && !stopped() && coarse_ns() < until && !requests_in_flight())
        wait_for_change(submissions_, submissions_.load(std::memory_order_relaxed), ms);
    const auto longest_us = static_cast<std::uint32_t>(knobs_.nanoseconds("life") / 1000);
    pause_drawn(random, 1, longest_us);
    constexpr Call met[] = {Call::none,  Call::io_submit, Call::io_getevents, Call::io_destroy,
                            Call::pread, Call::pwrite,    Call::fsync};
    const Call call = met[random.below(std::size(met))];
    if (call != Call::none && !blind_)
        until_somebody_is_in(call, 5 * ms);
    if (stopped())
        return;
    std::string end = knobs_.text("end");
    if (end == "drawn") {
        constexpr const char* ends[] = {"kill", "kill", "exit", "exec"};
        end = ends[random.below(4)];
    }
    constexpr std::size_t stack_bytes = 16384;
    static std::byte stack[stack_bytes] __attribute__((aligned(16)));
    if (random.below(4) == 0 &&
        clone(share_mm, stack + stack_bytes, CLONE_VM | SIGCHLD, nullptr) < 0)
        harness_error(std::string("clone: ") + std::strerror(errno));
    shared_.stage.store(Stage::kill_me, std::memory_order_release);
    if (end == "exit")
        _exit(0);
    if (end == "exec") {
        // The other threads are killed, and the old mm goes with the last of its users.
        char name[] = "aiotorture-agent";
        char verb[] = "leave";
        char* const arguments[] = {name, verb, nullptr};
        execv("/proc/self/exe", arguments);
    }
    ::kill(getpid(), SIGKILL);
    while (!stopped())
        pause(ms);
}

// --- the stressor's main -------------------------------------------------------------------------

bool Race::run() {
    Calling::attach(shared_.threads[boards_used_.fetch_add(1, std::memory_order_relaxed)],
                    Role::main);
    // A number at the end of the path names the first of several devices.
    for (std::uint32_t i = 0; i < geometry_.devices; ++i) {
        std::string path = setup_.device;
        if (i)
            path.back() = static_cast<char>('0' + i);
        const bool inherits = setup_.inherited_fd >= 0 && i == 0 && setup_.plan.seed % 4;
        const int flags = O_RDWR | O_CLOEXEC | (knobs_.integer("direct") ? O_DIRECT : 0);
        devices_.emplace_back(inherits ? dup(setup_.inherited_fd) : open(path.c_str(), flags));
        if (!devices_.back()) {
            harness_error("open " + path + ": " + std::strerror(errno));
            return false;
        }
    }
    std::string why;
    if (!rings_.reserve(why)) {
        harness_error(why);
        return false;
    }
    if (setup_.cookie_in_offset) {
        const std::string cancel = knobs_.text("cancel");
        windows_ =
            WindowControl::open(shared_, aim_of(setup_.plan, knobs_), knobs_.real("stretch"),
                                (cancel == "callback" || cancel == "flush") && requests_now());
    }
    drawn_out_ = sites_asked(knobs_).share > 0 && !blind_ && shared_.cpus > 1;
    if (drawn_out_ || knobs_.real("stretch") > 0)
        stretched_ = StretchedTime::open();
    if (knobs_.integer("bounce") &&
        read_file("/proc/cmdline").value_or("").find(",force") == std::string::npos) {
        harness_error("the plan wants bounce buffers, and the kernel booted without swiotlb=force");
        return false;
    }
    if (knobs_.integer("huge")) {
        in_huge_pages(buffers_, geometry_.buffers_bytes());
    } else {
        Random random(setup_.plan.seed, static_cast<std::uint64_t>(Role::main), 3);
        scatter_pages(buffers_, geometry_.slots, geometry_.buffer_stride, random);
    }
    if (setup_.cookie_in_offset)
        read_only_.emplace(buffers_, geometry_.buffers_bytes());
    private_.create(buffers_, geometry_.slots, geometry_.buffer_stride, knobs_.real("private"));
    for (std::uint32_t slot = 0; slot < geometry_.slots; ++slot)
        pattern_fill(canary_of(slot), 0, buffer(slot), geometry_.buffer_stride);
    // exit_aio() waits for grace periods and for requests behind the same ring, and hides that a
    // killed synchronous transfer did not wait: one life of three has no contexts, and fewer where
    // lives are long and end in order.
    const std::uint32_t of_lives = knobs_.integer("reload") ? 8 : 3;
    const bool contexts =
        knobs_.integer("lives") == 1 ||
        Random(setup_.plan.seed, static_cast<std::uint64_t>(Role::main), 2).below(of_lives);
    if (!contexts)
        sync_ratio_ = 1;
    for (std::uint32_t i = 0; i < geometry_.contexts && contexts; ++i)
        if (!make_context(i))
            return false;
    shared_.stage.store(Stage::running, std::memory_order_release);
    setup_.bound.scenario->race(*this);
    if (killed_at_end_ && knobs_.integer("lives") == 1 && !stopped()) {
        // The racers go on; the supervisor's SIGKILL ends them and this process.
        shared_.stage.store(Stage::kill_me, std::memory_order_release);
        while (!stopped())
            wait_for_change(shared_.stop, 0, 100 * ms);
    }
    drain();
    Calling::detach();
    return shared_.harness_errors.load(std::memory_order_acquire) == 0;
}

// Each waits for a grace period (fs/aio.c, free_ioctx_users() by way of percpu_ref_kill()): side by
// side.
void Race::end_contexts() {
    const std::uint32_t at_once = std::min(geometry_.contexts, 4U);
    threads_.clear();
    start(Role::destroyer, at_once, [this, at_once](std::uint32_t first, Random) {
        for (std::uint32_t i = first; i < geometry_.contexts; i += at_once)
            end_context(shared_, i);
    });
    for (std::thread& thread : threads_)
        thread.join();
}

void Race::drain() {
    shared_.stage.store(Stage::draining, std::memory_order_release);
    shared_.stop.store(1, std::memory_order_release);
    wake(submissions_, INT_MAX);
    for (std::thread& thread : threads_)
        thread.join();
    // With nobody left who reads the driver's books, the device's file alone keeps the module.
    if (!setup_.module.empty() && !removal_expected_) {
        const Calling calling(Call::delete_module);
        const bool gone = syscall(SYS_delete_module, setup_.module.c_str(), O_NONBLOCK) == 0;
        if (const auto finding = judge_unload_in_use(gone ? 0 : -errno))
            shared_.report(*finding);
        offer_registered_buffer();
    }
    // Bounded by the supervisor, which abandons the run when an event is overdue.
    while (requests_in_flight() && !shared_.abandon.load(std::memory_order_acquire))
        wait_for_change(shared_.abandon, 0, 1 * ms);
    quiet_.store(1, std::memory_order_release);
    for (std::thread& thread : reapers_)
        thread.join();
    if (shared_.abandon.load(std::memory_order_acquire))
        return;
    // Two events for one request may be apart: what is still in a ring now is one too many.
    for (std::uint32_t i = 0; i < geometry_.contexts; ++i)
        while (reap(i, 0, 0) > 0) {
        }
    Random random(setup_.plan.seed, 0, 0);
    for (std::uint32_t slot = 0; slot < geometry_.slots; ++slot) {
        submitters_[slot / geometry_.depth]->dwell_until[slot % geometry_.depth] = 0;
        recycle(slot, random);
    }
    end_contexts();
    for (std::uint32_t slot = 0; slot < geometry_.slots; ++slot)
        if (auto finding =
                judge_quiet_all(slot, buffer(slot), geometry_.buffer_stride, "its request ended")) {
            shared_.count(Counter::late_writes);
            shared_.report(*finding);
        }
    if (auto finding = bad_memory_.judge())
        shared_.report(*finding);
    shared_.stage.store(Stage::done, std::memory_order_release);
}

} // namespace at
