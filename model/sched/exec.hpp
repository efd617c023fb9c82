// One schedule at a time: fibers, their next operations, which of them are enabled, and the
// oracles that watch.
//
// A fiber announces each visible operation at a *point* before it performs it. There the strategy
// picks the fiber that goes on; a fiber that is resumed performs its announced operation, and
// everything up to its next point is the same step. Unlocks, frees and plain accesses are not
// points: the first commute to the left, and the others are judged by happens-before, which needs
// no particular interleaving.
//
// A schedule that ends early abandons its fibers: no destructor on their stacks runs. What a core
// allocates comes from the arena of the schedule, and fiber functions are trivially destructible.
#pragma once

#include "sched/clock.hpp"
#include "sched/strategy.hpp"

#include <boost/context/detail/fcontext.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace at::model {

// A place in the source; as std::source_location, but C code can make one too: from __FILE__ and
// __LINE__, or from a return address, which names the function.
class Location {
public:
    Location() = default;
    constexpr Location(const char* file, unsigned line) : file_(file), line_(line) {}
    explicit Location(const void* pc) : line_(reinterpret_cast<std::uintptr_t>(pc)) {}
    // Not consteval: gcc 12 would take the line of the declaration whose default argument this is.
    static constexpr Location current(const char* file = __builtin_FILE(),
                                      unsigned line = __builtin_LINE()) {
        return {file, line};
    }
    const char* file_name() const { return file_ ? file_ : ""; }
    unsigned line() const { return file_ ? static_cast<unsigned>(line_) : 0; }
    const void* pc() const { return file_ ? nullptr : reinterpret_cast<const void*>(line_); }
    // "exec.cpp:12", or the function of a return address.
    std::string text() const;

private:
    const char* file_ = nullptr;
    std::uintptr_t line_ = 0;
};
// Names the function that holds a return address; set by whoever runs C code.
extern std::string (*function_at)(const void* pc);

// Columns of a printed interleaving, and the project's four racers.
enum class Racer : std::uint8_t { submitter, device, canceller, destroyer };
const char* racer_name(Racer racer);

enum class Context : std::uint8_t { task, softirq, hardirq };

enum class Access : std::uint8_t { none, read, write };

struct Finding {
    std::string oracle; // ledger reference use-after-free double-free deadlock …
    std::string title;
    std::string signature; // oracle and the cause by name; no addresses, counts or numbers
    std::vector<std::string> evidence;
};

using ObjectId = std::uint16_t;
inline constexpr ObjectId no_object = 0;

// What can be raced for. Everything that fibers synchronise by derives from it.
struct Cell {
    explicit Cell(const char* cell_name);
    const char* name;
    std::uint16_t id;          // order of construction in this schedule
    ObjectId owner;            // the object it lies in, or no_object
    std::uint32_t version = 0; // counts writes, for the spin detector
    Mask watchers = 0;         // fibers that spin until this changes
    Clocks release{};          // what an acquirer learns
};

struct Op {
    Cell* cell = nullptr;
    Access access = Access::none;
    const char* verb = "";
    Location where;
};

struct Fiber {
    enum class State : std::uint8_t { unused, live, finished };

    boost::context::detail::fcontext_t context = nullptr;
    State state = State::unused;
    FiberId id = 0;
    Racer racer = Racer::submitter;
    Context running = Context::task;
    Context home = Context::task;
    bool daemon = false;   // may wait for ever
    bool sleeping = false; // set_current_state(): schedule() blocks while it is true
    std::uint8_t preempt_count = 0;
    std::uint8_t irqs_off = 0;
    std::uint8_t bh_off = 0;
    std::uint8_t rcu_depth = 0;
    const char* name = "";
    const Cell* waits_for = nullptr;
    bool (*wait_over)(const void*) = nullptr; // the condition of a wait_event, for lost wake-ups
    const void* wait_argument = nullptr;
    Mask joiners = 0;
    Op pending;
    Epoch epoch = 1;
    Clocks clocks;
    // What was read since the last cpu_relax(), newest last, with the version read.
    static constexpr unsigned reads_max = 16;
    std::uint8_t reads = 0;
    struct Read {
        Cell* cell;
        std::uint32_t version;
    };
    std::array<Read, reads_max> read{};
    void (*enter)(void*) = nullptr;
    void* argument = nullptr;
    std::byte* stack_top = nullptr;
};

struct ObjectRecord {
    const char* name;
    std::byte* begin;
    std::uint32_t bytes;
    bool freed;
    bool scribble;  // memory of C code: poisoned when freed
    Clock accesses; // latest access of each fiber
    Location freed_at;
    FiberId freed_by;
};

struct Limits {
    unsigned steps = 2000;           // more is a livelock; at most 10 000
    unsigned failed_allocations = 1; // choices of failure in one schedule
    unsigned faults = 0;             // of a device or an injector, likewise
};

