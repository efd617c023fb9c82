#include "sched/exec.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <stdexcept>

namespace at::model {

Exec* exec = nullptr;

const char* racer_name(Racer racer) {
    static constexpr std::array names{"submitter", "device", "canceller", "destroyer"};
    return names[static_cast<unsigned>(racer)];
}

Exec::Exec() : granule_owner_(arena_bytes / granule, no_object) {
    const std::size_t bytes = max_fibers * stack_bytes;
    void* stacks = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void* arena =
        mmap(nullptr, arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stacks == MAP_FAILED || arena == MAP_FAILED)
        throw std::bad_alloc();
    stacks_ = static_cast<std::byte*>(stacks);
    arena_ = static_cast<std::byte*>(arena);
    for (unsigned i = 0; i < max_fibers; ++i) {
        // The lowest page of each stack is a guard.
        mprotect(stacks_ + i * stack_bytes, 4096, PROT_NONE);
        fiber_[i].stack_top = stacks_ + (i + 1) * stack_bytes;
    }
    choices_.steps.reserve(10'000);
    choices_.values.reserve(1024);
    objects_.reserve(1024);
    exec = this;
}

Exec::~Exec() {
    munmap(stacks_, max_fibers * stack_bytes);
    munmap(arena_, arena_bytes);
    if (exec == this)
        exec = nullptr;
}

void Exec::reset() {
    enabled_ = 0;
    lanes_ = 1;
    prologue_parent_ = nullptr;
    steps_ = 0;
    fiber_count_ = 0;
    allocation_failures_ = 0;
    faults_ = 0;
    ++generation_;
    next_cell_ = 1;
    hash_ = 0;
    end_ = End::done;
    end_check_ = nullptr;
    hang_look_ = nullptr;
    rcu = nullptr;
    arena_used_ = 0;
    std::fill_n(granule_owner_.begin(), granules_used_, no_object);
    granules_used_ = 0;
    objects_.resize(1);
    findings_.clear();
    outcome_.clear();
    lines_.clear();
    choices_.steps.clear();
    choices_.values.clear();
    Fiber& root = fiber_[root_fiber];
    root.id = root_fiber;
    root.name = "set-up";
    root.epoch = 0;
    root.clocks = Clocks{};
    root.preempt_count = root.irqs_off = root.bh_off = root.rcu_depth = 0;
    current_ = &root;
}

End Exec::run(Strategy& strategy, Build build, void* argument, const Limits& limits, bool record) {
    if (limits.steps > 10'000)
        throw std::invalid_argument("step bound above 10000");
    reset();
    strategy_ = &strategy;
    dependences_ = strategy.wants_dependences();
    limits_ = limits;
    record_ = record;
    Fiber& root = fiber_[root_fiber];
    build(argument);
    live_ = true;
    // Each fiber runs up to its first point, so that every next operation is known from the start.
    for (unsigned id = 0; id < fiber_count_ && end_ == End::done; ++id)
        run_prologue(fiber_[id]);
    if (end_ == End::done) {
        Fiber* const first = pick(no_fiber);
        if (first != &root)
            jump(root, *first);
    }
    live_ = false;
    current_ = &root;
    if (end_ == End::done)
        judge_quiescence();
    else if (end_ == End::step_bound) {
        Mask seen = 0;
        for (std::size_t i =
                 choices_.steps.size() - std::min<std::size_t>(64, choices_.steps.size());
             i < choices_.steps.size(); ++i)
            seen |= bit(choices_.steps[i]);
        std::string who;
        for (FiberId id = 0; id < fiber_count_; ++id)
            if (seen & bit(id))
                who += (who.empty() ? "" : ",") + std::string(fiber_[id].name);
        found("livelock", "no end within the step bound: " + who + " still run", who,
              Location::current());
    }
    if (end_ == End::done && findings_.empty() && end_check_) {
        for (unsigned id = 0; id < fiber_count_; ++id)
            join(root.clocks, fiber_[id].clocks);
        end_check_(end_argument_);
    }
    return end_;
}

FiberId Exec::spawn(const char* name, Racer racer, Context home, void (*enter)(void*),
                    void* argument, bool daemon) {
    if (fiber_count_ == max_fibers)
        throw std::length_error("more than 31 fibers in one schedule");
    const auto id = static_cast<FiberId>(fiber_count_++);
    lanes_ = fiber_count_ / 8 + 1;
    Fiber& fiber = fiber_[id];
    fiber.state = Fiber::State::live;
    fiber.id = id;
    fiber.racer = racer;
    fiber.home = fiber.running = home;
    fiber.daemon = daemon;
    fiber.sleeping = false;
    fiber.preempt_count = fiber.irqs_off = fiber.bh_off = fiber.rcu_depth = 0;
    fiber.name = name;
    fiber.waits_for = nullptr;
    fiber.wait_over = nullptr;
    fiber.joiners = 0;
    fiber.pending = Op{};
    fiber.reads = 0;
    fiber.enter = enter;
    fiber.argument = argument;
    fiber.clocks = current_->clocks;
    fiber.epoch = 1;
    fiber.clocks.hb.set(id, 1);
    fiber.clocks.dep.set(id, 1);
    enabled_ |= bit(id);
    begin_fiber(fiber);
    strategy_->born(id);
    if (live_) {
        tick(*current_);
        run_prologue(fiber);
    }
    return id;
}

void Exec::begin_fiber(Fiber& fiber) {
    fiber.context =
        boost::context::detail::make_fcontext(fiber.stack_top, stack_bytes - 4096, &Exec::entry);
}

void Exec::run_prologue(Fiber& fiber) {
    Fiber* const parent = current_;
    Fiber* const outer = prologue_parent_;
    prologue_parent_ = parent;
    jump(*parent, fiber);
    prologue_parent_ = outer;
}

void Exec::leave_prologue() {
    Fiber* const self = current_;
    Fiber* const parent = prologue_parent_;
    jump(*self, *parent);
}

void Exec::entry(boost::context::detail::transfer_t from) {
    *static_cast<boost::context::detail::fcontext_t*>(from.data) = from.fctx;
    Fiber& self = *exec->current_;
    self.enter(self.argument);
    exec->finish();
}

void Exec::finish() {
    Fiber& self = *current_;
    if (self.preempt_count || self.irqs_off)
        fail("context", std::string(self.name) + " ends with a spinlock held or interrupts off",
             std::string(self.name) + ":ends-atomic", self.pending.where);
    self.state = Fiber::State::finished;
    enabled_ &= ~bit(self.id);
    for (FiberId id = 0; self.joiners >> id; ++id)
        if (self.joiners & bit(id)) {
            order_after_self(fiber_[id]);
            enable(bit(id));
        }
    self.joiners = 0;
    Fiber* const next = prologue_parent_ ? prologue_parent_ : pick(self.id);
    jump(self, *next);
    __builtin_unreachable();
}

Fiber* Exec::pick(FiberId previous) {
    if (!enabled_ || steps_ >= limits_.steps) [[unlikely]] {
        end_ = enabled_ ? End::step_bound : End::done;
        return &fiber_[root_fiber];
    }
    const FiberId chosen = strategy_->pick(enabled_, previous);
    if (chosen >= max_fibers || !(enabled_ & bit(chosen))) [[unlikely]] {
        end_ = chosen == no_fiber ? End::cut : End::diverged;
        return &fiber_[root_fiber];
    }
    choices_.steps.push_back(chosen);
    return &fiber_[chosen];
}

void Exec::stop(End end) {
    end_ = end;
    prologue_parent_ = nullptr;
    jump(*current_, fiber_[root_fiber]);
    __builtin_unreachable();
}

unsigned Exec::choose(unsigned n, const char* what, Location where, bool failure) {
    if (!live_ || n < 2)
        return 0;
    const unsigned value = failure ? strategy_->choose_failure(n) : strategy_->choose(n);
    if (value >= n)
        stop(End::diverged);
    choices_.values.push_back(static_cast<std::uint8_t>(value));
    hash(0xc000'0000u + value);
    if (record_)
        remark(where, "%s: choice %u of %u", what, value, n);
    return value;
}

bool Exec::allocation_fails(const char* what, Location where) {
    if (!live_ || allocation_failures_ >= limits_.failed_allocations)
        return false;
    const bool fails = choose(2, what, where, true) == 1;
    allocation_failures_ += fails;
    return fails;
}

unsigned Exec::choose_fault(unsigned n, const char* what, Location where) {
    if (!live_ || faults_ >= limits_.faults)
        return 0;
    const unsigned value = choose(n, what, where, true);
    faults_ += value != 0;
    return value;
}

void Exec::spin(Location where) {
    if (!live_)
        return;
    Fiber& self = *current_;
    const unsigned n = std::min<unsigned>(self.reads, Fiber::reads_max);
    bool changed = false;
    for (unsigned i = 0; i < n; ++i)
        changed |= self.read[i].cell->version != self.read[i].version;
    self.reads = 0;
    if (changed)
        return;
    for (unsigned i = 0; i < n; ++i)
        self.read[i].cell->watchers |= bit(self.id);
    self.waits_for = n ? self.read[n - 1].cell : nullptr;
    point(nullptr, Access::none, "spins", where, n == 0);
    self.waits_for = nullptr;
}

void Exec::wake_watchers(Cell& cell) {
    Mask watchers = cell.watchers & ~bit(current_->id);
    cell.watchers = 0;
    for (FiberId id = 0; watchers >> id; ++id) {
        // A watcher may have been woken through another cell, gone on, and now wait elsewhere.
        if (!(watchers & bit(id)) || std::strcmp(fiber_[id].pending.verb, "spins") != 0)
            continue;
        fiber_[id].clocks.dep.join(current_->clocks.dep, lanes_);
        enable(bit(id));
    }
}

void* Exec::allocate(std::size_t bytes, std::size_t alignment) {
    alignment = std::max(alignment, granule);
    const std::size_t begin = (arena_used_ + alignment - 1) & ~(alignment - 1);
    // A granule after each object belongs to none, so that an overrun is nobody's access.
    const std::size_t end = (begin + bytes + 2 * granule - 1) & ~(granule - 1);
    if (end > arena_bytes)
        throw std::bad_alloc();
    arena_used_ = end;
    return arena_ + begin;
}

ObjectId Exec::open_object(const char* name, void* at, std::size_t bytes, bool scribble) {
    const auto id = static_cast<ObjectId>(objects_.size());
    auto* const begin = static_cast<std::byte*>(at);
    objects_.push_back({name, begin, static_cast<std::uint32_t>(bytes), false, scribble, Clock{},
                        Location{}, no_fiber});
    const auto first = static_cast<std::size_t>(begin - arena_) / granule;
    const std::size_t last = first + (bytes + granule - 1) / granule;
    std::fill(granule_owner_.begin() + static_cast<std::ptrdiff_t>(first),
              granule_owner_.begin() + static_cast<std::ptrdiff_t>(last), id);
    granules_used_ = std::max(granules_used_, last);
    return id;
}

std::string (*function_at)(const void* pc) = nullptr;

std::string Location::text() const {
    if (pc())
        return function_at ? function_at(pc()) : "?";
    const std::string_view file = file_name();
    const auto slash = file.rfind('/');
    return std::string(slash == file.npos ? file : file.substr(slash + 1)) + ":" +
           std::to_string(line());
}

void Exec::free_object(ObjectId id, Location where) {
    ObjectRecord& record = objects_[id];
    if (record.freed) {
        fail("double-free",
             std::string(record.name) + " freed by " + current_->name + ", after " +
                 (record.freed_by < max_fibers ? fiber_[record.freed_by].name : "set-up") +
                 " had freed it at " + record.freed_at.text(),
             record.name, where);
        return;
    }
    if (live_ && record.accesses.beyond(current_->clocks.hb, lanes_)) {
        const FiberId other = record.accesses.first_beyond(current_->clocks.hb);
        if (other != current_->id) {
            fail("use-after-free",
                 std::string(record.name) + " freed by " + current_->name +
                     " while nothing orders its use by " + fiber_[other].name + " before that",
                 record.name, where);
            return;
        }
    }
    record.freed = true;
    record.freed_at = where;
    record.freed_by = current_->id;
    if (record.scribble)
        std::memset(record.begin, 0x6b, record.bytes);
    if (record_)
        remark(where, "free %s", record.name);
}

void Exec::report_use_after_free(const ObjectRecord& record, const char* field, Location where) {
    fail("use-after-free",
         std::string(record.name) + "." + field + " used by " + current_->name + ", freed by " +
             (record.freed_by < max_fibers ? fiber_[record.freed_by].name : "set-up") + " at " +
             record.freed_at.text(),
         record.name, where);
}

void Exec::found(std::string_view oracle, std::string title, std::string cause, Location where) {
    std::string signature = std::string(oracle) + ":" + cause;
    for (const Finding& known : findings_)
        if (known.signature == signature)
            return;
    if (record_)
        line("** " + std::string(oracle) + ": " + title, where, false);
    findings_.push_back({std::string(oracle), std::move(title), std::move(signature), {}});
}

void Exec::fail(std::string_view oracle, std::string title, std::string cause, Location where) {
    found(oracle, std::move(title), std::move(cause), where);
    if (live_)
        stop(End::finding);
}

void Exec::judge_quiescence() {
    std::string title, cause;
    std::vector<std::string> evidence;
    bool lost = false, all_spin = true;
    std::vector<std::string> causes;
    for (FiberId id = 0; id < fiber_count_; ++id) {
        const Fiber& fiber = fiber_[id];
        if (fiber.state == Fiber::State::finished || fiber.daemon)
            continue;
        const Cell* const cell = fiber.waits_for ? fiber.waits_for : fiber.pending.cell;
        const std::string what = cell ? cell->name : "nothing that can change";
        const bool spins = std::strcmp(fiber.pending.verb, "spins") == 0;
        const bool over = fiber.wait_over && fiber.wait_over(fiber.wait_argument);
        all_spin &= spins;
        lost |= over;
        std::string line = std::string(fiber.name) + (spins ? " spins on " : " waits for ") + what +
                           " at " + fiber.pending.where.text() +
                           (over ? ", though its condition is true" : "");
        evidence.push_back(line);
        causes.push_back(std::string(fiber.name) + ">" + what);
        title += (title.empty() ? "" : "; ") + std::string(fiber.name) +
                 (spins ? " spins on " : " waits for ") + what + " for ever" +
                 (over ? ", though its condition is true" : "");
    }
    if (evidence.empty())
        return;
    std::sort(causes.begin(), causes.end());
    for (const std::string& one : causes)
        cause += (cause.empty() ? "" : ",") + one;
    found(lost       ? "lost-wakeup"
          : all_spin ? "livelock"
                     : "deadlock",
          title, cause, Location::current());
    findings_.back().evidence = std::move(evidence);
    if (hang_look_)
        hang_look_(hang_argument_);
}

void Exec::at_end(void (*check)(void*), void* argument) {
    end_check_ = check;
    end_argument_ = argument;
}

void Exec::at_hang(void (*look)(void*), void* argument) {
    hang_look_ = look;
    hang_argument_ = argument;
}

void Exec::line(std::string text, Location where, bool step) {
    lines_.push_back({current_->id, std::move(text), where, step});
}

void Exec::remark(Location where, const char* format, ...) {
    if (!record_)
        return;
    std::array<char, 256> text;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text.data(), text.size(), format, arguments);
    va_end(arguments);
    line(text.data(), where, false);
}

void Exec::record_step(const Fiber& fiber) {
    std::string text = fiber.pending.verb;
    if (const Cell* const cell = fiber.pending.cell) {
        text += ' ';
        if (cell->owner != no_object)
            text += std::string(objects_[cell->owner].name) + ".";
        text += cell->name;
    }
    line(std::move(text), fiber.pending.where, true);
}

} // namespace at::model
