#include "lib/race.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/pattern.h"

namespace at {

namespace {

constexpr std::uint32_t guard_bytes = 64;
constexpr std::uint32_t page_bytes = 4096;
constexpr std::uint32_t recent_kept = 1024; // submissions a canceller can look back on
constexpr std::uint64_t ms = 1000000;
constexpr std::uint32_t max_reap = 128;

long futex(std::atomic<std::uint32_t>& word, int op, std::uint32_t value, const timespec* bound) {
    return syscall(SYS_futex, &word, op | FUTEX_PRIVATE_FLAG, value, bound, nullptr, 0);
}

void wait_for_change(std::atomic<std::uint32_t>& word, std::uint32_t seen, std::uint64_t bound_ns) {
    const timespec bound{static_cast<time_t>(bound_ns / 1000000000),
                         static_cast<long>(bound_ns % 1000000000)};
    futex(word, FUTEX_WAIT, seen, &bound);
}

void wake(std::atomic<std::uint32_t>& word, int count) {
    futex(word, FUTEX_WAKE, static_cast<std::uint32_t>(count), nullptr);
}

// libaio's io_getevents() looks into the ring from user space when the time-out is zero, and the
// ring of a context that is being destroyed is unmapped under it; the system call copes.
long getevents(std::uint64_t context, long min_nr, long nr, io_event* events,
               std::uint64_t timeout_ns) {
    timespec timeout{static_cast<time_t>(timeout_ns / 1000000000),
                     static_cast<long>(timeout_ns % 1000000000)};
    const long got = syscall(SYS_io_getevents, context, min_nr, nr, events, &timeout);
    return got < 0 ? -errno : got;
}

// struct aio_ring of fs/aio.c: user space has it mapped, its layout is the same since 2.6.
struct AioRing {
    std::uint32_t id;
    std::uint32_t nr;
    std::uint32_t head;
    std::uint32_t tail;
    std::uint32_t magic;
    std::uint32_t compat_features;
    std::uint32_t incompat_features;
    std::uint32_t header_length;
};
constexpr std::uint32_t aio_ring_magic = 0xa10a10a1;

std::uint32_t rounded(std::uint32_t value, std::uint32_t unit) {
    return (value + unit - 1) / unit * unit;
}

} // namespace

// What one submitter and the cancellers after it share.
struct Race::SubmitterState {
    std::atomic<std::uint32_t> answered{0}; // bumped when slots of it were answered; futex
    std::atomic<std::uint32_t> waiting{0};
    // The last submissions in order; relaxed: a canceller checks the slot itself.
    std::atomic<std::uint32_t> head{0};
    std::atomic<std::uint32_t> recent[recent_kept]{};
    std::vector<std::uint64_t> dwell_until; // of each own slot
};

class Race::Calling {
public:
    explicit Calling(Call call) {
        word_ += 256;
        // release/relaxed would do: the supervisor looks at it a hundred times a second.
        board_->call.store((word_ & ~std::uint64_t{255}) | static_cast<std::uint32_t>(call),
                           std::memory_order_release);
    }
    ~Calling() { board_->call.store(word_ & ~std::uint64_t{255}, std::memory_order_release); }
    Calling(const Calling&) = delete;
    Calling& operator=(const Calling&) = delete;

    static void attach(ThreadBoard& board, Role role) {
        board_ = &board;
        word_ = 0;
        board.tid.store(static_cast<std::uint32_t>(gettid()), std::memory_order_relaxed);
        board.role.store(role, std::memory_order_release);
    }
    static void detach() { board_->role.store(Role::none, std::memory_order_release); }

private:
    static thread_local ThreadBoard* board_;
    static thread_local std::uint64_t word_;
};
thread_local ThreadBoard* Race::Calling::board_;
thread_local std::uint64_t Race::Calling::word_;

class Race::Inside {
public:
    explicit Inside(ContextSlot& context) : context_(context) {
        context_.users.fetch_add(1, std::memory_order_seq_cst);
        const ContextState state = context_.state.load(std::memory_order_seq_cst);
        usable_ = state == ContextState::live || state == ContextState::claimed ||
                  state == ContextState::dying;
    }
    ~Inside() { context_.users.fetch_sub(1, std::memory_order_seq_cst); }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
    explicit operator bool() const { return usable_; }
    io_context_t id() const {
        return reinterpret_cast<io_context_t>(context_.id.load(std::memory_order_relaxed));
    }

private:
    ContextSlot& context_;
    bool usable_;
};

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
    g.buffer_stride = rounded(
        2 * guard_bytes + page_bytes + g.max_length + max_segments * guard_bytes, page_bytes);
    g.device_bytes = std::uint64_t{get("mem_mb")} << 20;
    // The last page of the device is nobody's: requests that reach beyond its end begin there.
    g.region_bytes = std::min<std::uint64_t>((g.device_bytes - g.max_length - page_bytes) / g.slots,
                                             std::uint64_t{4} * g.max_length);
    if (g.device_bytes < 2 * std::uint64_t{g.max_length} + page_bytes ||
        g.region_bytes < g.max_length)
        throw PlanError("submitters × depth × max_len does not fit into the device's memory");
    return g;
}