// One printed line of a recorded schedule.
struct TraceLine {
    FiberId fiber;
    std::string text;
    Location where;
    bool step; // a point, as against a plain access or a remark
};

class Exec {
public:
    Exec();
    ~Exec();
    Exec(const Exec&) = delete;
    Exec& operator=(const Exec&) = delete;

    // Runs one schedule of `build` under `strategy`, which has begun it. `record` keeps lines.
    using Build = void (*)(void* argument);
    End run(Strategy& strategy, Build build, void* argument, const Limits& limits, bool record);

    // --- what the schedule left behind
    const std::vector<Finding>& findings() const { return findings_; }
    const std::string& outcome() const { return outcome_; }
    std::uint64_t trace_hash() const { return hash_; }
    const Choices& choices() const { return choices_; }
    const std::vector<TraceLine>& lines() const { return lines_; }
    unsigned steps() const { return steps_; }
    unsigned fibers() const { return fiber_count_; }
    const Fiber& fiber(FiberId id) const { return fiber_[id]; }
    unsigned cells() const { return next_cell_; }
    std::uint16_t next_cell_id() { return next_cell_++; }

    // --- for core-side primitives
    bool live() const { return live_; } // false in set-up and in end checks
    bool recording() const { return record_; }
    Fiber& self() { return *current_; }
    Mask enabled() const { return enabled_; }

    // Announces an operation and returns when it is to be performed. When `ready` is false the
    // fiber stays disabled until somebody calls enable().
    void point(Cell* cell, Access access, const char* verb, Location where, bool ready = true) {
        if (!live_)
            return;
        Fiber& fiber = *current_;
        fiber.pending = Op{cell, access, verb, where};
        if (!ready)
            enabled_ &= ~bit(fiber.id);
        if (prologue_parent_) [[unlikely]]
            leave_prologue();
        else
            reschedule();
        perform(fiber);
    }
    void enable(Mask fibers) { enabled_ |= fibers; }
    void disable(Mask fibers) { enabled_ &= ~fibers; }

    // Happens-before edges.
    void acquire(const Clocks& from) { join(current_->clocks, from); }
    void release(Clocks& to) {
        Fiber& fiber = *current_;
        join(to, fiber.clocks);
        tick(fiber);
    }
    void order_after_self(Fiber& other) { release(other.clocks); }

    // The spin detector's books: reading is remembered, writing wakes who spins on it.
    void saw(Cell& cell) {
        Fiber& fiber = *current_;
        fiber.read[fiber.reads++ % Fiber::reads_max] = {&cell, cell.version};
        if (fiber.reads == 2 * Fiber::reads_max)
            fiber.reads = Fiber::reads_max;
    }
    void wrote(Cell& cell) {
        ++cell.version;
        if (cell.watchers) [[unlikely]]
            wake_watchers(cell);
    }
    void spin(Location where);

    unsigned choose(unsigned n, const char* what, Location where, bool failure = false);
    bool allocation_fails(const char* what, Location where);
    unsigned failed_allocations() const { return allocation_failures_; }
    // 0: no fault, and without a choice once Limits::faults is used up; else 1..n-1.
    unsigned choose_fault(unsigned n, const char* what, Location where);

    FiberId spawn(const char* name, Racer racer, Context home, void (*enter)(void*), void* argument,
                  bool daemon);

    void* allocate(std::size_t bytes, std::size_t alignment);
    ObjectId open_object(const char* name, void* at, std::size_t bytes, bool scribble);
    ObjectId owner_of(const void* at) const {
        const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(at) - arena_);
        return offset < arena_bytes ? granule_owner_[offset / granule] : no_object;
    }
    const ObjectRecord& object(ObjectId id) const { return objects_[id]; }
    void free_object(ObjectId id, Location where);
    // Every access to a cell or a field of an object passes here.
    void touch(ObjectId owner, const char* field, Location where) {
        if (owner == no_object)
            return;
        ObjectRecord& record = objects_[owner];
        if (record.freed) [[unlikely]]
            report_use_after_free(record, field, where);
        record.accesses.set(current_->id & 31, current_->epoch);
    }
    bool ordered(FiberId fiber, Epoch epoch) const {
        return fiber >= max_fibers || current_->clocks.hb[fiber] >= epoch;
    }
    unsigned lanes() const { return lanes_; }
    Fiber& sleeper(FiberId id) { return fiber_[id]; }
    // Time is a Lamport clock: it goes on where a timer fires, and along happens-before, so that
    // no reading of it depends on what is not ordered before.
    std::int64_t now() const { return current_->clocks.time; }
    void not_before(std::int64_t time) {
        current_->clocks.time = std::max(current_->clocks.time, time);
    }
    bool on_stack(const void* at) const {
        return static_cast<std::size_t>(static_cast<const std::byte*>(at) - stacks_) <
               max_fibers * stack_bytes;
    }
    std::size_t arena_offset(const void* at) const { // arena_bytes or more: not in it
        return static_cast<std::size_t>(static_cast<const std::byte*>(at) - arena_);
    }
    static constexpr std::size_t arena_size() { return arena_bytes; }
    ObjectId objects() const { return static_cast<ObjectId>(objects_.size()); }
    std::uint64_t generation() const { return generation_; } // a number for each schedule run
    Clock& dependences_of(FiberId id) { return fiber_[id].clocks.dep; }

    void hash(std::uint64_t value) { hash_ = (hash_ ^ value) * 0x9e3779b97f4a7c15ull; }
    void remark(Location where, const char* format, ...) __attribute__((format(printf, 3, 4)));
    void line(std::string text, Location where, bool step);
    void set_outcome(std::string text) { outcome_ = std::move(text); }

    // Reports; `found` returns, `fail` ends the schedule when called from a fiber.
    void found(std::string_view oracle, std::string title, std::string cause, Location where);
    void fail(std::string_view oracle, std::string title, std::string cause, Location where);

    // The check runs when all fibers have finished; not after a finding that ended the schedule.
    void at_end(void (*check)(void*), void* argument);
    // Runs when fibers wait for ever: a core adds what they wait for, by found().
    void at_hang(void (*look)(void*), void* argument);
    // What lib/rcu.hpp keeps for this schedule, or null.
    void* rcu = nullptr;

