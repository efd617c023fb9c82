// Locks, waiting, time and deferred work of the C side, on the scheduler's primitives.
#include "zcdma/runtime.hpp"

#include "model/kernel_api.h"

#include <bit>
#include <cerrno>
#include <cstdarg>
#include <stdexcept>

// As include/linux/timer.h lays them out for C.
struct timer_list {
    at_timer* timer;
    void (*function)(timer_list* timer);
};
struct hrtimer {
    at_timer* timer;
    int (*function)(hrtimer* timer);
};
struct work_struct {
    at_work* work;
    void (*function)(work_struct* work);
};
struct at_csd {
    at_timer* call;
    void (*func)(void* info);
    void* info;
};

namespace {

using namespace at::model;
using c::beside;

struct RwSem : Cell {
    explicit RwSem(const char* cell_name) : Cell(cell_name) {}
    unsigned readers = 0;
    FiberId writer = no_fiber;
    Mask waiters = 0;
    // As SpinLock: a release is no point.
    void give() {
        exec->release(release);
        exec->enable(waiters);
    }
    void wait(Access access, const char* verb, bool ready, Location where) {
        might_sleep(where);
        waiters |= bit(exec->self().id);
        exec->point(this, access, verb, where, ready);
        waiters &= ~bit(exec->self().id);
        exec->acquire(release);
    }
};

constexpr std::int64_t boot_ns = 1'000'000'000;
constexpr std::int64_t jiffy_ns = 1'000'000; // HZ is 1000 in include/linux/timer.h

// State of fibers that only the C side has.
struct PerFiber {
    std::uint64_t generation = 0;
    Timeout* timeout = nullptr;
    unsigned sleeps = 0;
};
PerFiber per_fiber[max_fibers + 1];

PerFiber& mine() {
    PerFiber& one = per_fiber[exec->self().id];
    if (one.generation != exec->generation())
        one = {exec->generation(), nullptr, 0};
    return one;
}

Timeout& my_timeout() {
    PerFiber& one = mine();
    if (!one.timeout)
        one.timeout =
            new (exec->allocate(sizeof(Timeout), alignof(Timeout))) Timeout(exec->self().id);
    return *one.timeout;
}

// A wait may take longer than asked for. The n-th of a fiber takes 4^n times as long, so that a
// loop with a deadline ends after a few rounds.
std::int64_t stretched(std::int64_t ns) {
    const unsigned n = std::min(mine().sleeps++, 8u);
    return ns << 2 * n;
}

Racer racer_of(std::string_view function) {
    if (function.find("reap") != function.npos)
        return Racer::canceller;
    if (function.find("fput") != function.npos || function.find("dirty") != function.npos)
        return Racer::destroyer;
    return Racer::device;
}

constexpr unsigned works_max = 8;

} // namespace

// What the C side holds pointers to.
struct at_lock : SpinLock {
    using SpinLock::SpinLock;
};
struct at_rwsem : RwSem {
    using RwSem::RwSem;
};
struct at_waitqueue : WaitQueue {
    using WaitQueue::WaitQueue;
};
struct at_completion : Completion {
    using Completion::Completion;
};
// One timer of either kind; the kernel's structure says what to call.
struct at_timer {
    Timer* soft = nullptr;
    HrTimer* hard = nullptr;
    ObjectId owner = no_object;
    std::int64_t expires = 0;
    bool quietly_armed = false; // where timers never fire
};
struct at_work {
    Work* work = nullptr;
    ObjectId owner = no_object;
};
struct workqueue_struct {
    at_work* work[works_max];
    unsigned works;
};

namespace {

template <class T> T* checked(T* object, const char* what, const char* file, unsigned line) {
    if (!object)
        exec->fail("contract", std::string(what) + " used before it is initialised",
                   std::string(what) + ":uninitialised", Location(file, line));
    return object;
}

at_timer* new_timer(const void* of) {
    auto* const timer = new (exec->allocate(sizeof(at_timer), alignof(at_timer))) at_timer;
    timer->owner = exec->owner_of(of);
    return timer;
}

} // namespace

bool at::model::c::timers_fire = true;
unsigned at::model::c::waits_that_end = ~0u;

#define WHERE Location(file, line)
#define CHECKED(object) checked(object, #object, file, line)