Race::Race(const RaceSetup& setup, SharedRun& shared, std::byte* buffers)
    : setup_(setup), knobs_(setup.bound.knobs), geometry_(geometry_of(knobs_)),
      permitted_(permitted_by(setup.plan, knobs_)), shared_(shared), buffers_(buffers),
      iocbs_(geometry_.slots), iovecs_(std::size_t{geometry_.slots} * max_segments) {
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
                 std::function<void(std::uint32_t index, Random random)> body) {
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint32_t board = boards_used_.fetch_add(1, std::memory_order_relaxed);
        auto thread = std::thread([this, role, i, board, body] {
            Calling::attach(shared_.threads[board], role);
            try {
                body(i, Random(setup_.plan.seed, static_cast<std::uint64_t>(role), i));
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

// --- the stressor's main -------------------------------------------------------------------------

bool Race::run() {
    Calling::attach(shared_.threads[boards_used_.fetch_add(1, std::memory_order_relaxed)],
                    Role::main);
    // A number at the end of the path names the first of several devices.
    for (std::uint32_t i = 0; i < geometry_.devices; ++i) {
        std::string path = setup_.device;
        if (i)
            path.back() = static_cast<char>('0' + i);
        devices_.emplace_back(open(path.c_str(), O_RDWR | O_CLOEXEC));
        if (!devices_.back()) {
            harness_error("open " + path + ": " + std::strerror(errno));
            return false;
        }
    }
    // Addresses for rings, out of a stretch that was free and below which the kernel's search
    // from the top does not come: see make_context().
    void* arena = MAP_FAILED;
    std::size_t arena_bytes = std::size_t{1} << 40;
    // Sanitizers leave less of the address space.
    while ((arena = mmap(nullptr, arena_bytes, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) == MAP_FAILED &&
           arena_bytes > std::size_t{1} << 30)
        arena_bytes /= 2;
    if (arena == MAP_FAILED) {
        harness_error(std::string("mmap of the ring arena: ") + std::strerror(errno));
        return false;
    }
    munmap(arena, arena_bytes);
    ring_arena_.store(reinterpret_cast<std::uintptr_t>(arena), std::memory_order_relaxed);
    // The upper half stays the kernel's, which fills it from the top.
    ring_arena_end_ = reinterpret_cast<std::uintptr_t>(arena) + arena_bytes / 2;
    for (std::uint32_t slot = 0; slot < geometry_.slots; ++slot)
        pattern_fill(canary_of(slot), 0, buffer(slot), geometry_.buffer_stride);
    for (std::uint32_t i = 0; i < geometry_.contexts; ++i)
        if (!make_context(i))
            return false;
    shared_.stage.store(Stage::running, std::memory_order_release);
    setup_.bound.scenario->race(*this);
    if (knobs_.integer("exit_kill") && !stopped()) {
        // The racers go on; the supervisor's SIGKILL ends them and this process.
        shared_.stage.store(Stage::kill_me, std::memory_order_release);
        while (!stopped())
            wait_for_change(shared_.stop, 0, 100 * ms);
    }
    drain();
    Calling::detach();
    return shared_.harness_errors.load(std::memory_order_acquire) == 0;
}

void Race::drain() {
    shared_.stage.store(Stage::draining, std::memory_order_release);
    shared_.stop.store(1, std::memory_order_release);
    wake(submissions_, INT_MAX);
    for (std::thread& thread : threads_)
        thread.join();
    auto in_flight_somewhere = [&] {
        for (std::uint32_t i = 0; i < geometry_.contexts; ++i)
            if (shared_.contexts[i].in_flight.load(std::memory_order_acquire) > 0)
                return true;
        return false;
    };
    // Bounded by the supervisor, which abandons the run when an event is overdue.
    while (in_flight_somewhere() && !shared_.abandon.load(std::memory_order_acquire))
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
    for (std::uint32_t i = 0; i < geometry_.contexts; ++i) {
        ContextSlot& context = shared_.contexts[i];
        if (context.state.load(std::memory_order_acquire) != ContextState::live)
            continue;
        context.state.store(ContextState::dying, std::memory_order_seq_cst);
        const Calling calling(Call::io_destroy);
        const int answer =
            io_destroy(reinterpret_cast<io_context_t>(context.id.load(std::memory_order_relaxed)));
        if (answer)
            shared_.report({"contract",
                            "io_destroy answered " + errno_name(-answer) + " for a live context",
                            "contract/destroy-" + errno_name(-answer),
                            {}});
        context.state.store(ContextState::dead, std::memory_order_seq_cst);
    }
    for (std::uint32_t slot = 0; slot < geometry_.slots; ++slot)
        if (auto finding =
                judge_quiet_all(slot, buffer(slot), geometry_.buffer_stride, "its request ended")) {
            shared_.count(Counter::late_writes);
            shared_.report(*finding);
        }
    shared_.stage.store(Stage::done, std::memory_order_release);
}

// --- contexts ------------------------------------------------------------------------------------

// A context's id is the address of its ring (fs/aio.c, ioctx_alloc(): ctx->user_id), and mmap()
// gives an address that io_destroy() has just freed to the next io_setup().  A racer that still
// uses the old id would then hit a context that it does not mean, and no ledger could be exact.
// So the ring is moved at once, which aio supports (aio_ring_mremap()), to an address that no
// context of this run had before.
bool Race::make_context(std::uint32_t index) {
    ContextSlot& context = shared_.contexts[index];
    io_context_t id = nullptr;
    int answer = 0;
    {
        const Calling calling(Call::io_setup);
        answer = io_setup(static_cast<int>(geometry_.slots + 8), &id);
    }
    if (answer) {
        harness_error("io_setup: " + errno_name(-answer));
        return false;
    }
    const auto* ring = reinterpret_cast<const AioRing*>(id);
    if (ring->magic == aio_ring_magic) {
        const std::size_t bytes = rounded(
            static_cast<std::uint32_t>(sizeof(AioRing) + ring->nr * sizeof(io_event)), page_bytes);
        const std::uintptr_t to =
            ring_arena_.fetch_add(bytes + page_bytes, std::memory_order_relaxed);
        if (to + bytes > ring_arena_end_) {
            harness_error("no address is left that no ring had before");
            return false;
        }
        void* moved =
            mremap(id, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, reinterpret_cast<void*>(to));
        if (moved == MAP_FAILED) {
            harness_error(std::string("mremap of an aio ring: ") + std::strerror(errno));
            return false;
        }
        id = static_cast<io_context_t>(moved);
    }
    context.id.store(reinterpret_cast<std::uint64_t>(id), std::memory_order_relaxed);
    context.in_flight.store(0, std::memory_order_relaxed);
    context.empty_ns.store(0, std::memory_order_relaxed);
    context.incarnation.fetch_add(1, std::memory_order_relaxed);
    context.state.store(ContextState::live, std::memory_order_seq_cst);
    return true;
}

void Race::sweep(std::uint32_t index) {
    ContextSlot& context = shared_.contexts[index];
    const std::uint32_t incarnation = context.incarnation.load(std::memory_order_relaxed);
    for (std::uint32_t slot = 0; slot < geometry_.slots; ++slot) {
        Slot& s = shared_.slots[slot];
        const std::uint64_t word = s.word.load(std::memory_order_acquire);
        if (state_of(word) != SlotState::flying ||
            s.context.load(std::memory_order_relaxed) != index ||
            s.incarnation.load(std::memory_order_relaxed) != incarnation)
            continue;
        shared_.count(Counter::swept);
        s.res = INT64_MIN; // unknown: its event went with the ring
        s.destroyed = true;
        settle(slot);
        s.word.store(slot_word(generation_of(word), SlotState::swept), std::memory_order_release);
        SubmitterState& submitter = *submitters_[slot / geometry_.depth];
        submitter.answered.fetch_add(1, std::memory_order_release);
        if (submitter.waiting.load(std::memory_order_relaxed))
            wake(submitter.answered, 1);
    }
    context.in_flight.store(0, std::memory_order_release);
}

// False when the context was left alone.
bool Race::destroy(std::uint32_t index, Random& random) {
    ContextSlot& context = shared_.contexts[index];
    ContextState expected = ContextState::live;
    if (!context.state.compare_exchange_strong(expected, ContextState::claimed,
                                               std::memory_order_seq_cst)) {
        // Somebody is at it: now and then two io_destroy() meet.  Which of them wins is open.
        if (expected != ContextState::dying || random.below(4))
            return false;
        const Inside inside(context);
        if (!inside || context.state.load(std::memory_order_seq_cst) != ContextState::dying)
            return false;
        const Calling calling(Call::io_destroy);
        const int answer = io_destroy(inside.id());
        if (answer == 0)
            context.destroy_wins.fetch_add(1, std::memory_order_acq_rel);
        else if (answer == -EINVAL)
            shared_.count(Counter::destroy_einval);
        else
            shared_.report({"contract",
                            "io_destroy answered " + errno_name(-answer),
                            "contract/destroy-" + errno_name(-answer),
                            {}});
        return true;
    }
    const auto id = reinterpret_cast<io_context_t>(context.id.load(std::memory_order_relaxed));
    // Nobody else destroys a claimed context, so the ring is still mapped here.
    const auto* ring = reinterpret_cast<const volatile AioRing*>(id);
    const std::uint32_t nr = ring->nr ? ring->nr : 1;
    const std::uint32_t unreaped = (ring->tail % nr + nr - ring->head % nr) % nr;
    const bool loaded =
        context.in_flight.load(std::memory_order_acquire) > static_cast<std::int32_t>(unreaped);
    // A context whose requests have all ended is no race; few of those are destroyed.
    if (!loaded && random.below(8)) {
        context.state.store(ContextState::live, std::memory_order_seq_cst);
        return false;
    }
    context.destroy_wins.store(0, std::memory_order_relaxed);
    context.state.store(ContextState::dying, std::memory_order_seq_cst);
    int answer = 0;
    {
        const Calling calling(Call::io_destroy);
        answer = io_destroy(id);
    }
    context.state.store(ContextState::dead, std::memory_order_seq_cst);
    while (context.users.load(std::memory_order_seq_cst))
        sched_yield();
    const std::uint32_t wins =
        context.destroy_wins.load(std::memory_order_acquire) + (answer == 0 ? 1 : 0);
    if (answer && answer != -EINVAL)
        shared_.report({"contract",
                        "io_destroy answered " + errno_name(-answer),
                        "contract/destroy-" + errno_name(-answer),
                        {}});
    else if (wins != 1)
        shared_.report({"contract",
                        wins ? "two calls of io_destroy won one context"
                             : "no call of io_destroy won a live context",
                        wins ? "contract/destroy-twice" : "contract/destroy-nobody",
                        {}});
    shared_.count(Counter::destroyed);
    if (answer == -EINVAL)
        shared_.count(Counter::destroy_einval);
    if (loaded)
        shared_.count(Counter::destroyed_inflight);
    sweep(index);
    make_context(index);
    return true;
}

void Race::destroy_loop(std::uint32_t, Random random) {
    while (!stopped()) {
        const std::uint32_t seen = submissions_.load(std::memory_order_acquire);
        const std::uint32_t index = random.below(geometry_.contexts);
        const ContextSlot& context = shared_.contexts[index];
        const auto wanted = static_cast<std::int32_t>(1 + random.below(4));
        const ContextState state = context.state.load(std::memory_order_relaxed);
        const bool chosen = state == ContextState::dying ||
                            (state == ContextState::live &&
                             context.in_flight.load(std::memory_order_relaxed) >= wanted);
        if (chosen && destroy(index, random))
            continue;
        submission_waiters_.fetch_add(1, std::memory_order_relaxed);
        wait_for_change(submissions_, seen, ms / 2); // until something is submitted
        submission_waiters_.fetch_sub(1, std::memory_order_relaxed);
    }
}

// --- submitters ----------------------------------------------------------------------------------

// Did a CPU stand still long enough to explain a time-out?  In one piece, or in many: a host with
// more to do than CPUs takes a guest's away for some tens of milliseconds, again and again.
bool Race::stalled_during(const Slot& slot) const {
    if (slot.answered_healthy_ns - slot.submitted_healthy_ns < shared_.timeout_ns / 4 * 3)
        return true;
    const std::uint64_t submitted_ns = slot.submitted_ns.load(std::memory_order_relaxed);
    for (std::uint32_t cpu = 0; cpu < shared_.cpus; ++cpu) {
        const Heartbeat& beat = shared_.heartbeats[cpu];
        const std::uint64_t last = beat.last_ns.load(std::memory_order_relaxed);
        const std::uint64_t now = coarse_ns();
        if (last && now > last && now - last > shared_.timeout_ns / 4)
            return true; // standing still at this moment
        for (const Stall& stall : beat.stall)
            if (stall.end_ns.load(std::memory_order_acquire) + shared_.timeout_ns / 4 >=
                    submitted_ns &&
                stall.length_ns.load(std::memory_order_relaxed) > shared_.timeout_ns / 4)
                return true;
    }
    return false;
}

// True when the slot can be used for a new request: the last one was judged and watched.
bool Race::recycle(std::uint32_t index, Random& random) {
    Slot& slot = shared_.slots[index];
    SubmitterState& submitter = *submitters_[index / geometry_.depth];
    std::uint64_t word = slot.word.load(std::memory_order_acquire);
    const std::uint64_t generation = generation_of(word);
    switch (state_of(word)) {
    case SlotState::idle:
        return true;
    case SlotState::answered:
    case SlotState::swept:
    case SlotState::refused: {
        std::uint64_t& dwell = submitter.dwell_until[index % geometry_.depth];
        if (dwell && dwell > coarse_ns())
            return false;
        dwell = 0;
        // Which of the three it was is needed below; res says it: INT64_MIN swept, +1 refused.
        slot.word.store(slot_word(generation, SlotState::retiring), std::memory_order_seq_cst);
        break;
    }
    case SlotState::retiring:
        break;
    default:
        return false;
    }
    if (slot.holders.load(std::memory_order_seq_cst))
        return false;

    if (auto finding = judge_quiet(slot, index, buffer(index), "its request ended")) {
        finding->evidence.push_back(describe_slot(shared_, index));
        shared_.count(Counter::late_writes);
        shared_.report(*finding);
        fill_canary(slot, index, buffer(index));
    }
    const bool swept = slot.res == INT64_MIN;
    const bool refused = slot.res == INT64_MIN + 1;
    if (!swept && !refused) {
        Answer answer;
        answer.res = slot.res;
        answer.res2 = slot.res2;
        answer.length = slot.length;
        answer.is_read = slot.is_read;
        answer.is_sync = slot.is_sync;
        answer.nowait = slot.nowait;
        if (slot.edge) {
            const std::uint64_t left = slot.device_at < geometry_.device_bytes
                                           ? geometry_.device_bytes - slot.device_at
                                           : 0;
            if (left < slot.length)
                answer.at_device_end =
                    !left && !slot.is_read ? -ENOSPC : static_cast<std::int64_t>(left);
        }
        answer.einprogress = slot.einprogress.load(std::memory_order_relaxed);
        answer.ealready = slot.ealready.load(std::memory_order_relaxed);
        answer.destroyed = slot.destroyed;
        answer.stalled = slot.res == -ETIMEDOUT && stalled_during(slot);
        if (auto finding = judge(answer, permitted_)) {
            finding->evidence.push_back(describe_slot(shared_, index));
            shared_.report(*finding);
        }
        if (answer.res == -ECANCELED) {
            shared_.count(Counter::cancelled);
            if (answer.einprogress)
                shared_.count(Counter::cancel_won);
        } else {
            shared_.count(Counter::cancel_lost, slot.lost_cancels.load(std::memory_order_relaxed));
            if (answer.res == -ETIMEDOUT) {
                shared_.count(Counter::timeouts);
                if (answer.stalled && !permitted_.timeouts)
                    shared_.count(Counter::timeouts_stalled);
            } else if (answer.res == -ENODEV) {
                shared_.count(Counter::nodev);
            } else if (answer.res < 0) {
                shared_.count(Counter::errors);
            } else if (answer.res < answer.length) {
                shared_.count(Counter::short_results);
            }
        }
    } else if (swept && slot.einprogress.load(std::memory_order_relaxed) +
                                slot.ealready.load(std::memory_order_relaxed) >
                            1) {
        shared_.report({"contract",
                        "two calls of io_cancel reached one request",
                        "contract/cancelled-twice",
                        {describe_slot(shared_, index)}});
    }
    // One slot in sixteen rests for a while before it is looked at again.
    if (!random.below(16))
        submitter.dwell_until[index % geometry_.depth] = coarse_ns() + (1 + random.below(8)) * ms;
    slot.word.store(slot_word(generation, SlotState::idle), std::memory_order_release);
    return true;
}

void Race::draw_request(std::uint32_t index, Random& random) {
    Slot& slot = shared_.slots[index];
    Region& region = regions_[index];
    const std::uint64_t region_at = index * geometry_.region_bytes;
    slot.is_read = random.chance(knobs_.real("read_ratio"));
    slot.is_sync = random.chance(knobs_.real("sync_ratio"));
    slot.nowait = !slot.is_sync && random.chance(knobs_.real("nowait_ratio"));
    slot.edge = setup_.cookie_in_offset && random.below(256) == 0;
    std::uint32_t length = random.logarithmic(static_cast<std::uint32_t>(knobs_.integer("min_len")),
                                              geometry_.max_length);
    const std::uint64_t known = region.known_to() - region.known_from();
    if (slot.edge) {
        // Reads across, at and behind the end; writes at and behind it.
        const std::uint32_t before =
            slot.is_read && random.below(4) ? 1 + random.below(std::min(length, page_bytes)) : 0;
        slot.device_at = geometry_.device_bytes - before + (before ? 0 : random.below(3) * 512);
    } else if (slot.is_read && known && random.below(8)) {
        length = static_cast<std::uint32_t>(std::min<std::uint64_t>(length, known));
        slot.device_at = region_at + region.known_from() +
                         random.below(static_cast<std::uint32_t>(known - length + 1));
    } else {
        slot.device_at =
            region_at +
            random.below(static_cast<std::uint32_t>(geometry_.region_bytes - length + 1));
    }
    slot.length = length;
    slot.segments = 1;
    if (length >= max_segments && random.chance(knobs_.real("vectored"))) {
        slot.segments = 1 + random.below(max_segments);
        shared_.count(Counter::vectored);
    }
    std::uint32_t at = guard_bytes + random.below(page_bytes);
    std::uint32_t left = length;
    for (std::uint32_t s = 0; s < slot.segments; ++s) {
        const std::uint32_t others = slot.segments - s - 1;
        const std::uint32_t piece = others ? 1 + random.below(left - others) : left;
        slot.segment[s] = {at, piece};
        at += piece + random.below(guard_bytes);
        left -= piece;
    }
}

void Race::prepare_iocb(std::uint32_t index, std::uint64_t generation) {
    Slot& slot = shared_.slots[index];
    std::byte* memory = buffer(index);
    if (!slot.is_read) {
        const std::uint64_t payload = stamp(Stamp::payload, index, generation);
        std::size_t done = 0;
        for (std::uint32_t s = 0; s < slot.segments; ++s) {
            pattern_fill(payload, done, memory + slot.segment[s].at, slot.segment[s].length);
            done += slot.segment[s].length;
        }
    }
    iovec* vector = &iovecs_[std::size_t{index} * max_segments];
    for (std::uint32_t s = 0; s < slot.segments; ++s)
        vector[s] = {memory + slot.segment[s].at, slot.segment[s].length};
    const std::uint64_t offset =
        slot.device_at |
        (setup_.cookie_in_offset ? cookie_of(index, generation) << cookie_shift : 0);
    const int fd = devices_[index / geometry_.depth % geometry_.devices].get();
    iocb& cb = iocbs_[index];
    const auto at = static_cast<long long>(offset);
    if (slot.segments > 1) {
        const int segments = static_cast<int>(slot.segments);
        if (slot.is_read)
            io_prep_preadv(&cb, fd, vector, segments, at);
        else
            io_prep_pwritev(&cb, fd, vector, segments, at);
    } else if (slot.is_read) {
        io_prep_pread(&cb, fd, vector[0].iov_base, vector[0].iov_len, at);
    } else {
        io_prep_pwrite(&cb, fd, vector[0].iov_base, vector[0].iov_len, at);
    }
    cb.aio_rw_flags = slot.nowait ? RWF_NOWAIT : 0;
    cb.data = reinterpret_cast<void*>(user_data_of(index, generation));
}

void Race::synchronous(std::uint32_t index) {
    Slot& slot = shared_.slots[index];
    const iocb& cb = iocbs_[index];
    const iovec* vector = &iovecs_[std::size_t{index} * max_segments];
    const int segments = static_cast<int>(slot.segments);
    ssize_t got = 0;
    {
        const Calling calling(slot.is_read ? Call::pread : Call::pwrite);
        got = slot.is_read ? preadv(cb.aio_fildes, vector, segments, cb.u.c.offset)
                           : pwritev(cb.aio_fildes, vector, segments, cb.u.c.offset);
    }
    slot.res = got < 0 ? -errno : got;
    slot.res2 = 0;
    slot.destroyed = false;
    slot.answered_healthy_ns = shared_.healthy_ns();
    shared_.count(Counter::sync_ios);
    settle(index);
    slot.word.store(
        slot_word(generation_of(slot.word.load(std::memory_order_relaxed)), SlotState::answered),
        std::memory_order_release);
}

void Race::refuse(std::uint32_t index) {
    Slot& slot = shared_.slots[index];
    std::uint64_t expected = slot.word.load(std::memory_order_acquire);
    const std::uint64_t generation = generation_of(expected);
    if (state_of(expected) == SlotState::prepared) {
        slot.res = INT64_MIN + 1;
        if (!slot.is_read)
            fill_canary(slot, index, buffer(index)); // it never reached the driver
        if (slot.word.compare_exchange_strong(expected, slot_word(generation, SlotState::refused),
                                              std::memory_order_acq_rel)) {
            shared_.contexts[slot.context.load(std::memory_order_relaxed)].in_flight.fetch_sub(
                1, std::memory_order_acq_rel);
            shared_.count(Counter::refused);
            return;
        }
    }
    shared_.report({"contract",
                    "an event came for an iocb that io_submit refused",
                    "contract/refused-answered",
                    {describe_slot(shared_, index)}});
}

std::size_t Race::submit_batch(std::vector<std::uint32_t>& slots, Random& random) {
    iocb* pointers[128];
    std::uint32_t context_index = random.below(geometry_.contexts);
    // Mostly a live one: a dying context is hit too, but takes no more requests.
    for (std::uint32_t i = random.below(8) ? geometry_.contexts : 0; i > 0; --i) {
        if (shared_.contexts[context_index].state.load(std::memory_order_relaxed) ==
            ContextState::live)
            break;
        context_index = (context_index + 1) % geometry_.contexts;
    }
    ContextSlot& context = shared_.contexts[context_index];
    const Inside inside(context);
    if (!inside)
        return 0;
    const std::uint32_t incarnation = context.incarnation.load(std::memory_order_relaxed);
    SubmitterState& submitter = *submitters_[slots[0] / geometry_.depth];
    const std::uint64_t now = coarse_ns();
    const std::uint64_t healthy_ns = shared_.healthy_ns();
    long count = 0;
    for (const std::uint32_t index : slots) {
        Slot& slot = shared_.slots[index];
        const std::uint64_t generation = generation_of(slot.word.load(std::memory_order_relaxed));
        slot.context.store(context_index, std::memory_order_relaxed);
        slot.incarnation.store(incarnation, std::memory_order_relaxed);
        slot.submitted_ns.store(now, std::memory_order_relaxed);
        slot.submitted_healthy_ns = healthy_ns;
        // release: a reaper that counts this generation's first event sees the slot whole.
        slot.events.store(generation << 8, std::memory_order_release);
        slot.word.store(slot_word(generation, SlotState::prepared), std::memory_order_seq_cst);
        pointers[count++] = &iocbs_[index];
        const std::uint32_t head = submitter.head.load(std::memory_order_relaxed);
        submitter.recent[head % recent_kept].store(index, std::memory_order_relaxed);
        submitter.head.store(head + 1, std::memory_order_release);
    }
    context.in_flight.fetch_add(static_cast<std::int32_t>(count), std::memory_order_acq_rel);
    // Cancellers wake before the call, to meet requests that are being submitted, or after it.
    const bool early = random.below(2);
    auto announce = [&] {
        submissions_.fetch_add(1, std::memory_order_release);
        if (submission_waiters_.load(std::memory_order_relaxed))
            wake(submissions_, 1);
    };
    if (early)
        announce();
    int answer = 0;
    {
        const Calling calling(Call::io_submit);
        answer = io_submit(inside.id(), count, pointers);
    }
    shared_.count(Counter::submit_calls);
    const long accepted = std::max(answer, 0);
    for (long i = 0; i < count; ++i) {
        Slot& slot = shared_.slots[slots[static_cast<std::size_t>(i)]];
        if (i >= accepted) {
            refuse(slots[static_cast<std::size_t>(i)]);
            continue;
        }
        std::uint64_t expected = slot.word.load(std::memory_order_acquire);
        // Fails when the event was faster; then the slot is the reaper's, and Answered.
        if (state_of(expected) == SlotState::prepared)
            slot.word.compare_exchange_strong(expected,
                                              slot_word(generation_of(expected), SlotState::flying),
                                              std::memory_order_acq_rel);
        shared_.count(slot.is_read ? Counter::reads : Counter::writes);
    }
    if (accepted) {
        shared_.count(Counter::submitted, static_cast<std::uint64_t>(accepted));
        std::uint64_t never = 0;
        if (!shared_.first_iocb_ns.load(std::memory_order_relaxed))
            shared_.first_iocb_ns.compare_exchange_strong(never, monotonic_ns(),
                                                          std::memory_order_relaxed);
    }
    if (!early)
        announce();
    const bool live = context.state.load(std::memory_order_seq_cst) == ContextState::live;
    if (answer < 0 && answer != -EAGAIN && !(answer == -EINVAL && !live))
        shared_.report({"contract",
                        "io_submit answered " + errno_name(-answer),
                        "contract/submit-" + errno_name(-answer),
                        {}});
    return static_cast<std::size_t>(accepted);
}

void Race::submit_loop(std::uint32_t index, Random random) {
    SubmitterState& submitter = *submitters_[index];
    const auto max_batch = static_cast<std::uint32_t>(knobs_.integer("batch"));
    std::vector<std::uint32_t> batch;
    batch.reserve(max_batch);
    std::uint32_t cursor = 0;
    while (!stopped()) {
        const std::uint32_t seen = submitter.answered.load(std::memory_order_acquire);
        const std::uint32_t wanted = random.logarithmic(1, std::min(max_batch, geometry_.depth));
        batch.clear();
        for (std::uint32_t i = 0; i < geometry_.depth && batch.size() < wanted; ++i) {
            const std::uint32_t slot = index * geometry_.depth + cursor;
            cursor = (cursor + 1) % geometry_.depth;
            if (!recycle(slot, random))
                continue;
            Slot& s = shared_.slots[slot];
            if (submitter.dwell_until[slot % geometry_.depth] > coarse_ns())
                continue;
            if (submitter.dwell_until[slot % geometry_.depth]) {
                submitter.dwell_until[slot % geometry_.depth] = 0;
                shared_.count(Counter::watched_again);
                if (auto finding = judge_quiet(s, slot, buffer(slot), "its request ended")) {
                    finding->evidence.push_back(describe_slot(shared_, slot));
                    shared_.count(Counter::late_writes);
                    shared_.report(*finding);
                    fill_canary(s, slot, buffer(slot));
                }
            }
            const std::uint64_t generation =
                generation_of(s.word.load(std::memory_order_relaxed)) + 1;
            draw_request(slot, random);
            for (auto* count : {&s.einprogress, &s.ealready, &s.einval, &s.lost_cancels})
                count->store(0, std::memory_order_relaxed);
            prepare_iocb(slot, generation);
            s.word.store(slot_word(generation, s.is_sync ? SlotState::sync : SlotState::idle),
                         std::memory_order_release);
            if (s.is_sync) {
                s.submitted_ns.store(coarse_ns(), std::memory_order_relaxed);
                s.submitted_healthy_ns = shared_.healthy_ns();
                synchronous(slot);
            } else {
                batch.push_back(slot);
            }
        }
        if (batch.empty()) {
            submitter.waiting.store(1, std::memory_order_relaxed);
            wait_for_change(submitter.answered, seen, ms);
            submitter.waiting.store(0, std::memory_order_relaxed);
            continue;
        }
        while (!stopped() && !batch.empty()) {
            if (submit_batch(batch, random) == 0 &&
                shared_.slots[batch[0]].word.load(std::memory_order_relaxed) % 256 ==
                    static_cast<std::uint8_t>(SlotState::idle)) {
                sched_yield(); // that context is gone; another
                continue;
            }
            batch.clear();
        }
        // Drawn but not submitted: the payload of a write goes back to the canary.
        for (const std::uint32_t slot : batch)
            fill_canary(shared_.slots[slot], slot, buffer(slot));
    }
}

// --- reapers -------------------------------------------------------------------------------------

void Race::settle(std::uint32_t index) {
    Slot& slot = shared_.slots[index];
    Region& region = regions_[index];
    std::byte* memory = buffer(index);
    const std::uint64_t region_at = index * geometry_.region_bytes;
    const std::uint64_t generation = generation_of(slot.word.load(std::memory_order_relaxed));
    const bool swept = slot.res == INT64_MIN;
    auto report = [&](std::optional<Finding> finding) {
        if (!finding)
            return;
        finding->evidence.push_back(describe_slot(shared_, index));
        if (finding->oracle == "late-write")
            shared_.count(Counter::late_writes);
        shared_.report(*finding);
    };
    auto guards = judge_guards(slot, index, memory, geometry_.buffer_stride, guard_bytes);
    if (guards) {
        report(guards);
        pattern_fill(canary_of(index), 0, memory, geometry_.buffer_stride);
    }
    if (slot.is_read) {
        if (!swept && !guards)
            report(judge_read(slot, index, memory, region, region_at));
        if (slot.res > 0)
            shared_.count(Counter::bytes_verified, static_cast<std::uint64_t>(slot.res));
    } else if (!slot.edge) {
        const std::uint64_t payload = stamp(Stamp::payload, index, generation);
        std::size_t done = 0;
        for (std::uint32_t s = 0; s < slot.segments && !guards; ++s) {
            const Segment& segment = slot.segment[s];
            if (pattern_check(payload, done, memory + segment.at, segment.length) !=
                pattern_matches) {
                report(Finding{"data", "the source of a write was changed", "data/source", {}});
                break;
            }
            done += segment.length;
        }
        const std::uint64_t at = slot.device_at - region_at;
        region.unknown(at, slot.length);
        if (slot.res > 0 && slot.res <= slot.length) {
            const auto moved = static_cast<std::uint64_t>(slot.res);
            pattern_fill(payload, 0, region.content(at), moved);
            region.wrote(at, moved);
        }
        region.source_device_at = at;
        region.source_buffer_at = slot.segment[0].at;
        region.source_length = slot.segments == 1 ? slot.length : 0;
    }
    fill_canary(slot, index, memory);
}

void Race::on_event(const io_event& event, bool destroyed) {
    const auto user_data = reinterpret_cast<std::uint64_t>(event.data);
    const auto index = static_cast<std::uint32_t>(user_data & (max_slots - 1));
    const std::uint64_t generation = user_data >> 12;
    const EventVerdict verdict = index < geometry_.slots
                                     ? book_event(shared_.slots[index], generation)
                                     : EventVerdict::stranger;
    if (verdict != EventVerdict::first) {
        char text[160];
        std::snprintf(text, sizeof text, "event data=0x%llx obj=%p res=%lld res2=%lld",
                      static_cast<unsigned long long>(user_data), static_cast<void*>(event.obj),
                      static_cast<long long>(event.res), static_cast<long long>(event.res2));
        std::vector<std::string> evidence{text};
        if (index < geometry_.slots)
            evidence.push_back(describe_slot(shared_, index));
        if (verdict == EventVerdict::duplicate) {
            shared_.count(Counter::events_dup);
            shared_.report({"ledger", "two events for one request", "ledger/duplicate", evidence});
        } else {
            shared_.report({"ledger", "an event for a request that was never submitted",
                            "ledger/stranger", evidence});
        }
        return;
    }
    Slot& slot = shared_.slots[index];
    if (event.obj != &iocbs_[index])
        shared_.report({"contract",
                        "event carries another iocb's address",
                        "contract/obj",
                        {describe_slot(shared_, index)}});
    slot.res = static_cast<std::int64_t>(event.res);
    slot.res2 = static_cast<std::int64_t>(event.res2);
    slot.destroyed = destroyed;
    slot.answered_ns = coarse_ns();
    slot.answered_healthy_ns = shared_.healthy_ns();
    settle(index);
    shared_.count(Counter::completed);
    if (slot.res == -ENODEV)
        nodev_seen_.fetch_add(1, std::memory_order_relaxed);
    shared_.contexts[slot.context.load(std::memory_order_relaxed)].in_flight.fetch_sub(
        1, std::memory_order_acq_rel);
    slot.word.store(slot_word(generation, SlotState::answered), std::memory_order_release);
    submitters_[index / geometry_.depth]->answered.fetch_add(1, std::memory_order_release);
}

int Race::reap(std::uint32_t index, long min_nr, std::uint64_t timeout_ns) {
    ContextSlot& context = shared_.contexts[index];
    const Inside inside(context);
    if (!inside)
        return 0;
    io_event events[max_reap];
    const std::uint64_t began = coarse_ns();
    long got = 0;
    {
        const Calling calling(Call::io_getevents);
        got = getevents(reinterpret_cast<std::uint64_t>(inside.id()), min_nr, max_reap, events,
                        timeout_ns);
    }
    shared_.count(Counter::reap_calls);
    const bool live = context.state.load(std::memory_order_seq_cst) == ContextState::live;
    for (long i = 0; i < got; ++i)
        on_event(events[i], !live);
    if (got >= 0 && got < max_reap)
        context.empty_ns.store(began, std::memory_order_release);
    if (got < 0 && got != -EINTR && !(got == -EINVAL && !live))
        shared_.report({"contract",
                        "io_getevents answered " + errno_name(static_cast<int>(-got)),
                        "contract/getevents-" + errno_name(static_cast<int>(-got)),
                        {}});
    if (got > 0)
        for (const auto& submitter : submitters_)
            if (submitter->waiting.load(std::memory_order_relaxed))
                wake(submitter->answered, 1);
    return static_cast<int>(std::max(got, 0L));
}

void Race::reap_loop(std::uint32_t index, Random random) {
    const std::uint32_t contexts = geometry_.contexts;
    std::uint32_t at = index % contexts;
    std::uint32_t fruitless = 0;
    while (!quiet_.load(std::memory_order_acquire) &&
           !shared_.abandon.load(std::memory_order_relaxed)) {
        at = (at + 1) % contexts;
        const std::int32_t in_flight =
            shared_.contexts[at].in_flight.load(std::memory_order_relaxed);
        if (in_flight <= 0 && ++fruitless < contexts)
            continue;
        if (in_flight <= 0) { // a whole round without work
            fruitless = 0;
            wait_for_change(submissions_, submissions_.load(std::memory_order_relaxed), ms / 2);
            continue;
        }
        // Wait for a few at once, but not for long: batches save system calls, and a reaper that
        // comes late lets completions pile up for the destroyer.
        const bool wait = contexts == 1 || fruitless++ >= contexts;
        const long min_nr =
            wait ? 1 + random.below(static_cast<std::uint32_t>(std::min(in_flight, 8))) : 0;
        if (reap(at, min_nr, wait ? ms : 0) > 0)
            fruitless = 0;
        if (permitted_.removal && nodev_seen_.load(std::memory_order_relaxed) > 256)
            shared_.stop.store(1, std::memory_order_release);
    }
}

// --- cancellers ----------------------------------------------------------------------------------

std::uint32_t Race::choose_target(Random& random) {
    const SubmitterState& submitter = *submitters_[random.below(geometry_.submitters)];
    const std::uint32_t head = submitter.head.load(std::memory_order_acquire);
    const std::uint32_t span = std::min({head, geometry_.depth, recent_kept});
    if (!span)
        return max_slots;
    auto candidate = [&](std::uint32_t age) {
        return submitter.recent[(head - 1 - age) % recent_kept].load(std::memory_order_relaxed);
    };
    auto flies = [&](std::uint32_t index) {
        const Slot& slot = shared_.slots[index];
        const SlotState state = state_of(slot.word.load(std::memory_order_relaxed));
        // In io_submit() now: a race too, but mostly lost to the list that it is not yet on.
        if (!in_flight(state) || (state == SlotState::prepared && random.below(32)))
            return false;
        // Once in a while a request is cancelled again.
        return slot.einprogress.load(std::memory_order_relaxed) +
                       slot.ealready.load(std::memory_order_relaxed) +
                       slot.einval.load(std::memory_order_relaxed) ==
                   0 ||
               random.below(128) == 0;
    };
    const double how = static_cast<double>(random.below(1U << 16)) / (1U << 16);
    const double newest = knobs_.real("cancel_newest");
    if (how < newest) {
        for (std::uint32_t age = random.below(4); age < span && age < 12; ++age)
            if (flies(candidate(age)))
                return candidate(age);
    } else if (how < newest + knobs_.real("cancel_oldest")) {
        for (std::uint32_t age = span; age-- > 0;)
            if (flies(candidate(age)))
                return candidate(age);
    } else {
        const std::uint32_t from = random.below(span);
        for (std::uint32_t i = 0; i < span && i < 16; ++i)
            if (flies(candidate((from + i) % span)))
                return candidate((from + i) % span);
    }
    return max_slots;
}

void Race::cancel_one(std::uint32_t index, Random& random) {
    Slot& slot = shared_.slots[index];
    const std::uint32_t spins =
        random.logarithmic(0, static_cast<std::uint32_t>(knobs_.integer("spin_max")));
    for (std::uint32_t i = 0; i < spins; ++i)
        std::atomic_signal_fence(std::memory_order_seq_cst); // keeps the loop
    slot.holders.fetch_add(1, std::memory_order_seq_cst);
    struct Release {
        Slot& slot;
        ~Release() { slot.holders.fetch_sub(1, std::memory_order_seq_cst); }
    } release{slot};
    const SlotState state = state_of(slot.word.load(std::memory_order_seq_cst));
    if (!in_flight(state))
        return;
    ContextSlot& context = shared_.contexts[slot.context.load(std::memory_order_relaxed)];
    const Inside inside(context);
    if (!inside || context.incarnation.load(std::memory_order_relaxed) !=
                       slot.incarnation.load(std::memory_order_relaxed))
        return;
    io_event result;
    std::memset(&result, 0x5a, sizeof result);
    int answer = 0;
    {
        const Calling calling(Call::io_cancel);
        answer = io_cancel(inside.id(), &iocbs_[index], &result);
    }
    bool written = false;
    const auto* bytes = reinterpret_cast<const unsigned char*>(&result);
    for (std::size_t i = 0; i < sizeof result; ++i)
        written |= bytes[i] != 0x5a;
    if (auto finding = judge_cancel_answer(answer, written)) {
        finding->evidence.push_back(describe_slot(shared_, index));
        shared_.report(*finding);
    }
    shared_.count(Counter::cancel_calls);
    // relaxed: the judge reads them after holders fell to 0, which orders them.
    if (answer == -EINPROGRESS) {
        slot.einprogress.fetch_add(1, std::memory_order_relaxed);
        shared_.count(Counter::cancel_einprogress);
    } else if (answer == -EALREADY) {
        slot.ealready.fetch_add(1, std::memory_order_relaxed);
        shared_.count(Counter::cancel_ealready);
    } else if (answer == -EINVAL) {
        if (state == SlotState::flying)
            slot.einval.fetch_add(1, std::memory_order_relaxed);
        shared_.count(Counter::cancel_einval);
    }
    // A call on a request that io_submit() had not taken yet has not lost to a completion.
    if (state == SlotState::flying &&
        (answer != -EINVAL || context.state.load(std::memory_order_relaxed) == ContextState::live))
        slot.lost_cancels.fetch_add(1, std::memory_order_relaxed);
}

void Race::cancel_loop(std::uint32_t, Random random) {
    std::uint32_t seen = submissions_.load(std::memory_order_acquire);
    while (!stopped()) {
        bool missed = false;
        for (std::uint32_t i = 1 + random.below(4); i > 0; --i) {
            const std::uint32_t target = choose_target(random);
            if (target < max_slots)
                cancel_one(target, random);
            else
                missed = true;
        }
        const std::uint32_t now = submissions_.load(std::memory_order_acquire);
        if (now == seen || missed) {
            submission_waiters_.fetch_add(1, std::memory_order_relaxed);
            wait_for_change(submissions_, now, ms);
            submission_waiters_.fetch_sub(1, std::memory_order_relaxed);
        }
        seen = submissions_.load(std::memory_order_acquire);
    }
}

} // namespace at