private:
    static constexpr std::size_t arena_bytes = std::size_t{1} << 20;
    static constexpr std::size_t granule = 16;
    static constexpr std::size_t stack_bytes = 64 * 1024;

    static void entry(boost::context::detail::transfer_t from);
    void begin_fiber(Fiber& fiber);
    void run_prologue(Fiber& fiber);
    void leave_prologue();
    void finish();
    void tick(Fiber& fiber) {
        fiber.clocks.hb.set(fiber.id, ++fiber.epoch);
        if (dependences_)
            fiber.clocks.dep.set(fiber.id, fiber.epoch);
    }
    void join(Clocks& into, const Clocks& from) {
        into.hb.join(from.hb, lanes_);
        if (dependences_)
            into.dep.join(from.dep, lanes_);
        into.time = std::max(into.time, from.time);
    }
    void reschedule() {
        Fiber* const from = current_;
        Fiber* const next = pick(from->id);
        if (next != from)
            jump(*from, *next);
    }
    Fiber* pick(FiberId previous); // the root, with end_ set, when the schedule is over
    void jump(Fiber& from, Fiber& to) {
        current_ = &to;
        const auto came = boost::context::detail::jump_fcontext(to.context, &from.context);
        *static_cast<boost::context::detail::fcontext_t*>(came.data) = came.fctx;
    }
    void stop(End end);
    void perform(Fiber& fiber) {
        ++steps_;
        tick(fiber);
        hash((std::uint64_t{fiber.id} << 32) |
             (std::uint64_t{static_cast<std::uint8_t>(fiber.pending.access)} << 16) |
             (fiber.pending.cell ? fiber.pending.cell->id : 0u));
        if (fiber.pending.cell)
            touch(fiber.pending.cell->owner, fiber.pending.cell->name, fiber.pending.where);
        if (record_) [[unlikely]]
            record_step(fiber);
    }
    void record_step(const Fiber& fiber);
    void wake_watchers(Cell& cell);
    void report_use_after_free(const ObjectRecord& record, const char* field, Location where);
    void judge_quiescence();
    void reset();

    Mask enabled_ = 0;
    bool live_ = false;
    bool record_ = false;
    bool dependences_ = false;
    unsigned lanes_ = 1;
    Fiber* current_ = nullptr;
    Fiber* prologue_parent_ = nullptr;
    Strategy* strategy_ = nullptr;
    unsigned steps_ = 0;
    unsigned fiber_count_ = 0;
    unsigned allocation_failures_ = 0;
    unsigned faults_ = 0;
    std::uint64_t generation_ = 0;
    std::uint16_t next_cell_ = 1;
    std::uint64_t hash_ = 0;
    Limits limits_;
    End end_ = End::done;
    void (*end_check_)(void*) = nullptr;
    void* end_argument_ = nullptr;
    void (*hang_look_)(void*) = nullptr;
    void* hang_argument_ = nullptr;

    std::array<Fiber, max_fibers + 1> fiber_;
    std::byte* stacks_ = nullptr;
    std::byte* arena_ = nullptr;
    std::size_t arena_used_ = 0;
    std::size_t granules_used_ = 0;
    std::vector<ObjectId> granule_owner_;
    std::vector<ObjectRecord> objects_;
    std::vector<Finding> findings_;
    std::string outcome_;
    std::vector<TraceLine> lines_;
    Choices choices_;
};

// The schedule under way. One process, one OS thread, one Exec.
extern Exec* exec;

inline Cell::Cell(const char* cell_name) : name(cell_name) {
    id = exec->next_cell_id();
    owner = exec->owner_of(this);
}

} // namespace at::model