extern "C" {

at_lock* at_lock_init(void* at, const char* name) {
    return beside<at_lock>(at, c::short_name(name));
}
void at_spin_lock(at_lock* lock, AT_WHERE) {
    CHECKED(lock)->lock(WHERE);
}
void at_spin_unlock(at_lock* lock, AT_WHERE) {
    CHECKED(lock)->unlock(WHERE);
}
void at_spin_lock_irq(at_lock* lock, AT_WHERE) {
    CHECKED(lock)->lock_irq(WHERE);
}
void at_spin_unlock_irq(at_lock* lock, AT_WHERE) {
    // A nested count would hide that the kernel's unlock_irq turns interrupts on for all.
    if (exec->live() && (exec->self().irqs_off > 1 || exec->self().running == Context::hardirq))
        exec->fail("context",
                   std::string(exec->self().name) + " turns interrupts on that its caller had off",
                   std::string(exec->self().name) + ":irqs-enabled", WHERE);
    CHECKED(lock)->unlock_irq(WHERE);
}
unsigned long at_spin_lock_irqsave(at_lock* lock, AT_WHERE) {
    CHECKED(lock)->lock_irqsave(WHERE);
    return 0;
}
void at_spin_unlock_irqrestore(at_lock* lock, unsigned long, AT_WHERE) {
    CHECKED(lock)->unlock_irqrestore(WHERE);
}
bool at_spin_trylock(at_lock* lock, AT_WHERE) {
    return CHECKED(lock)->trylock(WHERE);
}
bool at_spin_trylock_irq(at_lock* lock, AT_WHERE) {
    SpinLock::irqs_disable();
    if (CHECKED(lock)->trylock(WHERE))
        return true;
    SpinLock::irqs_enable(WHERE);
    return false;
}
void at_assert_held(at_lock* lock, AT_WHERE) {
    if (exec->live() && !lock->held_by_self())
        exec->found("kernel-log", std::string(lock->name) + " is not held", "lockdep-not-held",
                    WHERE);
}

at_rwsem* at_rwsem_init(void* at, const char* name) {
    return beside<at_rwsem>(at, c::short_name(name));
}
void at_down_read(at_rwsem* sem, AT_WHERE) {
    if (!exec->live())
        return;
    CHECKED(sem)->wait(Access::read, "down_read", sem->writer == no_fiber, WHERE);
    ++sem->readers;
}
bool at_down_read_trylock(at_rwsem* sem, AT_WHERE) {
    if (!exec->live())
        return true;
    exec->point(CHECKED(sem), Access::read, "down_read_trylock", WHERE);
    if (sem->writer != no_fiber)
        return false;
    exec->acquire(sem->release);
    ++sem->readers;
    return true;
}
void at_up_read(at_rwsem* sem, AT_WHERE) {
    if (!exec->live())
        return;
    exec->touch(sem->owner, sem->name, WHERE);
    if (!--sem->readers)
        sem->give();
    else
        exec->release(sem->release);
}
void at_down_write(at_rwsem* sem, AT_WHERE) {
    if (!exec->live())
        return;
    CHECKED(sem)->wait(Access::write, "down_write", sem->writer == no_fiber && !sem->readers,
                       WHERE);
    sem->writer = exec->self().id;
    exec->disable(sem->waiters);
}
void at_up_write(at_rwsem* sem, AT_WHERE) {
    if (!exec->live())
        return;
    exec->touch(sem->owner, sem->name, WHERE);
    sem->writer = no_fiber;
    sem->give();
}

void at_might_sleep(AT_WHERE) {
    might_sleep(WHERE);
}
at_waitqueue* at_waitqueue_init(void* at, const char* name) {
    return beside<at_waitqueue>(at, c::short_name(name));
}
void at_prepare_to_wait(at_waitqueue* queue, AT_WHERE) {
    CHECKED(queue)->prepare_to_wait(WHERE);
}
void at_schedule(at_waitqueue* queue, AT_WHERE) {
    queue->schedule(WHERE);
}
void at_finish_wait(at_waitqueue* queue, AT_WHERE) {
    queue->finish_wait(WHERE);
}
void at_wake_up(at_waitqueue* queue, AT_WHERE) {
    CHECKED(queue)->wake_up(WHERE);
}
bool at_waitqueue_active(at_waitqueue* queue, AT_WHERE) {
    return CHECKED(queue)->active(WHERE);
}
void at_bound_is_long(unsigned long timeout_jiffies, AT_WHERE) {
    if (exec->live() && timeout_jiffies < 2000)
        exec->fail("contract", "a wait with a short bound, which the model cannot tell from none",
                   "short-bound", WHERE);
}

at_completion* at_completion_init(void* at, const char* name) {
    return beside<at_completion>(at, c::short_name(name));
}
void at_reinit_completion(at_completion* completion, AT_WHERE) {
    CHECKED(completion)->reinit(WHERE);
}
void at_complete(at_completion* completion, AT_WHERE) {
    CHECKED(completion)->complete(WHERE);
}
void at_complete_all(at_completion* completion, AT_WHERE) {
    CHECKED(completion)->complete_all(WHERE);
}
void at_wait_for_completion(at_completion* completion, AT_WHERE) {
    Fiber& self = exec->self();
    self.waits_for = CHECKED(completion);
    completion->wait(WHERE);
    self.waits_for = nullptr;
}
unsigned long at_wait_for_completion_timeout(at_completion* completion,
                                             unsigned long timeout_jiffies, AT_WHERE) {
    if (!exec->live())
        return 0;
    if (mine().sleeps >= c::waits_that_end) {
        at_wait_for_completion(completion, file, line);
        return timeout_jiffies ? timeout_jiffies : 1;
    }
    const std::int64_t deadline =
        exec->now() + stretched(static_cast<std::int64_t>(timeout_jiffies) * jiffy_ns);
    if (CHECKED(completion)->wait_timeout(my_timeout(), WHERE))
        return timeout_jiffies ? timeout_jiffies : 1;
    exec->not_before(deadline);
    return 0;
}

long long at_now_ns(void) {
    return boot_ns + exec->now();
}
void at_sleep_us(unsigned long us, AT_WHERE) {
    if (!exec->live())
        return;
    might_sleep(WHERE);
    const std::int64_t deadline = exec->now() + stretched(static_cast<std::int64_t>(us) * 1000);
    Completion never("usleep_range");
    never.wait_timeout(my_timeout(), WHERE);
    exec->not_before(deadline);
}
void at_cpu_relax(AT_WHERE) {
    at::model::cpu_relax(WHERE);
}

at_timer* at_timer_init(timer_list* timer, void (*)(timer_list*), const char* name) {
    at_timer* const made = new_timer(timer);
    made->soft = beside<Timer>(timer, name, Racer::device, [=] {
        exec->not_before(made->expires);
        timer->function(timer);
    });
    return made;
}
int at_mod_timer(at_timer* timer, unsigned long at_jiffies, AT_WHERE) {
    exec->touch(CHECKED(timer)->owner, "timer", WHERE);
    timer->expires = static_cast<std::int64_t>(at_jiffies) * jiffy_ns - boot_ns;
    return c::timers_fire ? timer->soft->mod(WHERE) : std::exchange(timer->quietly_armed, true);
}
int at_del_timer(at_timer* timer, AT_WHERE) {
    exec->touch(CHECKED(timer)->owner, "timer", WHERE);
    return c::timers_fire ? timer->soft->del(WHERE) : std::exchange(timer->quietly_armed, false);
}
int at_del_timer_sync(at_timer* timer, AT_WHERE) {
    // kernel/time/timer.c: the function may be what this interrupt has interrupted.
    if (exec->live() && exec->self().running == Context::hardirq)
        exec->fail("context", std::string(exec->self().name) + " waits for a timer in an interrupt",
                   std::string(exec->self().name) + ":del_timer_sync-in-irq", WHERE);
    exec->touch(CHECKED(timer)->owner, "timer", WHERE);
    return c::timers_fire ? timer->soft->del_sync(WHERE)
                          : std::exchange(timer->quietly_armed, false);
}

at_timer* at_hrtimer_init(hrtimer* timer, const char* name) {
    // The engine's three are made in this order and by one line of source.
    static constexpr const char* of_engine[] = {"engine tick", "delayed irq", "steered irq"};
    static std::uint64_t generation;
    static unsigned made_before;
    if (generation != exec->generation()) {
        generation = exec->generation();
        made_before = 0;
    }
    const unsigned n = made_before++;
    at_timer* const made = new_timer(timer);
    made->hard =
        beside<HrTimer>(timer, n < 3 ? of_engine[n] : c::short_name(name), Racer::device, [=] {
            exec->not_before(made->expires);
            timer->function(timer);
        });
    return made;
}
void at_hrtimer_start(at_timer* timer, long long at_ns, AT_WHERE) {
    exec->touch(CHECKED(timer)->owner, "timer", WHERE);
    timer->hard->start(WHERE);
    timer->expires = at_ns - boot_ns;
}
int at_hrtimer_cancel(at_timer* timer, AT_WHERE) {
    exec->touch(CHECKED(timer)->owner, "timer", WHERE);
    return timer->hard->cancel(WHERE);
}
bool at_hrtimer_is_queued(at_timer* timer, AT_WHERE) {
    exec->touch(CHECKED(timer)->owner, "timer", WHERE);
    return timer->hard->queued(WHERE);
}

at_work* at_work_init(work_struct* work, void (*)(work_struct*), const char* name) {
    auto* const made = new (exec->allocate(sizeof(at_work), alignof(at_work))) at_work;
    made->owner = exec->owner_of(work);
    made->work = beside<Work>(work, name, racer_of(name), [=] { work->function(work); });
    return made;
}
workqueue_struct* at_alloc_workqueue(AT_WHERE) {
    if (exec->allocation_fails("workqueue", WHERE))
        return nullptr;
    return new (exec->allocate(sizeof(workqueue_struct), alignof(workqueue_struct)))
        workqueue_struct{};
}
void at_destroy_workqueue(workqueue_struct* wq, AT_WHERE) {
    for (unsigned i = 0; i < wq->works; ++i)
        at_flush_work(wq->work[i], file, line);
}
bool at_queue_work(workqueue_struct* wq, at_work* work, AT_WHERE) {
    exec->touch(CHECKED(work)->owner, "work", WHERE);
    const bool queued = work->work->schedule(WHERE);
    if (wq) {
        // After the point: whoever destroys the queue later flushes this work.
        bool known = false;
        for (unsigned i = 0; i < wq->works; ++i)
            known |= wq->work[i] == work;
        if (!known && wq->works < works_max)
            wq->work[wq->works++] = work;
    }
    return queued;
}
bool at_flush_work(at_work* work, AT_WHERE) {
    work->work->flush(WHERE);
    return true;
}
bool at_work_busy(at_work* work, AT_WHERE) {
    return CHECKED(work)->work->busy(WHERE);
}
bool at_cancel_work_sync(at_work* work, AT_WHERE) {
    return CHECKED(work)->work->cancel_sync(WHERE);
}

// The other CPU takes the interrupt when it likes; -EBUSY while an earlier call has not begun.
int at_call_single_async(at_csd* csd, AT_WHERE) {
    if (!csd->call) {
        csd->call = new_timer(csd);
        csd->call->hard =
            beside<HrTimer>(csd, "call on cpu 1", Racer::device, [=] { csd->func(csd->info); });
    }
    HrTimer& call = *csd->call->hard;
    exec->point(&call, Access::write, "smp_call_function_single_async", WHERE);
    if (call.armed())
        return -EBUSY;
    call.start(WHERE);
    return 0;
}

void at_rcu_read_lock(AT_WHERE) {
    rcu_read_lock(WHERE);
}
void at_rcu_read_unlock(AT_WHERE) {
    rcu_read_unlock(WHERE);
}
void at_synchronize_rcu(AT_WHERE) {
    synchronize_rcu(WHERE);
}
void at_call_rcu(void* at, void (*function)(void*), const char* name, AT_WHERE) {
    exec->touch(exec->owner_of(at), name, WHERE);
    auto* const head = new (exec->allocate(sizeof(RcuHead), alignof(RcuHead)))
        RcuHead(name, Racer::destroyer, [=] { function(at); });
    head->call(WHERE);
}

unsigned int at_choose_fault(unsigned int actions, unsigned int, unsigned long long* random) {
    *random = 0;
    // Without timers nobody would notice what a device leaves out.
    if (!c::timers_fire)
        actions &= 1u << 7; // AT_FAIL
    if (!actions)
        return 0;
    const auto n = static_cast<unsigned>(std::popcount(actions));
    unsigned chosen = exec->choose_fault(n + 1, "fault", Location("fail_injector", 0));
    if (!chosen)
        return 0;
    while (--chosen)
        actions &= actions - 1;
    return static_cast<unsigned>(std::countr_zero(actions));
}

void at_warning(const char* function, const char* what, AT_WHERE) {
    if (!exec->live())
        throw std::runtime_error(std::string(function) + ": " + what);
    exec->found("kernel-log", std::string(function) + " warns: " + what,
                std::string("warning-in-") + function, WHERE);
}
void at_list_corrupt(const char* what, AT_WHERE) {
    exec->fail("list", what, what, WHERE);
}
void at_remark(AT_WHERE, const char* format, ...) {
    if (!exec->recording())
        return;
    std::array<char, 256> text;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text.data(), text.size(), format, arguments);
    va_end(arguments);
    exec->line(text.data(), WHERE, false);
}

} // extern "C"
